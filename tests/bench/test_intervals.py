"""Intervals and tests, against scipy, brute force and published numbers."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial

from mobileq.bench.statistics import (
    auc_interval,
    compare,
    mcnemar,
    paired_difference,
    wilson,
)
from mobileq.data.scores import area_under_roc
from mobileq.errors import DataError

ROUNDING = 1e-12
"""Both sides are sums of a few float64 values between 0 and 1."""


@given(st.integers(1, 40_000), st.floats(0, 1))
def test_wilson_is_that_of_scipy(count: int, share: float) -> None:
    """Also where nothing or everything is right, where Wald's interval is empty."""
    right = round(share * count)
    found = wilson(right, count)
    wanted = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert found.value == right / count
    assert found.low == pytest.approx(wanted.low, abs=ROUNDING)
    assert found.high == pytest.approx(wanted.high, abs=ROUNDING)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_wilson_of_a_published_example() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, doi:10.1002/sim.777)."""
    found = wilson(81, 263)
    # Half a unit of the last digit that is printed.
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("counts", [(1, 0), (3, 2), (-1, 2), (0, 0)])
def test_impossible_shares_are_refused(counts: tuple[int, int]) -> None:
    """A share of no images, or more than all of them."""
    with pytest.raises(DataError, match="predictions are correct; wanted"):
        wilson(*counts)


def delong_by_pairs(values: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """AUC and its variance from the kernel of every pair, as DeLong define them."""
    first, second = values[labels == 1], values[labels == 0]
    kernel = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    parts = (kernel.mean(1), kernel.mean(0))
    variance = sum(part.var(ddof=1) / len(part) for part in parts)
    return float(kernel.mean()), float(variance)


@given(st.lists(st.integers(-3, 3), min_size=4, max_size=60), st.integers(0, 2**32 - 1))
def test_auc_interval_is_delongs(values: list[int], seed: int) -> None:
    """Midranks give what all pairs give, ties included; the AUC is that of scores."""
    labels = np.random.default_rng(seed).integers(0, 2, len(values)).astype(np.uint8)
    labels[:4] = 0, 0, 1, 1
    scores = np.array(values, np.float64)
    found = auc_interval(scores, labels)
    auc, variance = delong_by_pairs(scores, labels)
    assert found.value == pytest.approx(auc, abs=ROUNDING)
    assert found.value == pytest.approx(area_under_roc(scores, labels), abs=ROUNDING)
    half = 1.959963984540054 * variance**0.5
    # A variance of 0 may come out as 1e-17, whose root is larger.
    assert found.low == pytest.approx(max(0, auc - half), abs=1e-7)
    assert found.high == pytest.approx(min(1, auc + half), abs=1e-7)


def test_auc_intervals_hold_as_often_as_they_say() -> None:
    """Of two normal classes a distance apart, whose AUC is known."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([0, 1], np.uint8), (150, 100))
    true = 0.7602499389065233  # Phi(1 / sqrt 2)
    inside = 0
    for _ in range(400):
        found = auc_interval(rng.normal(size=250) + labels, labels)
        inside += found.low <= true <= found.high
    # 95 % of 400 is 380 with a standard deviation of 4.4: three of them.
    assert 366 <= inside <= 394


def test_an_auc_of_one_class_has_no_interval() -> None:
    """And that of a single positive has a value, but no variance."""
    nothing = auc_interval(np.arange(3.0), np.ones(3, np.uint8))
    assert all(v != v for v in (nothing.value, nothing.low, nothing.high))
    single = auc_interval(np.arange(3.0), np.array([0, 1, 0], np.uint8))
    assert (single.value, single.low == single.low) == (0.5, False)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_sum_of_what_is_no_likelier(first: int, second: int) -> None:
    """Both tails of a fair coin, summed in integers."""
    total = first + second
    own = comb(total, first)
    rare = sum(comb(total, k) for k in range(total + 1) if comb(total, k) <= own)
    # A ratio of integers against one of rounded floats.
    assert mcnemar(first, second) == pytest.approx(rare / 2**total, rel=1e-9)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_of_a_known_table() -> None:
    """2 against 10: twice (1 + 12 + 66) / 4096."""
    assert mcnemar(2, 10) == pytest.approx(158 / 4096, rel=1e-12)
    assert mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0.05, 0.05), (0.02, 0.1), (0.3, 0.2)]
)
def test_paired_intervals_hold_as_often_as_they_say(
    only_first: float, only_second: float
) -> None:
    """Every table of 40 images, with its exact probability."""
    count = 40
    true = only_first - only_second
    chances = (only_first, only_second, 1 - only_first - only_second)
    covered = 0.0
    for a, b in product(range(count + 1), repeat=2):
        if a + b <= count:
            found = paired_difference(a, b, count)
            assert found.low <= found.value <= found.high
            if found.low <= true <= found.high:
                covered += multinomial.pmf((a, b, count - a - b), count, chances)
    # 40 discrete images cannot give 0.95 exactly; a wrong formula is further off.
    assert 0.935 <= covered <= 0.985


def test_paired_interval_by_hand() -> None:
    """Bonett and Price with one more on each side: 20 against 8 of 100."""
    found = paired_difference(20, 8, 100)
    first, second = 21 / 102, 9 / 102
    half = 1.959963984540054 * ((first + second - (first - second) ** 2) / 102) ** 0.5
    assert found.value == 0.12
    assert found.low == pytest.approx(first - second - half, abs=ROUNDING)
    assert found.high == pytest.approx(first - second + half, abs=ROUNDING)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_a_comparison_counts_the_images(pairs: list[tuple[bool, bool]]) -> None:
    """The other way round it has the other sign and the same p-value."""
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    found, other = compare(first, second), compare(second, first)
    assert found.difference.value == pytest.approx(
        first.mean() - second.mean(), abs=ROUNDING
    )
    assert (found.only_first, found.only_second) == (
        other.only_second,
        other.only_first,
    )
    assert found.p_value == other.p_value
    assert found.difference.low == pytest.approx(-other.difference.high, abs=ROUNDING)
    assert found.count == len(pairs)


def test_comparisons_of_other_images_are_refused() -> None:
    """Numbers of images that differ, none at all, and more differences than images."""
    some = np.array([True, False])
    for first, second in ((some, some[:1]), (some[:0], some[:0])):
        with pytest.raises(DataError, match="wanted as many of both"):
            compare(first, second)
    for counts in ((2, 1, 2), (-1, 0, 2), (0, 0, 0)):
        with pytest.raises(DataError, match="predictions differ"):
            paired_difference(*counts)


def test_tails_of_the_exact_test_agree_with_scipys_distribution() -> None:
    """One tail of the binomial distribution, doubled, where it is symmetric."""
    wanted = 2 * binom.cdf(30, 80, 0.5)
    assert mcnemar(30, 50) == pytest.approx(wanted, rel=1e-9)
