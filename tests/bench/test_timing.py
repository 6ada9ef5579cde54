"""Blocks and warm-ups, with times that are made."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench.timing import (
    BLOCK_SECONDS,
    LEAST_WARMUP_SECONDS,
    LONGEST_BLOCK,
    NS_PER_S,
    STABLE_BLOCKS,
    CallTimer,
    block_length,
    spin,
    warm_up,
    without_garbage_collection,
)
from support.made_times import MS, MadeTimer


@given(st.floats(0, 1e12))
def test_blocks_last_about_as_long_as_they_should(nanoseconds: float) -> None:
    """At least one inference, at most the longest block, else the wanted time."""
    length = block_length(nanoseconds)
    assert 1 <= length <= LONGEST_BLOCK
    if 1 < length < LONGEST_BLOCK:
        spent = length * nanoseconds / NS_PER_S
        assert BLOCK_SECONDS - nanoseconds / NS_PER_S <= spent <= BLOCK_SECONDS


def test_a_steady_timer_ends_its_warm_up() -> None:
    """After the least time, with equal blocks."""
    timer = MadeTimer(lambda n: 2 * MS)
    found = warm_up(timer)
    assert found.steady
    assert found.median_ns == 2 * MS
    assert found.runs == timer.runs
    # One block more than needed at most, and the first block has one inference.
    spent = timer.runs * 2 * MS / NS_PER_S
    assert LEAST_WARMUP_SECONDS <= spent <= LEAST_WARMUP_SECONDS + 2 * BLOCK_SECONDS
    assert len(timer.blocks) >= STABLE_BLOCKS


def test_a_warm_up_waits_until_times_settle() -> None:
    """Times that fall from 50 to 10 ms: it goes on until they differ by 5 %."""
    timer = MadeTimer(lambda n: (10 + 40 * 0.97**n) * MS)
    found = warm_up(timer, seconds=60)
    assert found.steady
    last = (10 + 40 * 0.97 ** (timer.runs - 2 * STABLE_BLOCKS)) * MS
    assert found.median_ns <= last <= 1.2 * found.median_ns


def test_a_warm_up_gives_up() -> None:
    """Times that double now and then never settle: it says so after its time."""
    timer = MadeTimer(lambda n: (1 + n // 6 % 2) * 4 * MS)
    found = warm_up(timer, seconds=0.5)
    assert not found.steady
    assert 0.5 <= timer.runs * 6 * MS / NS_PER_S <= 1.0


@given(st.integers(0, 100))
def test_a_single_slow_inference_is_no_warm_up(place: int) -> None:
    """Medians do not see it."""
    timer = MadeTimer(lambda n: 100 * MS if n == place else MS)
    assert warm_up(timer).steady


def test_without_time_one_block_is_run() -> None:
    """A warm-up of 0 seconds is as short as can be."""
    timer = MadeTimer(lambda n: MS)
    found = warm_up(timer, seconds=0)
    assert timer.blocks == [1]
    assert (found.runs, found.steady) == (2, False)


def test_calls_are_timed_one_by_one() -> None:
    """The first of a block runs, but is not counted; the collector stays off."""
    seen: list[bool] = []
    times = CallTimer(lambda: seen.append(gc.isenabled())).block(5)
    assert len(times) == 5
    assert seen == [False] * 6
    assert all(time > 0 for time in times)
    assert gc.isenabled()


def test_the_collector_is_left_as_it_was() -> None:
    """Off before, off after."""
    gc.disable()
    try:
        with without_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_loop_takes_time() -> None:
    """It is no constant that somebody optimized away."""
    assert spin() > 10_000
