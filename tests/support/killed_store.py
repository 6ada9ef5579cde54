"""A store whose writer is killed with SIGKILL again and again.

usage: python killed_store.py DIRECTORY SEED

A child keeps results one after the other, each larger than the one before; the parent
kills it at a random moment. After each kill every result that is given back is whole.
Prints the number of kills and that of results that were there in the end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from mobileq.bench.figures import Label
from mobileq.bench.store import Identity, Store

KILLS, PARTS = 25, 40
LABEL = Label("tflite", "xnnpack", "int8", 1, "model.int8.tflite", 10, "ab")


def identity(part: int) -> Identity:
    """Of one part; each has options of its own."""
    return Identity("1", options={"part": part})


def logits(part: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """An array that says which one it is, of up to 2 MB."""
    return np.full((6000 * part, 2), part, np.float64)


def missing(store: Store) -> list[int]:
    """Parts that are to be measured; all others are checked."""
    found = []
    for part in range(PARTS):
        array = store.array(LABEL, f"part{part}", identity(part))
        figures = store.figures(dict, LABEL, f"part{part}", identity(part))
        if array is None:
            found.append(part)
            continue
        np.testing.assert_array_equal(array, logits(part))
        assert figures == {"part": part, "ballast": "x" * 20_000}
    return found


def write_in_child(directory: Path) -> int:
    """Keep what is missing, in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    store = Store.open(directory)
    for part in missing(store):
        ballast = {"part": part, "ballast": "x" * 20_000}
        store.keep(LABEL, f"part{part}", identity(part), ballast, logits(part))
    os._exit(0)


def main(directory: Path, seed: int) -> None:
    """Kill some writers, and let the last one finish."""
    rng, killed = random.Random(seed), 0
    for _ in range(KILLS):
        child = write_in_child(directory)
        time.sleep(rng.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        missing(Store.open(directory))
    _, status = os.waitpid(write_in_child(directory), 0)
    assert status == 0
    left = missing(Store.open(directory))
    print(killed, PARTS - len(left))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
