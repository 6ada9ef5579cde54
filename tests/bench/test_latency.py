"""Percentiles of times. Never how fast anything is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench.latency import Latency


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300))
def test_percentiles_are_ordered_and_in_milliseconds(times: list[int]) -> None:
    """Median <= p90 <= p99 lie between the shortest and the longest time."""
    found = Latency.of(times, threads=3)
    ordered = [min(times) / 1e6, found.median_ms, found.p90_ms, found.p99_ms]
    # One unit in the last place of an interpolated value.
    assert all(a <= b * (1 + 1e-12) for a, b in pairwise([*ordered, max(times) / 1e6]))
    assert (found.runs, found.threads) == (len(times), 3)


def test_percentiles_of_known_times() -> None:
    """Of 1 to 101 ms the median is 51, p90 is 91 and p99 is 100."""
    found = Latency.of([n * 1_000_000 for n in range(101, 0, -1)], threads=1)
    assert (found.median_ms, found.p90_ms, found.p99_ms) == (51.0, 91.0, 100.0)


@given(st.integers(1, 10**9), st.integers(1, 50))
def test_equal_times_have_one_figure(time: int, count: int) -> None:
    """Mean and percentiles of equal times are that time."""
    found = Latency.of([time] * count, threads=1)
    for figure in (found.median_ms, found.p90_ms, found.p99_ms, found.mean_ms):
        # Sums of up to 50 equal numbers round 50 times at most.
        assert abs(figure - time / 1e6) <= 50 * 2**-52 * time / 1e6
