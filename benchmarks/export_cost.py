"""Wall time and peak memory of `mobileq export`, stage by stage.

usage: python benchmarks/export_cost.py [--repeats 3] [--width 2.35] [--json FILE]
           [NETWORK ...]

Networks are the shipped ones and a random C_4 network of 3 million weights. Each export
is a process of its own that imports what it needs, writes all four files and climbs the
ladder; the best wall time of some repeats counts, and the largest memory. A stage
begins with the line that the command shows. Memory is the most that the process
had resident up to the end of a stage.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import machine
from benchmarks.harness.results import Goal, Grid, Result

NETWORKS = (
    "pcam-equivariant",
    "pcam-conventional",
    "pcam-equivariant-large",
    "pcam-conventional-large",
)
WIDE = "wide"
MOST_SECONDS, MOST_GB = 15.0, 2.0
"""Goals for the shipped ones; docs/measurements.md has them for C_12 of width 1.0."""

EXPORT = """
import json, resource, sys, time
started, stages = time.perf_counter(), []
def enter(name):
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    stages.append((name, time.perf_counter() - started, used))
enter("imports")
from pathlib import Path
from mobileq.deploy.export import export_checkpoint
export_checkpoint(sys.argv[1], Path(sys.argv[2]), report=enter)
enter("end")
print(json.dumps(stages))
"""
"""The time of the interpreter's own start is not in it."""

CHECKPOINT = """
import sys
from pathlib import Path
from benchmarks.export_time import write_checkpoint
write_checkpoint(Path(sys.argv[1]), "C4", float(sys.argv[2]))
"""

Stages = list[tuple[str, float, float]]
"""Name, seconds until it begins, and peak memory in GB until then."""


def run(code: str, *arguments: str) -> str:
    """Output of some code in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    root = str(Path(__file__).resolve().parents[1])
    # A folder of the user's would come first otherwise, and could hide a package.
    setup = f"import sys; sys.path.insert(0, {root!r})\n"
    command = [sys.executable, "-c", setup + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def export(network: str, folder: Path) -> Stages:
    """Export once."""
    out = folder / f"{len(list(folder.iterdir()))}.mobileq"
    last = run(EXPORT, network, str(out)).splitlines()[-1]
    return [(str(name), float(at), float(gb)) for name, at, gb in json.loads(last)]


def durations(stages: Stages) -> list[tuple[str, float, float]]:
    """Seconds that each stage takes, and peak memory in GB at its end.

    Args:
        stages: In order; the last one is the end.
    """
    return [
        (name, end - begin, gb) for (name, begin, _), (_, end, gb) in pairwise(stages)
    ]


def measure(name: str, network: str, folder: Path, repeats: int) -> Result:
    """Export a network some times."""
    shipped = name in NETWORKS
    most_seconds, most_gb = (MOST_SECONDS, MOST_GB) if shipped else (None, None)
    runs = []
    for repeat in range(repeats):
        print(f"{name}: export {repeat + 1} of {repeats}", file=sys.stderr)
        runs.append(export(network, folder))
    runs.sort(key=lambda stages: stages[-1][1])
    best, worst = runs[0][-1][1], runs[-1][-1][1]
    memory = max(stages[-1][2] for stages in runs)
    goals = (
        Goal(f"export {name}, best", best, best, best, most_seconds, unit="s"),
        Goal(f"export {name}, peak", memory, memory, memory, most_gb, unit="GB"),
    )
    rows = [
        (stage, f"{seconds:.1f}", f"{gb:.2f}")
        for stage, seconds, gb in durations(runs[0])
    ]
    header = ("stage", "s", "peak so far, GB")
    title = f"{name}: best of {repeats} exports ({best:.1f} to {worst:.1f} s)"
    grid = Grid(title, header, tuple(rows))
    return Result("export_cost", goals, (grid,), (), machine.describe())


def main() -> None:
    """Measure the named networks, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=[*NETWORKS, WIDE])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=float, default=2.35, help="of the wide network")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for name in options.networks:
            network = name
            if name == WIDE:
                name, network = f"C_4 width {options.width:g}", str(folder / "wide.pt")
                run(CHECKPOINT, network, str(options.width))
            results.append(measure(name, network, folder, options.repeats))
    result = Result(
        "export_cost",
        tuple(goal for found in results for goal in found.goals),
        tuple(grid for found in results for grid in found.grids),
        ("Seconds of wall time; other programs make them longer, never shorter.",),
        results[-1].machine,
    )
    if options.json is not None:
        result.write(options.json)
    print(result.markdown())


if __name__ == "__main__":
    main()
