"""Intervals of figures that have no formula for one: F1 and calibration error.

Resampling N images with replacement and counting them again is the same as drawing the
counts themselves from a multinomial distribution (Efron, doi:10.1214/aos/1176344552).
F1 is a function of the confusion matrix, so its bootstrap is exact. The calibration
error is one of 30 counts, correct and wrong predictions in each of 15 bins, and of the
sum of the probabilities behind each count; that sum is drawn from the normal
distribution that has its mean and variance. So 1,000 resamples take milliseconds,
however many images there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.statistics import LEVEL, Estimate

RESAMPLES = 1000
"""How often the images are drawn again."""

SEED = 0
"""Decides the draws, so that the same logits have the same interval."""

BINS = 15
"""Equal bins of the winning class's probability (Guo et al., arXiv:1706.04599)."""

_COUNTS_TOGETHER = 2**20
"""Counts in memory at a time; a confusion matrix may have many cells."""

_TAIL = (1 - LEVEL) / 2

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def f1_interval(confusion: Counts, *, resamples: int = RESAMPLES) -> Estimate:
    """F1 of class 1, or its mean over classes, with a percentile bootstrap interval.

    F1 is 2 TP / (2 TP + FP + FN). A class that neither occurs nor is predicted has
    none, and is left out of the mean.

    Args:
        confusion: (K, K) images by true class (rows) and predicted class (columns);
            with K = 2 the figure is that of class 1.
        resamples: How often the images are drawn again.

    Returns:
        NaN without an interval where there is no F1 at all.
    """
    rows, columns = np.nonzero(confusion)
    counts = confusion[rows, columns]
    value = float(_f1(counts[None], rows, columns, len(confusion))[0])
    if math.isnan(value):
        return Estimate(value, value, value)
    drawn = np.concatenate(
        [
            _f1(part, rows, columns, len(confusion))
            for part in _resampled(counts, resamples)
        ]
    )
    low, high = np.nanquantile(drawn, (_TAIL, 1 - _TAIL))
    return _around(value, float(low), float(high))


def calibration_error(
    confidence: Floats, right: NDArray[np.bool_], *, resamples: int = RESAMPLES
) -> Estimate:
    """Expected calibration error, with a bootstrap interval.

    sum_b |images of bin b that are right - sum of their probabilities| / N.

    Gaps that are chance add up and never cancel, so the error of a resample lies above
    that of the sample as this one lies above the truth. A percentile interval would
    miss the truth most of the time; this is the reflected one, [2 e - high, 2 e - low].
    Its lower end is 0 where a network without any calibration error would show as large
    a figure in more than 2.5 of 100 samples.

    Args:
        confidence: (N,) probability of the winning class, 0 to 1.
        right: (N,) whether it is the true one.
        resamples: How often the images are drawn again.
    """
    cells = 2 * np.minimum((confidence * BINS).astype(np.int64), BINS - 1) + right
    counts = np.bincount(cells, minlength=2 * BINS)
    mean, variance = _moments(cells, counts, confidence)
    value = float(_gap(counts[None], (counts * mean)[None])[0])
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(len(cells), counts / len(cells), size=resamples)
    noise = rng.standard_normal(drawn.shape) * np.sqrt(drawn * variance)
    low, high = np.quantile(_gap(drawn, drawn * mean + noise), (_TAIL, 1 - _TAIL))
    lowest, highest = 2 * value - float(high), 2 * value - float(low)
    if value <= _chance(counts, counts * mean, rng, resamples):
        lowest = 0.0
    return _around(value, lowest, highest)


def _f1(counts: Counts, rows: Counts, columns: Counts, classes: int) -> Floats:
    """F1 of each of (R, cells) counts, (R,); the cells' places are given."""
    found, told, hits = (np.zeros((len(counts), classes)) for _ in range(3))
    # The cells come row by row; `reduceat` wants those of one class side by side.
    _add_up(found, counts, rows)
    by_column = np.argsort(columns, kind="stable")
    _add_up(told, counts[:, by_column], columns[by_column])
    diagonal = rows == columns
    hits[:, rows[diagonal]] = counts[:, diagonal]
    sizes = found + told
    scores = np.divide(
        2 * hits, sizes, out=np.full_like(sizes, np.nan), where=sizes > 0
    )
    if classes == 2:
        return np.asarray(scores[:, 1])
    # Some class always occurs, so no mean is one of nothing.
    return np.asarray(np.nanmean(scores, axis=1))


def _add_up(sums: Floats, counts: Counts, classes: Counts) -> None:
    """Put the sums of (R, cells) counts of each class, in order, into (R, K)."""
    present, starts = np.unique(classes, return_index=True)
    sums[:, present] = np.add.reduceat(counts, starts, axis=1)


def _resampled(counts: Counts, resamples: int) -> Iterator[Counts]:
    """Counts of as many images drawn with replacement, (some, cells) at a time."""
    rng = np.random.default_rng(SEED)
    total = counts.sum()
    together = max(1, _COUNTS_TOGETHER // len(counts))
    for start in range(0, resamples, together):
        size = min(together, resamples - start)
        yield rng.multinomial(total, counts / total, size=size)


def _moments(cells: Counts, counts: Counts, values: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of the values in each cell; 0 where there is none."""
    number = np.maximum(counts, 1)
    mean = np.bincount(cells, values, len(counts)) / number
    squares = np.bincount(cells, (values - mean[cells]) ** 2, len(counts))
    return mean, squares / number


def _gap(counts: NDArray[Any], sums: Floats) -> Floats:
    """Calibration error of each of (R, 30) counts and sums of probabilities, (R,)."""
    right = counts[:, 1::2]
    expected = sums.reshape(len(sums), BINS, 2).sum(axis=2)
    return np.asarray(np.abs(right - expected).sum(axis=1) / counts.sum(axis=1))


def _chance(
    counts: Counts, sums: Floats, rng: np.random.Generator, resamples: int
) -> float:
    """The error that a calibrated network stays below in 97.5 of 100 samples."""
    images = counts.reshape(BINS, 2).sum(axis=1)
    expected = sums.reshape(BINS, 2).sum(axis=1)
    share = np.clip(expected / np.maximum(images, 1), 0, 1)
    right = rng.binomial(images, share, size=(resamples, BINS))
    errors = np.abs(right - expected).sum(axis=1) / images.sum()
    return float(np.quantile(errors, 1 - _TAIL))


def _around(value: float, low: float, high: float) -> Estimate:
    """An interval within 0 to 1 that holds its figure."""
    return Estimate(value, max(0.0, min(low, value)), min(1.0, max(high, value)))
