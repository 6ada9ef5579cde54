"""Train, killed with SIGKILL again and again, until a run gets to its end.

usage: python killed_runs.py RUN_DIR SEED

Prints how many runs were killed. After each kill the files on disk are read: the state
and the best checkpoint are whole or not there.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from mobileq.checkpoint import load_checkpoint
from mobileq.train.loop import train
from support.small_runs import CONFIG, TRAINING, TWIN, VALIDATION, read_state

KILLS = 12


def train_in_child(folder: Path) -> int:
    """Start or resume the run in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    torch.set_num_threads(1)
    train(
        TWIN,
        CONFIG,
        TRAINING,
        VALIDATION,
        run_dir=folder,
        resume=(folder / "state.pt").exists(),
        save_seconds=0,
    )
    os._exit(0)


def main(folder: Path, seed: int) -> None:
    """Kill some runs early in what they do, and let the last one finish."""
    rng = random.Random(seed)
    started = time.monotonic()
    os.waitpid(train_in_child(folder.with_name("timed")), 0)
    whole = time.monotonic() - started
    killed = 0
    for _ in range(KILLS):
        child = train_in_child(folder)
        time.sleep(rng.uniform(0.1, 0.7) * whole)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        if (folder / "state.pt").exists():
            read_state(folder)
        if (folder / "best.pt").exists():
            load_checkpoint(folder / "best.pt").build()
    _, status = os.waitpid(train_in_child(folder), 0)
    assert status == 0
    print(killed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
