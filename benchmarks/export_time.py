"""Time and memory of a cold `mobileq export --int8`, and time of `mobileq --help`.

usage: python benchmarks/export_time.py [--group C12] [--width 1.0] [--repeats 3]

Writes a random checkpoint, then runs each command as a whole process and prints wall
seconds and the largest resident memory of the process. Random weights take the same way
as trained ones; their BatchNorm has seen synthetic tissue.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mobileq.checkpoint import Checkpoint, save_checkpoint
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.verify.images import verification_images
from mobileq.verify.runner import PixelMap


def run(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in GB of one `mobileq` process."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "mobileq.cli.app", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return seconds, usage.ru_maxrss * 1024 / 1e9


def write_checkpoint(path: Path, group: str, width: float) -> None:
    """A random network whose BatchNorm has seen some synthetic tissue."""
    torch.manual_seed(0)
    spec = ModelSpec(group=group, width=width)
    model = build_model(spec).train()
    shape = (spec.in_channels, spec.input_size, spec.input_size)
    tissue = verification_images(shape, count=64, seed=1)
    images = torch.from_numpy(PixelMap().normalize(tissue))
    with torch.no_grad():
        for _ in range(30):
            model(images[torch.randperm(len(images))[:16]])
    save_checkpoint(path, Checkpoint(spec, model.state_dict()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", default="C12")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    helps = [run(["--help"])[0] for _ in range(5)]
    print(f"mobileq --help: {min(helps):.2f} s best, {max(helps):.2f} s worst of 5")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.pt"
        write_checkpoint(path, options.group, options.width)
        for repeat in range(options.repeats):
            out = str(Path(directory) / f"{repeat}.mobileq")
            seconds, memory = run(["export", str(path), "--int8", "--out", out])
            print(
                f"export --int8, {options.group} width {options.width:g}: "
                f"{seconds:.1f} s, peak {memory:.2f} GB"
            )


if __name__ == "__main__":
    main()
