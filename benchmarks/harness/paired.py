"""Ratios of latencies from blocks that take turns, with intervals by the bootstrap.

A shared machine's speed drifts by more than what is looked for. So every round times
one short block of each runner, forwards and backwards in turn, and only the quotients
within a round are used. The ratio is the median of the quotients; its interval is the
percentile bootstrap over rounds (doi:10.1214/aos/1176344552), which takes rounds for
independent of each other.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.statistics import LEVEL, Estimate
from mobileq.errors import InputError
from mobileq.verify.runner import Runner

RESAMPLES = 4000
"""Of the bootstrap: the ends of an interval are then good to a few percent of it."""

WARMUP_NS = 5e8
"""Least warm-up of each runner, in nanoseconds."""


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: Blocks of each runner; one quotient comes from each round.
        block: Inferences in a block; their median counts.
    """

    rounds: int = 60
    block: int = 10

    def __post_init__(self) -> None:
        """Check.

        Raises:
            InputError: fewer than two rounds, or no inference in a block.
        """
        if self.rounds < 2 or self.block < 1:
            raise InputError(
                f"timing: {self.rounds} rounds of {self.block} inferences; wanted at "
                f"least 2 rounds of 1"
            )


def interleaved(
    runners: Mapping[str, Runner], pixels: NDArray[np.uint8], plan: Plan
) -> dict[str, NDArray[np.float64]]:
    """Time all runners in turns.

    Args:
        runners: By name; each with its own file in memory.
        pixels: (1, H, W, C).
        plan: How long.

    Returns:
        By name, (rounds,): median time of each block, in nanoseconds.
    """
    calls = [runner.timed(pixels) for runner in runners.values()]
    times = np.empty((plan.rounds, len(calls)))
    enabled = gc.isenabled()
    gc.disable()
    try:
        for call in calls:
            _warm_up(call)
        for row in range(plan.rounds):
            order: Sequence[int] = range(len(calls))
            for index in order if row % 2 == 0 else reversed(order):
                times[row, index] = _block(calls[index], plan.block)
    finally:
        if enabled:
            gc.enable()
    return {name: times[:, index] for index, name in enumerate(runners)}


def ratio(
    first: NDArray[np.float64], second: NDArray[np.float64], *, seed: int = 0
) -> Estimate:
    """How many times as long the first one takes, with its 95 % interval.

    Args:
        first: (rounds,) times.
        second: (rounds,) times of the same rounds.
        seed: Of the bootstrap.

    Raises:
        InputError: not as many of both, or fewer than two.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise InputError(
            f"times of {first.shape} and {second.shape} rounds; wanted as many of "
            f"both, two at least"
        )
    quotients = first / second
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(quotients), (RESAMPLES, len(quotients)))
    medians = np.median(quotients[drawn], axis=1)
    tail = (1 - LEVEL) / 2
    low, high = (float(q) for q in np.quantile(medians, (tail, 1 - tail)))
    return Estimate(float(np.median(quotients)), low, high)


def _warm_up(call: Callable[[], None]) -> None:
    """Run for a while, twice at least."""
    end = perf_counter_ns() + WARMUP_NS
    call()
    call()
    while perf_counter_ns() < end:
        call()


def _block(call: Callable[[], None], repetitions: int) -> float:
    """Median time of a few inferences in a row, in nanoseconds."""
    # The runner before has emptied the caches; that is not this one's time.
    call()
    times = []
    for _ in range(repetitions):
        start = perf_counter_ns()
        call()
        times.append(perf_counter_ns() - start)
    return float(np.median(times))
