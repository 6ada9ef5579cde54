"""Memory of `mobileq train` on a training set of PCam's size, 7.2 GB.

usage: python benchmarks/train_memory.py [--images 262144] [--seconds 120]

Makes HDF5 files in PCam's layout of which one image in 32 is written, so that they need
little disk (the file system keeps holes), and are read as any others. Then it runs

- a whole epoch of a tiny network on small crops, which reads the file from end to end;
- the network of the paper's size, which is stopped by Ctrl-C after some time,

and prints the largest resident memory of each process. Both stay below 2 GB.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

LIMIT_GB = 2.0
HELD_OUT = 64
WRITTEN = 32
TINY = (
    *("--group", "conventional", "--width", "0.05", "--input-size", "15"),
    *("--batch-size", "512", "--epochs", "1", "--stain-jitter", "0"),
)
FULL = ("--group", "C12", "--width", "1.0", "--epochs", "1")


@dataclass(frozen=True)
class Run:
    """What a command left.

    Attributes:
        code: Exit code.
        peak: Largest resident memory, in bytes.
        seconds: Wall time.
        output: Standard output and standard error.
    """

    code: int
    peak: int
    seconds: float
    output: str


def make_files(folder: Path, images: int) -> int:
    """Write PCam's six files with `images` training images, most of them black.

    Without any noise the variances of BatchNorm would be zero.

    Returns:
        Size of the training images' file, in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", images), ("valid", HELD_OUT), ("test", HELD_OUT)):
        stem = folder / f"camelyonpatch_level_2_split_{split}"
        with h5py.File(f"{stem}_x.h5", "w") as file:
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            # Space for all rows from the start, of which none is ever written.
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            shape = h5py.h5s.create_simple((count, 96, 96, 3))
            h5py.h5d.create(file.id, b"x", h5py.h5t.STD_U8LE, shape, layout)
            noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
            for row in range(0, count, WRITTEN):
                file["x"][row] = np.roll(noise, row // WRITTEN, axis=0)
        with h5py.File(f"{stem}_y.h5", "w") as file:
            labels = (np.arange(count) % 2).astype(np.uint8)
            file["y"] = labels.reshape(-1, 1, 1, 1)
    return (folder / "camelyonpatch_level_2_split_train_x.h5").stat().st_size


def run_training(
    data: Path, out: Path, options: Sequence[str], stop_after: float | None = None
) -> Run:
    """Run `mobileq train` and watch its memory.

    Args:
        data: Directory with the files.
        out: Checkpoint to write; the run is kept beside it.
        options: Options of the command.
        stop_after: Press Ctrl-C after so many seconds.
    """
    command = [sys.executable, "-m", "mobileq", "train", "--data", str(data), *options]
    started = time.monotonic()
    peak, stopped = 0, False
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*command, "--out", str(out), "--run-dir", str(out.with_suffix(""))],
            stdout=output,
            stderr=output,
        )
        while process.poll() is None:
            peak = max(peak, _peak_so_far(process.pid))
            late = stop_after is not None and time.monotonic() > started + stop_after
            if late and not stopped:
                process.send_signal(signal.SIGINT)
                stopped = True
            time.sleep(0.05)
        output.seek(0)
        text = output.read()
    return Run(process.returncode, peak, time.monotonic() - started, text)


def _peak_so_far(pid: int) -> int:
    """Largest resident memory of a running process, in bytes; 0 where it has ended.

    Not `ru_maxrss`: on Linux that begins with the size of the process that started it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * 1024 if found else 0


def main() -> None:
    """Measure and print; the exit code is 1 where a run takes too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=262_144)
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    too_much = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = make_files(folder / "data", options.images)
        print(f"{options.images:,} training images, {size / 1e9:.2f} GB")
        for title, network, stop_after, code in (
            ("tiny network, whole epoch", TINY, None, 0),
            ("C12 width 1.0, some steps", FULL, options.seconds, 130),
        ):
            out = folder / f"{code}.pt"
            run = run_training(folder / "data", out, network, stop_after)
            if run.code != code:
                raise SystemExit(f"{title}: exit code {run.code}: {run.output}")
            too_much |= run.peak > LIMIT_GB * 1e9
            print(f"{title}: {run.seconds:.0f} s, peak {run.peak / 1e9:.2f} GB")
    sys.exit(int(too_much))


if __name__ == "__main__":
    main()
