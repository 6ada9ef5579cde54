"""Ratios of times that are made: what the interval holds, and what it does not see."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.bench.paired import Paired, PairedPlan, compare_times, ratio_of
from mobileq.bench.timing import Timer
from mobileq.errors import InputError
from support.made_times import MS, MadeTimer, noisy

SHORT = PairedPlan(rounds=5, seconds=0.2, warmup_seconds=0.01)

Made = Callable[[], tuple[Timer, Timer]]


def compared(made: Made, plan: PairedPlan = SHORT) -> Paired:
    """Compare pairs of made timers."""

    @contextmanager
    def pair() -> Iterator[tuple[Timer, Timer]]:
        yield made()

    return compare_times(pair, plan)


@given(a=st.floats(0.01, 50), b=st.floats(0.01, 50))
@settings(max_examples=25)
def test_constant_times_have_their_ratio(a: float, b: float) -> None:
    """Without any noise the interval is a point; times are whole nanoseconds."""
    found = compared(lambda: (MadeTimer(lambda n: a * MS), MadeTimer(lambda n: b * MS)))
    # Half a nanosecond of at least ten thousand, in both.
    assert found.ratio.value == pytest.approx(a / b, rel=2e-4)
    assert found.ratio.high == pytest.approx(found.ratio.low, rel=1e-9)
    assert found.median_a_ms == pytest.approx(a, rel=1e-4)


@given(st.floats(-0.3, 0.3))
@settings(max_examples=25)
def test_a_steady_drift_cancels_out(slope: float) -> None:
    """A machine that slows down by a third while four blocks run: no difference."""
    clock = 0

    def time(n: int) -> float:
        nonlocal clock
        clock += 1
        return 20 * MS * math.exp(slope * clock / 8)

    found = compared(lambda: (MadeTimer(time), MadeTimer(time)), PairedPlan(3, 0.1, 0))
    # Eight inferences make four blocks of a logarithm that grows evenly.
    assert found.ratio.value == pytest.approx(1, abs=1e-6)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_exchanging_the_two_inverts_the_ratio(seed: int) -> None:
    """Value and interval."""
    logs = np.random.default_rng(seed).normal(0.2, 0.1, 8)
    one, other = ratio_of(logs.tolist()), ratio_of((-logs).tolist())
    # Rounding of exp and log alone for the value; draws are the same rows.
    assert other.value == pytest.approx(1 / one.value, rel=1e-12)
    assert other.low == pytest.approx(1 / one.high, rel=1e-9)
    assert other.high == pytest.approx(1 / one.low, rel=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 400 simulated comparisons, 95 % within three standard errors (3.3 %).

    Every process is a few percent faster or slower for all of its life.
    """
    rng = np.random.default_rng(0)
    for rounds in (3, 5, 10):
        held = 0
        for _ in range(400):
            logs = math.log(1.1) + rng.normal(0, 0.03, rounds)
            found = ratio_of(logs.tolist())
            held += found.low <= 1.1 <= found.high
        assert 0.95 - 0.033 <= held / 400 <= 0.95 + 0.033, rounds


def test_blocks_of_noise_within_processes_that_differ() -> None:
    """2 % between processes and 30 % between inferences: the ratio is found."""
    rng = np.random.default_rng(1)

    def made() -> tuple[Timer, Timer]:
        factors = np.exp(rng.normal(0, 0.02, 2)) * (1.5, 1.0)
        timers = []
        for factor in factors:
            times = noisy(factor * MS, 0.3, int(rng.integers(2**31)))
            timers.append(MadeTimer(lambda n, times=times: next(times)))
        return timers[0], timers[1]

    found = compared(made, PairedPlan(10, 0.5, 0.01))
    assert found.ratio.low < 1.5 < found.ratio.high
    # Ten rounds of two processes of 2 %: 0.9 %, and a t-quantile of 2.26, both sides.
    assert found.ratio.high / found.ratio.low < 1.08
    assert found.real
    assert found.rounds == 10
    assert found.runs_a >= 100


def test_orders_alternate() -> None:
    """A B B A, B A A B, and the next round begins with the other one."""
    log: list[int] = []
    made = (MadeTimer(lambda n: 30 * MS), MadeTimer(lambda n: 30 * MS))

    @contextmanager
    def pair() -> Iterator[tuple[Timer, Timer]]:
        yield made

    compare_times(pair, PairedPlan(3, 0.01, 0), after_block=log.append)
    one, other = [0, 1, 1, 0, 1, 0, 0, 1], [1, 0, 0, 1, 0, 1, 1, 0]
    assert log == one + other + one


@pytest.mark.parametrize(
    ("low", "value", "high", "words"),
    [
        (0.9, 1.0, 1.1, "No difference can be told"),
        (1.1, 1.2, 1.3, "a is slower than b: it takes 1.200 times"),
        (0.7, 0.8, 0.9, "a is faster than b: it takes 0.800 times"),
    ],
)
def test_the_sentence(low: float, value: float, high: float, words: str) -> None:
    """A difference is claimed only where the interval leaves 1 out."""
    from mobileq.bench.statistics import Estimate

    found = Paired(Estimate(value, low, high), 1, 1, 9, 9, 3, 12)
    assert words in found.sentence("a", "b")
    assert f"{low:.3f} to {high:.3f}" in found.sentence("a", "b")
    assert found.real == (not low <= 1 <= high)


@pytest.mark.parametrize("values", [{"rounds": 2}, {"seconds": 0.0}])
def test_too_little_for_an_interval(values: dict[str, float]) -> None:
    """Two rounds, or rounds without time."""
    with pytest.raises(InputError, match="compare: "):
        PairedPlan(**values)  # type: ignore[arg-type]
