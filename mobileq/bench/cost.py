"""What running networks costs, after the single-stream rules of MLPerf Inference.

One query at a time, as an app on a phone does it; at least so many queries and at least
so many seconds (doi:10.1109/ISCA45697.2020.00045, section IV). Two things differ: there
is a warm-up, reported beside the first inference, and several networks take turns in
short blocks, so that a drift of the machine's speed meets all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.figures import Cost
from mobileq.bench.latency import Latency
from mobileq.bench.noise import Noise, NoiseMeter
from mobileq.bench.spec import Usage
from mobileq.bench.timing import (
    NS_PER_MS,
    NS_PER_S,
    WARMUP_SECONDS,
    Timer,
    WarmUp,
    block_length,
    warm_up,
)
from mobileq.errors import InputError


class Costed(Protocol):
    """A runner in a process of its own; `mobileq.bench.process.ProcessRunner` is one.

    What they mean is said there.
    """

    @property
    def name(self) -> str:
        """Runtime, kernels and threads."""

    @property
    def load_ms(self) -> float:
        """To load the file."""

    @property
    def first_ms(self) -> float | None:
        """Of the first inference."""

    @property
    def imported_bytes(self) -> int:
        """Resident memory after the imports."""

    def timer(self, pixels: NDArray[np.uint8]) -> Timer:
        """Prepare inferences of one image."""

    def throughput(self, pixels: NDArray[np.uint8], seconds: float = 1.0) -> float:
        """Images per second."""

    def spin(self) -> int:
        """Nanoseconds of a fixed loop."""

    def usage(self) -> Usage:
        """Memory and processor time."""


@dataclass(frozen=True)
class CostPlan:
    """How long to measure.

    Attributes:
        runs: Timed inferences of each network, at least.
        seconds: Time spent in them, at least.
        max_seconds: A network that has taken this long is stopped after its block,
            whatever it lacks.
        warmup_seconds: Longest warm-up.
        batch: Images of the throughput measurement; 0 to leave it out.
        throughput_seconds: How long that one is repeated.
    """

    runs: int = 200
    seconds: float = 2.0
    max_seconds: float = 30.0
    warmup_seconds: float = WARMUP_SECONDS
    batch: int = 64
    throughput_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            InputError: no run, or a negative time or number.
        """
        times = (self.seconds, self.max_seconds, self.warmup_seconds)
        if self.runs < 1 or self.batch < 0 or min(times) < 0:
            raise InputError(
                f"latency: {self.runs} runs, {self.seconds:g} s (at most "
                f"{self.max_seconds:g} s), batch {self.batch}; wanted at least 1 run "
                f"and nothing below 0"
            )


@dataclass(frozen=True, eq=False)
class Measured:
    """Costs of several networks.

    Attributes:
        costs: One per network, in their order.
        times_ms: Every timed inference of each, in milliseconds, in order.
        noise: How quiet the machine was meanwhile.
    """

    costs: tuple[Cost, ...]
    times_ms: tuple[NDArray[np.float64], ...]
    noise: Noise


def costs(
    runners: Sequence[Costed],
    pixels: NDArray[np.uint8],
    *,
    plan: CostPlan | None = None,
    threads: int = 1,
    progress: Callable[[str], None] = lambda message: None,
) -> Measured:
    """Measure time and memory of several networks, in turns.

    Peak memory is taken after single inferences and before the throughput, so it is
    best measured before anything else is asked of the processes.

    Args:
        runners: The networks; fresh, or their first inference is not known.
        pixels: (N, H, W, C); the first one is timed, all are repeated to a batch.
        plan: How long.
        threads: What the runners were made with; only noted.
        progress: Told what is going on.

    Raises:
        InputError: no images, or a runner that has already run.
        RuntimeProcessError: a runner died.
    """
    plan = plan or CostPlan()
    if not len(pixels):
        raise InputError("latency: no images; wanted at least 1")
    timers = [runner.timer(pixels[:1]) for runner in runners]
    firsts = [_first(runner) for runner in runners]
    warmups = []
    for runner, timer in zip(runners, timers, strict=True):
        progress(f"warm-up: {runner.name}")
        warmups.append(warm_up(timer, seconds=plan.warmup_seconds))
    progress("latency, in turns")
    meter = NoiseMeter(lambda: sum(runner.usage().cpu_seconds for runner in runners))
    times = _in_turns(runners, timers, warmups, plan, meter)
    noise = meter.finish()
    usages = [runner.usage() for runner in runners]
    found = []
    for index, runner in enumerate(runners):
        rate = None
        if plan.batch:
            progress(f"throughput: {runner.name}")
            batch = np.resize(pixels, (plan.batch, *pixels.shape[1:]))
            rate = runner.throughput(batch, plan.throughput_seconds)
        found.append(
            Cost(
                latency=Latency.of(times[index], threads=threads),
                load_ms=runner.load_ms,
                first_ms=firsts[index],
                warmup_runs=warmups[index].runs,
                steady=warmups[index].steady,
                images_per_second=rate,
                peak_rss_bytes=usages[index].peak_bytes,
                model_rss_bytes=max(
                    0, usages[index].peak_bytes - runner.imported_bytes
                ),
            )
        )
    arrays = tuple(np.asarray(each, np.float64) / NS_PER_MS for each in times)
    return Measured(tuple(found), arrays, noise)


def _in_turns(
    runners: Sequence[Costed],
    timers: Sequence[Timer],
    warmups: Sequence[WarmUp],
    plan: CostPlan,
    meter: NoiseMeter,
) -> list[list[int]]:
    """Nanoseconds of each one's inferences."""
    times: list[list[int]] = [[] for _ in timers]
    lengths = [block_length(warmup.median_ns) for warmup in warmups]
    waiting = list(range(len(timers)))
    while waiting:
        for index in waiting:
            done = times[index]
            done += timers[index].block(lengths[index])
            lengths[index] = block_length(float(median(done[-lengths[index] :])))
            # Between the blocks, and where the inferences run.
            meter.add(runners[index].spin())
        waiting = [index for index in waiting if not _enough(times[index], plan)]
    return times


def _enough(times: Sequence[int], plan: CostPlan) -> bool:
    """Whether a network needs no further block."""
    spent = sum(times) / NS_PER_S
    wanted = len(times) >= plan.runs and spent >= plan.seconds
    return wanted or spent >= plan.max_seconds


def _first(runner: Costed) -> float:
    """The first inference.

    Raises:
        InputError: it happened before the clock ran.
    """
    if runner.first_ms is None:
        raise InputError(
            f"{runner.name}: has run before its first inference was timed; wanted a "
            f"new process (measure costs before anything else)"
        )
    return runner.first_ms
