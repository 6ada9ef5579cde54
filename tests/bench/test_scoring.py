"""Figures of a classifier, each with its interval."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from mobileq.bench.bootstrap import BINS, calibration_error, f1_interval
from mobileq.bench.figures import Accuracy
from mobileq.bench.scoring import accuracy_of, agreement_of
from mobileq.bench.statistics import Estimate
from mobileq.data.scores import score
from mobileq.errors import DataError, InputError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def classifier(
    count: int, classes: int, seed: int, *, skill: float = 1.0, steps: float = 0.25
) -> tuple[Floats, Labels]:
    """Logits (N, K) on a grid of 8-bit numbers, so that there are ties, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), labels] += skill
    return np.rint(logits / steps) * steps, labels


def estimates(found: Accuracy) -> list[Estimate]:
    """All figures of a result that have an interval."""
    values = (getattr(found, field.name) for field in dataclasses.fields(found))
    return [value for value in values if isinstance(value, Estimate)]


def direct_f1(predicted: Labels, labels: Labels, classes: int) -> float:
    """F1 by precision and sensitivity, one class after the other."""
    scores = []
    for one in range(classes):
        hits = int(((predicted == one) & (labels == one)).sum())
        told, there = int((predicted == one).sum()), int((labels == one).sum())
        precision, found = hits / max(told, 1), hits / max(there, 1)
        both = precision + found
        score = 2 * precision * found / both if both else 0.0
        scores.append(score if told + there else math.nan)
    return scores[1] if classes == 2 else float(np.nanmean(scores))


def direct_calibration_error(logits: Floats, labels: Labels) -> float:
    """Guo et al.'s formula, image by image."""
    probabilities = softmax(logits, axis=1)
    total = 0.0
    for low in range(BINS):
        rows = [
            row
            for row, shares in enumerate(probabilities)
            if min(int(shares.max() * BINS), BINS - 1) == low
        ]
        if rows:
            right = np.mean([logits[r].argmax() == labels[r] for r in rows])
            sure = np.mean([probabilities[r].max() for r in rows])
            total += len(rows) / len(labels) * abs(right - sure)
    return float(total)


@given(
    st.integers(1, 200),
    st.integers(2, 5),
    st.integers(0, 2**32 - 1),
    st.floats(-3, 8),
)
def test_figures_by_their_formulas(
    count: int, classes: int, seed: int, skill: float
) -> None:
    """Each figure is what its definition says, and lies in its interval, in 0 to 1."""
    logits, labels = classifier(count, classes, seed, skill=skill)
    found = accuracy_of(logits, labels)
    predicted = logits.argmax(1)
    assert found.count == count
    assert found.accuracy.value == (predicted == labels).mean()
    assert np.asarray(found.confusion).sum() == count
    assert found.confusion[0][1] == ((labels == 0) & (predicted == 1)).sum()
    # Sums of at most 200 float64 in another order.
    wanted = direct_f1(predicted, labels, classes)
    np.testing.assert_allclose(found.f1.value, wanted, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        found.calibration_error.value,
        direct_calibration_error(logits, labels),
        rtol=1e-9,
        atol=1e-12,
    )
    simple = score(logits, labels.astype(np.uint8))
    np.testing.assert_allclose(found.loss, simple.loss, rtol=1e-12)
    if classes == 2 and len(set(labels)) == 2:
        assert found.auc is not None
        np.testing.assert_allclose(found.auc.value, simple.auc, rtol=1e-12)
        assert found.sensitivity is not None
        assert found.sensitivity.value == (predicted[labels == 1] == 1).mean()
        assert found.specificity is not None
        assert found.specificity.value == (predicted[labels == 0] == 0).mean()
    if classes > 2:
        assert found.auc is found.sensitivity is found.specificity is None
    for one in estimates(found):
        if not math.isnan(one.low):
            assert 0 <= one.low <= one.value <= one.high <= 1


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_the_order_of_images_does_not_matter(seed: int, classes: int) -> None:
    """Any permutation of the images gives the same figures and intervals."""
    logits, labels = classifier(150, classes, seed)
    order = np.random.default_rng(seed).permutation(150)
    first, second = (
        accuracy_of(logits, labels),
        accuracy_of(logits[order], labels[order]),
    )
    assert first.confusion == second.confusion
    for one, other in zip(estimates(first), estimates(second), strict=True):
        # Sums of 150 float64 in another order.
        np.testing.assert_allclose(
            dataclasses.astuple(one), dataclasses.astuple(other), rtol=1e-9, atol=1e-12
        )


def test_the_same_logits_have_the_same_intervals() -> None:
    """The bootstrap is seeded: a report that is made again says the same."""
    logits, labels = classifier(300, 2, seed=1)
    assert accuracy_of(logits, labels) == accuracy_of(logits, labels)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_perfect_classifier(classes: int) -> None:
    """All of it right and sure: every figure is 1, calibration error and loss 0."""
    labels = np.arange(60) % classes
    found = accuracy_of(100.0 * np.eye(classes)[labels], labels)
    assert found.accuracy.value == found.f1.value == 1
    assert found.calibration_error == Estimate(0.0, 0.0, 0.0)
    assert found.loss == 0
    assert (np.asarray(found.confusion) == 60 // classes * np.eye(classes)).all()
    if classes == 2:
        assert found.auc == Estimate(1.0, 1.0, 1.0)


def test_a_sure_classifier_that_is_always_wrong() -> None:
    """Nothing is right, and probability 1 is all of it calibration error."""
    labels = np.arange(40) % 2
    found = accuracy_of(100.0 * np.eye(2)[1 - labels], labels)
    assert found.accuracy.value == found.f1.value == 0
    assert found.calibration_error.value == 1
    assert found.auc is not None
    assert found.auc.value == 0


def test_a_class_without_images() -> None:
    """What speaks of it is None, and F1 of a class that nobody names is no number."""
    found = accuracy_of(np.tile([2.0, 1.0], (9, 1)), np.zeros(9, int))
    assert found.auc is found.sensitivity is None
    assert found.specificity is not None
    assert found.specificity.value == 1
    assert math.isnan(found.f1.value)
    one = accuracy_of(np.array([[0.0, 1.0, 5.0]]), np.array([2]))
    assert (one.accuracy.value, one.f1.value, one.count) == (1, 1, 1)


def test_huge_logits_stay_finite() -> None:
    """Probabilities come from differences, so nothing overflows."""
    found = accuracy_of(np.array([[1e300, -1e300], [-1e300, 1e300]]), np.array([0, 1]))
    assert found.calibration_error.value == 0
    assert found.loss == 0


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), DataError, r"N at least 1"),
        (np.zeros((3, 2)), np.zeros(2, int), DataError, r"labels of \(2,\)"),
        (np.zeros((3, 2, 2, 2)), np.zeros(3, int), DataError, r"\(3, 2, 2, 2\)"),
        (np.zeros((3, 1)), np.zeros(3, int), InputError, r"1 logit per image"),
        (np.zeros((3, 2)), np.array([0, 2, 1]), DataError, r"label 2 of image 1"),
        (np.zeros((3, 2)), np.array([0, 1, -1]), DataError, r"label -1 of image 2"),
        (np.array([[0, np.nan]]), np.zeros(1, int), InputError, r"\[0.0, nan\]"),
        (np.array([[0, np.inf]]), np.zeros(1, int), InputError, r"of image 0"),
    ],
)
def test_what_cannot_be_scored(
    logits: Floats, labels: Labels, error: type[Exception], message: str
) -> None:
    """One line says what it is instead of a figure that means nothing."""
    with pytest.raises(error, match=message):
        accuracy_of(logits, labels)


def test_f1_resamples_the_images() -> None:
    """Drawing counts is drawing images: both bootstraps have the same quantiles."""
    logits, labels = classifier(400, 3, seed=5)
    predicted = logits.argmax(1)
    rng = np.random.default_rng(0)
    direct = []
    for _ in range(2000):
        rows = rng.integers(400, size=400)
        direct.append(direct_f1(predicted[rows], labels[rows], 3))
    found = accuracy_of(logits, labels).f1
    wanted = np.quantile(direct, (0.025, 0.975))
    # The 2.5 % quantile of 1,000 draws varies by about 0.08 standard deviations.
    np.testing.assert_allclose(
        [found.low, found.high], wanted, atol=0.3 * np.std(direct)
    )


def test_calibration_resamples_the_images() -> None:
    """So do those of the calibration error, whose sums are drawn by their moments."""
    logits, labels = classifier(400, 2, seed=6, steps=0.001)
    confidence = softmax(logits, axis=1).max(1)
    right = logits.argmax(1) == labels
    value = calibration_error(confidence, right)
    rng = np.random.default_rng(0)
    direct = []
    for _ in range(2000):
        rows = rng.integers(400, size=400)
        gaps = np.bincount(
            np.minimum((confidence[rows] * BINS).astype(int), BINS - 1),
            right[rows] - confidence[rows],
        )
        direct.append(np.abs(gaps).sum() / 400)
    low, high = 2 * value.value - np.quantile(direct, (0.975, 0.025))
    spread = float(np.std(direct))
    assert value.low in (0.0, pytest.approx(low, abs=0.3 * spread))
    assert value.high == pytest.approx(high, abs=0.3 * spread)


def hits(interval: Estimate, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return interval.low <= truth <= interval.high


# 300 samples of 95 % intervals: fewer than 270 hits (90 %) in one of 10,000 tries.
SAMPLES, LEAST = 300, 270


def test_f1_intervals_hold_the_truth() -> None:
    """About 95 of 100 samples' intervals hold the F1 of the population."""
    rng = np.random.default_rng(7)
    shares = np.array([[0.42, 0.08], [0.11, 0.39]])
    truth = 2 * 0.39 / (2 * 0.39 + 0.08 + 0.11)
    found = [
        f1_interval(rng.multinomial(800, shares.ravel()).reshape(2, 2))
        for _ in range(SAMPLES)
    ]
    assert sum(hits(one, truth) for one in found) >= LEAST


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_calibration_intervals_hold_the_truth(temperature: float) -> None:
    """Of a network that knows how sure it is, and of one that is too sure.

    A percentile interval would miss the error of the first, which is 0, every time.
    """
    rng = np.random.default_rng(8)

    def draw(count: int) -> tuple[Floats, NDArray[np.bool_]]:
        margin = np.abs(rng.normal(1.5, 2, count))
        right = rng.random(count) < 1 / (1 + np.exp(-margin * temperature))
        return 1 / (1 + np.exp(-margin)), right

    truth = 0.0
    if temperature != 1:
        # The largest sample stands for the population: its error is below 1e-3.
        truth = calibration_error(*draw(2_000_000), resamples=2).value
    found = [calibration_error(*draw(2000)) for _ in range(SAMPLES)]
    assert sum(hits(one, truth) for one in found) >= LEAST


def test_agreement() -> None:
    """Two networks on four images: who is right where, and where they are the same."""
    labels = np.array([0, 1, 0, 1])
    first = np.array([[2.0, 1], [0, 1], [0, 3], [5, 4]])  # right, right, wrong, wrong
    second = np.array([[1.0, 0], [9, 1], [0, 1], [0, 1]])  # right, wrong, wrong, right
    found = agreement_of(first, second, labels)
    assert found.same_class.value == 0.5
    assert found.accuracy.difference.value == 0
    assert (found.accuracy.only_first, found.accuracy.only_second) == (1, 1)
    assert (found.accuracy.count, found.accuracy.p_value) == (4, 1.0)
    with pytest.raises(DataError, match=r"\(4, 2\) and \(3, 2\)"):
        agreement_of(first, second[:3], labels)


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_agreement_is_mirrored(seed: int, classes: int) -> None:
    """Exchanging the networks turns the difference round, and oneself is the same."""
    one, labels = classifier(120, classes, seed)
    other, _ = classifier(120, classes, seed + 1)
    here, there = agreement_of(one, other, labels), agreement_of(other, one, labels)
    assert here.same_class == there.same_class
    assert here.accuracy.difference.value == -there.accuracy.difference.value
    assert here.accuracy.p_value == pytest.approx(there.accuracy.p_value)
    same = agreement_of(one, one, labels)
    assert same.same_class.value == 1
    assert same.accuracy.difference.value == 0


def test_many_classes() -> None:
    """A hundred classes are scored in bounded memory, as the formulas say."""
    logits, labels = classifier(4000, 100, seed=9, skill=3.0)
    found = accuracy_of(logits, labels)
    wanted = direct_f1(logits.argmax(1), labels, 100)
    assert found.f1.value == pytest.approx(wanted, rel=1e-12)
    assert found.f1.low < wanted < found.f1.high
