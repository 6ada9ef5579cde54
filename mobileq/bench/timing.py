"""Timing single inferences where they run: blocks, a warm-up, a loop of known work."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Protocol

NS_PER_MS, NS_PER_S = 1e6, 1e9

WARMUP_SECONDS = 3.0
"""A warm-up ends here, stable or not."""

LEAST_WARMUP_SECONDS = 0.2
"""A processor needs some ten milliseconds of load to raise its clock."""

STABLE_BLOCKS = 3
STABLE_RATIO = 1.05
"""Times are stable when the medians of so many blocks are within this factor."""

BLOCK_SECONDS = 0.02
"""A block should last about this long: far above the clock's resolution, and far below
the seconds in which a machine's speed drifts."""

LONGEST_BLOCK = 1000
"""Inferences."""

SPIN_STEPS = 20_000
"""Of the loop in `spin`; about a millisecond."""


class Timer(Protocol):
    """Runs the same inference again and again, and times it where it runs."""

    def block(self, repetitions: int) -> list[int]:
        """Nanoseconds of each of several inferences in a row, after an untimed one."""


class CallTimer:
    """Times a function in this process.

    Args:
        call: One inference.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def block(self, repetitions: int) -> list[int]:
        """Times of a few calls in a row, in nanoseconds."""
        call = self._call
        with without_garbage_collection():
            # The runner before has emptied the caches; that is not this one's time.
            call()
            times = []
            for _ in range(repetitions):
                start = perf_counter_ns()
                call()
                times.append(perf_counter_ns() - start)
        return times


@dataclass(frozen=True)
class WarmUp:
    """How a warm-up went.

    Attributes:
        runs: Inferences.
        steady: Whether it ended because times had become stable.
        median_ns: Of the last block.
    """

    runs: int
    steady: bool
    median_ns: float


def warm_up(timer: Timer, *, seconds: float = WARMUP_SECONDS) -> WarmUp:
    """Run until times are stable.

    They are when the medians of the last `STABLE_BLOCKS` blocks differ by at most a
    factor of `STABLE_RATIO`, and `LEAST_WARMUP_SECONDS` have been spent. Medians,
    because one interrupted inference says nothing about the warm-up; blocks of equal
    duration, because slow kernels need fewer repetitions.

    Args:
        timer: What to run.
        seconds: Give up after so many seconds of inference. At least one block is run.
    """
    medians: list[float] = []
    runs, spent, length = 0, 0.0, 1
    while True:
        times = timer.block(length)
        runs += length + 1
        # The first call of a block is not timed, but it has been run.
        spent += sum(times) * (length + 1) / length / NS_PER_S
        medians.append(float(median(times)))
        last = medians[-STABLE_BLOCKS:]
        stable = len(last) == STABLE_BLOCKS and max(last) <= STABLE_RATIO * min(last)
        if stable and spent >= min(LEAST_WARMUP_SECONDS, seconds):
            return WarmUp(runs, True, medians[-1])
        if spent >= seconds:
            return WarmUp(runs, False, medians[-1])
        length = block_length(medians[-1])


def block_length(nanoseconds: float) -> int:
    """How many inferences of this duration make a block, 1 to `LONGEST_BLOCK`."""
    wanted = BLOCK_SECONDS * NS_PER_S / max(nanoseconds, 1.0)
    return int(min(max(wanted, 1), LONGEST_BLOCK))


def spin() -> int:
    """Nanoseconds of a loop that is always the same work, in registers.

    It takes longer only when the processor is slower or busy with something else.
    """
    start = perf_counter_ns()
    total = 0
    for step in range(SPIN_STEPS):
        total += step & 7
    return perf_counter_ns() - start


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Python's collector would stop an inference now and then."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
