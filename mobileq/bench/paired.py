"""The ratio of two networks' times, with an interval that holds what chance does.

On a shared machine a time is worth little: the clock, the neighbours and the caches
change it by tens of percent. They change two networks alike that take turns in short
blocks, so the ratio is steady. Blocks go A B B A, in which a drift of constant slope
cancels out; the next four go B A A B.

    y_q = (ln a_1 - ln b_1 + ln a_2 - ln b_2) / 2      of four blocks, by their medians
    y_r = median of y_q                                of a round
    ratio = exp(mean of y_r)

A round has processes of its own. Where a process happens to lie in memory makes it one
or two percent faster or slower for all of its life (doi:10.1145/1508244.1508275), which
more blocks do not average out; more processes do. Rounds are therefore what counts as
independent: the interval is Student's for the mean of the y_r. A bootstrap over so few
rounds holds the truth less often than it says (366 times in 400 simulated comparisons
of five rounds).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.stats import t as student

from mobileq.bench.statistics import LEVEL, Estimate
from mobileq.bench.timing import NS_PER_MS, NS_PER_S, Timer, block_length, warm_up
from mobileq.errors import InputError

LEAST_ROUNDS = 3
LEAST_QUADS = 2
"""Of a round: one in each order."""

Pair = AbstractContextManager[tuple[Timer, Timer]]


@dataclass(frozen=True)
class PairedPlan:
    """How long to compare.

    Attributes:
        rounds: Pairs of processes, one after the other.
        seconds: Time spent in inferences of each round, both networks together.
        warmup_seconds: Longest warm-up of each process.
    """

    rounds: int = 10
    seconds: float = 1.0
    warmup_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            InputError: too few rounds for an interval, or no time.
        """
        if self.rounds < LEAST_ROUNDS or not self.seconds > 0:
            raise InputError(
                f"compare: {self.rounds} rounds of {self.seconds:g} s; wanted at least "
                f"{LEAST_ROUNDS} rounds of some time each"
            )


@dataclass(frozen=True)
class Paired:
    """Times of A and B.

    Attributes:
        ratio: A's time over B's, with its 95 % interval.
        median_a_ms: Of all timed inferences of A.
        median_b_ms: Of all of B.
        runs_a: How many these are.
        runs_b: Likewise.
        rounds: Pairs of processes.
        blocks: Of each network, all rounds together.
    """

    ratio: Estimate
    median_a_ms: float
    median_b_ms: float
    runs_a: int
    runs_b: int
    rounds: int
    blocks: int

    @property
    def real(self) -> bool:
        """Whether the interval leaves 1 out."""
        return not self.ratio.low <= 1 <= self.ratio.high

    def sentence(self, a: str, b: str) -> str:
        """What it means.

        Args:
            a: Name of A.
            b: Name of B.
        """
        ratio = self.ratio
        interval = f"95 % interval {ratio.low:.3f} to {ratio.high:.3f}"
        if not self.real:
            return (
                f"No difference can be told: {a} takes {ratio.value:.3f} times the "
                f"time of {b} ({interval}, which holds 1)."
            )
        if ratio.value < 1:
            return (
                f"{a} is faster than {b}: it takes {ratio.value:.3f} times the time "
                f"({interval})."
            )
        return (
            f"{a} is slower than {b}: it takes {ratio.value:.3f} times the time "
            f"({interval})."
        )


def compare_times(
    pair: Callable[[], Pair],
    plan: PairedPlan | None = None,
    *,
    after_block: Callable[[int], None] = lambda which: None,
    progress: Callable[[int, int], None] = lambda done, rounds: None,
) -> Paired:
    """Time two networks in turns.

    Args:
        pair: Makes fresh timers of A and B for a round.
        plan: How long.
        after_block: Called with 0 when A has just run, with 1 when B has.
        progress: Told the rounds that are done, and all of them.
    """
    plan = plan or PairedPlan()
    values: list[float] = []
    times: tuple[list[int], list[int]] = ([], [])
    blocks = 0
    for number in range(plan.rounds):
        progress(number, plan.rounds)
        with pair() as timers:
            quads = _round(timers, plan, times, after_block, first=number % 2)
        values.append(median(quads))
        blocks += 2 * len(quads)
    progress(plan.rounds, plan.rounds)
    a, b = times
    return Paired(
        ratio=ratio_of(values),
        median_a_ms=median(a) / NS_PER_MS,
        median_b_ms=median(b) / NS_PER_MS,
        runs_a=len(a),
        runs_b=len(b),
        rounds=plan.rounds,
        blocks=blocks,
    )


def ratio_of(values: Sequence[float]) -> Estimate:
    """A ratio and its interval from logarithms of independent ratios.

    Args:
        values: ln(A / B), one of each round; at least `LEAST_ROUNDS`.
    """
    logs = np.asarray(values, np.float64)
    middle, count = float(logs.mean()), len(logs)
    error = float(logs.std(ddof=1)) / math.sqrt(count)
    half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Estimate(
        *(math.exp(value) for value in (middle, middle - half, middle + half))
    )


def _round(
    timers: tuple[Timer, Timer],
    plan: PairedPlan,
    times: tuple[list[int], list[int]],
    after_block: Callable[[int], None],
    *,
    first: int,
) -> list[float]:
    """Logarithms of the ratios of one round's quads; times are appended."""
    lengths = [
        block_length(warm_up(timer, seconds=plan.warmup_seconds).median_ns)
        for timer in timers
    ]
    quads: list[float] = []
    spent = 0.0
    while len(quads) < LEAST_QUADS or spent < plan.seconds * NS_PER_S:
        start = (first + len(quads)) % 2
        value = 0.0
        for which in (start, 1 - start, 1 - start, start):
            found = timers[which].block(lengths[which])
            after_block(which)
            times[which].extend(found)
            spent += sum(found)
            sign = 1 if which == 0 else -1
            value += sign * math.log(max(median(found), 1)) / 2
        quads.append(value)
    return quads
