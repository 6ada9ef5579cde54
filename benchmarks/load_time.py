"""Time to collapse and lower a network, and to load its collapsed checkpoint.

usage: python benchmarks/load_time.py [--group C4] [--width 2.35] [--repeats 5]

The network has random weights; its width is chosen for about 3 million of them. Loading
is measured in a process of its own, from before the first import of mobileq to the
graph; the interpreter's own start is not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobileq.collapse.collapse import collapse
from mobileq.collapsed import CollapsedCheckpoint, save_collapsed
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.passes.pipeline import DEPLOY, run_pipeline

LOAD = """
import sys, time
started, busy = time.perf_counter(), time.process_time()
from pathlib import Path
from mobileq.collapsed import load_collapsed
load_collapsed(Path(sys.argv[1]))
print(time.perf_counter() - started, time.process_time() - busy)
loaded = {"torch", "escnn", "tensorflow"} & set(sys.modules)
sys.exit(f"imported {loaded}" if loaded else 0)
"""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something takes: on the wall, and on the processor."""
    started, busy = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - started, time.process_time() - busy
    print(f"{what}: {wall:.2f} s (processor {processor:.2f} s)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", default="C4")
    parser.add_argument("--width", type=float, default=2.35)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    spec = ModelSpec(group=options.group, width=options.width)
    model = build_model(spec).eval()
    count = sum(p.numel() for p in model.parameters())
    shape = (spec.in_channels, spec.input_size, spec.input_size)
    print(f"{options.group} width {options.width:g}, {count:,} weights")
    with timed("collapse and lower"):
        graph = collapse(model, shape).graph
    with timed("collapse and lower, again"):
        collapse(model, shape)
    with timed("passes of every export"):
        run_pipeline(graph, DEPLOY)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.collapsed.safetensors"
        save_collapsed(path, CollapsedCheckpoint(graph))
        size = path.stat().st_size
        command = [sys.executable, "-c", LOAD, str(path)]
        found = []
        for _ in range(options.repeats):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(tuple(float(part) for part in done.stdout.split()))
    wall, busy = (min(times) for times in zip(*found, strict=True))
    print(
        f"load {size:,} bytes, imports included: best of {options.repeats} "
        f"{wall:.2f} s (processor {busy:.2f} s)"
    )


if __name__ == "__main__":
    main()
