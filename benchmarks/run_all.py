"""All ratios that have goals, in one table; `make bench` runs it.

usage: python benchmarks/run_all.py [--data PCAM_DIR] [--out runs/benchmarks] [--keep]
           [--quick] [--update] [SCRIPT ...]

Runs `speed_ratios.py`, `quantizers.py` (with --data) and `export_cost.py`, each in a
process of its own, and prints every goal with its verdict. Results lie in --out as
JSON; --keep prints those that are there and runs only what is missing. --update writes
the tables into docs/benchmarks.md, between its markers. --quick measures little, to see
that everything runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness.results import Result, goals_markdown
from benchmarks.harness.summary import document, updated
from mobileq.atomic import write_atomically

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("speed_ratios", "quantizers", "export_cost")
PAGE = ROOT / "docs" / "benchmarks.md"
QUICK = {
    "speed_ratios": ("--groups", "C4", "--widths", "0.25", "--rounds", "4"),
    "quantizers": (
        *("pcam-equivariant", "--limit", "64", "--calibration", "8"),
        *("--rounds", "4"),
    ),
    "export_cost": ("pcam-equivariant", "--repeats", "1"),
}


def arguments_of(script: str, path: Path, options: argparse.Namespace) -> list[str]:
    """Command line of one script, without Python."""
    found = [str(ROOT / "benchmarks" / f"{script}.py")]
    found += QUICK[script] if options.quick else ()
    if script == "quantizers":
        found += ["--data", str(options.data)]
    return [*found, "--json", str(path)]


def results_of(options: argparse.Namespace) -> list[Result]:
    """Run what has to be run; results in the order of `SCRIPTS`.

    Raises:
        SystemExit: a script failed.
    """
    found = []
    for script in SCRIPTS:
        if script not in options.scripts:
            continue
        path = options.out / f"{script}.json"
        if not (options.keep and path.exists()):
            if script == "quantizers" and options.data is None:
                print("quantizers: skipped; --data names no PCam files", flush=True)
                continue
            print(f"== {script}", flush=True)
            command = [sys.executable, *arguments_of(script, path, options)]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
            if done.returncode != 0:
                sys.exit(f"{script}: exit code {done.returncode}; nothing was updated")
        found.append(Result.read(path))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and update the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scripts", nargs="*", default=SCRIPTS)
    parser.add_argument("--data", type=Path, help="PCam's HDF5 files")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "benchmarks")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.scripts) - set(SCRIPTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: wanted {', '.join(SCRIPTS)}")
    if options.quick and options.update:
        parser.error("--quick measures too little for --update")
    results = results_of(options)
    if not results:
        sys.exit("nothing was measured")
    print(goals_markdown([goal for result in results for goal in result.goals]))
    if options.update:
        page = updated(options.page.read_text(encoding="utf-8"), document(results))
        write_atomically(options.page, lambda path: path.write_text(page, "utf-8"))


if __name__ == "__main__":
    main()
