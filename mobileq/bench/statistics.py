"""How sure a figure is: intervals of 95 % and exact tests for paired predictions.

Wilson's interval for an accuracy (doi:10.1080/01621459.1927.10502953). DeLong's
variance of an AUC (doi:10.2307/2531595), from midranks (doi:10.1109/LSP.2014.2337313).
McNemar's test in its exact form (doi:10.1007/BF02295996): the images that only one of
two networks classifies correctly, by the binomial distribution. Bonett and Price's
interval for the difference of two paired accuracies (doi:10.3102/1076998611411915).

All of them take images for independent. Patches of one slide are not quite, so that the
true intervals are wider; and none of them says how another seed would have trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binomtest, rankdata

from mobileq.errors import DataError

LEVEL = 0.95
"""Confidence of every interval."""

Z = float(ndtri(0.5 + LEVEL / 2))
"""Quantile of the normal distribution that goes with it."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: The figure.
        low: Lower end; NaN where there is no interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same images.

    Attributes:
        difference: Accuracy of the first minus that of the second, -1 to 1.
        only_first: Images that only the first classifies correctly.
        only_second: Images that only the second classifies correctly.
        p_value: McNemar's: how often equally good classifiers differ as much.
        count: Number of images.
    """

    difference: Estimate
    only_first: int
    only_second: int
    p_value: float
    count: int


def wilson(right: int, count: int) -> Estimate:
    """Share of correct predictions, with Wilson's score interval.

    Args:
        right: Correct predictions.
        count: All predictions.

    Raises:
        DataError: no such share.
    """
    if not 0 <= right <= count or count < 1:
        raise DataError(
            f"{right} of {count} predictions are correct; wanted 0 to N of at least 1"
        )
    share, extra = right / count, Z * Z / count
    middle = (share + extra / 2) / (1 + extra)
    half = math.sqrt(share * (1 - share) * extra + extra * extra / 4) / (1 + extra)
    # Rounding must not put the figure outside its own interval.
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Estimate(share, min(low, share), max(high, share))


def auc_interval(
    values: NDArray[np.floating[Any]], labels: NDArray[np.uint8]
) -> Estimate:
    """Area under the ROC curve, with DeLong's interval, cut at 0 and 1.

    Args:
        values: (N,), larger for class 1; ties count one half.
        labels: (N,) of 0 and 1.

    Returns:
        NaN where a class is absent; no interval where one has a single image. With
        classes that are separated completely the variance is 0 and the interval empty.
    """
    positive = labels == 1
    count, others = int(positive.sum()), int((~positive).sum())
    nan = float("nan")
    if not count or not others:
        return Estimate(nan, nan, nan)
    ranks = rankdata(values)
    # Share of the other class that each image is on the right side of.
    above = (ranks[positive] - rankdata(values[positive])) / others
    below = 1 - (ranks[~positive] - rankdata(values[~positive])) / count
    auc = float(above.mean())
    if min(count, others) < 2:
        return Estimate(auc, nan, nan)
    variance = above.var(ddof=1) / count + below.var(ddof=1) / others
    half = Z * math.sqrt(float(variance))
    return Estimate(auc, max(0.0, auc - half), min(1.0, auc + half))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test; 1 where no prediction differs.

    Args:
        only_first: Images that only the first classifier gets right.
        only_second: Images that only the second one gets right.
    """
    differing = only_first + only_second
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0


def paired_difference(only_first: int, only_second: int, count: int) -> Estimate:
    """Difference of two paired accuracies, with Bonett and Price's interval.

    Args:
        only_first: Images that only the first classifier gets right.
        only_second: Images that only the second one gets right.
        count: All images.

    Raises:
        DataError: more images differ than there are.
    """
    possible = min(only_first, only_second) >= 0 and only_first + only_second <= count
    if count < 1 or not possible:
        raise DataError(
            f"{only_first} and {only_second} of {count} predictions differ; wanted no "
            f"more than there are"
        )
    # One image is added to each side, so that equal predictions have an interval too.
    first, second = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    middle = first - second
    half = Z * math.sqrt((first + second - middle * middle) / (count + 2))
    value = (only_first - only_second) / count
    return Estimate(value, max(-1.0, middle - half), min(1.0, middle + half))


def compare(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Comparison:
    """Compare two classifiers.

    Args:
        first: (N,), whether the first is right.
        second: (N,), whether the second is right on the same images.

    Raises:
        DataError: not the same number of images, or none.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise DataError(
            f"predictions of {first.shape} and {second.shape} images; wanted as many "
            f"of both, of the same images"
        )
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    return Comparison(
        paired_difference(only_first, only_second, len(first)),
        only_first,
        only_second,
        mcnemar(only_first, only_second),
        len(first),
    )
