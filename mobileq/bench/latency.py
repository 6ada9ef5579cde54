"""How long one inference takes, several runners side by side.

A machine's speed drifts (clock, other programs), so runners take turns in short blocks
and each sees the same drift: ratios between them are fairer than each figure alone.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import InputError
from mobileq.verify.runner import Runner

BLOCK = 10
"""Inferences of one runner before it is the next one's turn."""

WARMUP_SECONDS = 1.0
"""Longest warm-up of one runner; slow kernels need fewer repetitions."""

_NS_PER_MS, _NS_PER_S = 1e6, 1e9


@dataclass(frozen=True)
class Latency:
    """Times of single inferences of one image.

    Attributes:
        median_ms: Milliseconds that half of them stay below.
        p90_ms: That nine in ten stay below.
        p99_ms: That 99 in 100 stay below; close to the longest if `runs` is small.
        mean_ms: Arithmetic mean.
        runs: Number of inferences.
        threads: Threads that the runtime was allowed.
    """

    median_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    runs: int
    threads: int

    @classmethod
    def of(cls, nanoseconds: Sequence[int], *, threads: int) -> Latency:
        """Summarize times in nanoseconds; percentiles are interpolated linearly."""
        times = np.asarray(nanoseconds, np.float64) / _NS_PER_MS
        median, p90, p99 = (float(p) for p in np.percentile(times, (50, 90, 99)))
        return cls(median, p90, p99, float(times.mean()), len(times), threads)


def latency(
    runner: Runner,
    pixels: NDArray[np.uint8],
    *,
    warmup: int = 20,
    runs: int = 200,
    max_seconds: float = 20.0,
    threads: int = 1,
) -> Latency:
    """Time one runner; arguments and errors as of `latencies`."""
    (result,) = latencies(
        [runner],
        pixels,
        warmup=warmup,
        runs=runs,
        max_seconds=max_seconds,
        threads=threads,
    )
    return result


def latencies(
    runners: Sequence[Runner],
    pixels: NDArray[np.uint8],
    *,
    warmup: int = 20,
    runs: int = 200,
    max_seconds: float = 20.0,
    threads: int = 1,
) -> list[Latency]:
    """Time several runners on one image, in turns.

    Args:
        runners: The networks.
        pixels: (1, H, W, C).
        warmup: Inferences of each before any is timed, for at most `WARMUP_SECONDS`.
        runs: Timed inferences of each.
        max_seconds: A runner that has taken this long is stopped after a block, with
            fewer runs.
        threads: What the runners were made with; only noted.

    Returns:
        One result per runner, in their order.

    Raises:
        InputError: `runs` below 1, or not one image.
    """
    if runs < 1 or len(pixels) != 1:
        raise InputError(
            f"latency: {runs} runs of {len(pixels)} images; wanted at least 1 run of "
            f"1 image"
        )
    calls = [runner.timed(pixels) for runner in runners]
    times: list[list[int]] = [[] for _ in calls]
    with _without_garbage_collection():
        for call in calls:
            _warm_up(call, warmup)
        waiting = list(range(len(calls)))
        while waiting:
            for index in waiting:
                done = times[index]
                done += _block(calls[index], min(BLOCK, runs - len(done)))
            waiting = [
                index
                for index in waiting
                if len(times[index]) < runs
                and sum(times[index]) < max_seconds * _NS_PER_S
            ]
    return [Latency.of(done, threads=threads) for done in times]


def _warm_up(call: Callable[[], None], repetitions: int) -> None:
    """Run without timing."""
    end = perf_counter_ns() + WARMUP_SECONDS * _NS_PER_S
    for _ in range(repetitions):
        call()
        if perf_counter_ns() > end:
            break


def _block(call: Callable[[], None], repetitions: int) -> list[int]:
    """Times of a few inferences in a row, in nanoseconds."""
    # The runner before has emptied the caches; that is not this one's time.
    call()
    times = []
    for _ in range(repetitions):
        start = perf_counter_ns()
        call()
        times.append(perf_counter_ns() - start)
    return times


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Python's collector would stop an inference now and then."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
