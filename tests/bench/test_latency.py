"""Timing: counts, turns and percentiles. Never how fast anything is."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.bench.latency import BLOCK, Latency, latencies, latency
from mobileq.errors import InputError
from support.function_runner import FunctionRunner, disc_means

IMAGE = np.zeros((1, 5, 5, 3), np.uint8)


class Recorder(FunctionRunner):
    """Writes its name into a list each time it runs."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__(disc_means, name)
        object.__setattr__(self, "log", log)

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """Append."""
        log: list[str] = self.__dict__["log"]
        return lambda: log.append(self.name)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300))
def test_percentiles_are_ordered_and_in_milliseconds(times: list[int]) -> None:
    """Median <= p90 <= p99 lie between the shortest and the longest time."""
    found = Latency.of(times, threads=3)
    ordered = [min(times) / 1e6, found.median_ms, found.p90_ms, found.p99_ms]
    # One unit in the last place of an interpolated value.
    slack = 1 + 1e-12
    assert all(a <= b * slack for a, b in pairwise(ordered))
    assert found.p99_ms <= max(times) / 1e6 * slack
    assert found.mean_ms == pytest.approx(sum(times) / len(times) / 1e6, rel=1e-12)
    assert (found.runs, found.threads) == (len(times), 3)


def test_percentiles_of_known_times() -> None:
    """Of 1 to 101 ms the median is 51, p90 is 91 and p99 is 100."""
    found = Latency.of([n * 1_000_000 for n in range(101, 0, -1)], threads=1)
    assert (found.median_ms, found.p90_ms, found.p99_ms) == (51.0, 91.0, 100.0)


def test_runners_take_turns() -> None:
    """After the warm-up, no runner gets a second block before all had their first."""
    log: list[str] = []
    runners = [Recorder(name, log) for name in "abc"]
    results = latencies(runners, IMAGE, warmup=0, runs=2 * BLOCK + 1)
    blocks = [log[0]]
    for before, name in pairwise(log):
        if name != before:
            blocks.append(name)
    assert "".join(blocks) == "abc" * 3
    assert [result.runs for result in results] == [2 * BLOCK + 1] * 3


def test_a_slow_runner_is_stopped() -> None:
    """At the time limit a runner ends after its block, with the runs it has."""
    result = latency(FunctionRunner(disc_means), IMAGE, warmup=0, max_seconds=0)
    assert result.runs == BLOCK


def test_garbage_collection_is_switched_on_again() -> None:
    """Even where a runner fails."""

    def broken(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        latency(FunctionRunner(broken), IMAGE)
    assert gc.isenabled()


@pytest.mark.parametrize(("images", "runs"), [(2, 10), (1, 0)])
def test_bad_requests_are_refused(images: int, runs: int) -> None:
    """One image at a time, and at least one run."""
    pixels = np.repeat(IMAGE, images, axis=0)
    with pytest.raises(InputError, match="wanted at least 1 run of 1 image"):
        latency(FunctionRunner(disc_means), pixels, runs=runs)
