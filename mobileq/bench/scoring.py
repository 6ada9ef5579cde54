"""Figures of a classifier from its logits, each with a 95 % interval.

Shares have Wilson's interval, the AUC DeLong's (`statistics.py`), F1 and calibration
error a bootstrapped one (`bootstrap.py`). All of them take images for independent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from mobileq.bench.bootstrap import calibration_error, f1_interval
from mobileq.bench.figures import Accuracy, Agreement
from mobileq.bench.statistics import Estimate, auc_interval, compare, wilson
from mobileq.errors import DataError, InputError

Logits = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def accuracy_of(logits: Logits, labels: Labels) -> Accuracy:
    """Score a classifier.

    The predicted class is the one with the largest logit, the first one of equals; its
    probability is that of the softmax.

    Args:
        logits: (N, classes) real numbers, of at least two classes.
        labels: (N,) class indices.

    Returns:
        AUC, sensitivity and specificity are None unless there are two classes and the
        images that they speak of. F1 of two classes is NaN if class 1 neither occurs
        nor is predicted.

    Raises:
        DataError: no images, not as many labels, or a label without a logit.
        InputError: a single class, or a logit that is no finite number.
    """
    wide, classes = _checked(logits, labels), logits.shape[1]
    true = labels.astype(np.int64)
    predicted = wide.argmax(axis=1)
    cells = np.bincount(true * classes + predicted, minlength=classes * classes)
    confusion = cells.reshape(classes, classes)
    total = logsumexp(wide, axis=1)
    confidence = np.exp(wide.max(axis=1) - total)
    two = classes == 2
    return Accuracy(
        count=len(true),
        accuracy=wilson(int(np.trace(confusion)), len(true)),
        auc=_auc(wide, true) if two else None,
        sensitivity=_share_found(confusion, 1) if two else None,
        specificity=_share_found(confusion, 0) if two else None,
        f1=f1_interval(confusion),
        calibration_error=calibration_error(confidence, predicted == true),
        loss=float((total - wide[np.arange(len(true)), true]).mean()),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def agreement_of(logits: Logits, reference: Logits, labels: Labels) -> Agreement:
    """Compare a network with the one that it was made from.

    Args:
        logits: (N, classes) of the network.
        reference: (N, classes) of the other one for the same images.
        labels: (N,) class indices.

    Raises:
        DataError: not as many images or classes, or a label without a logit.
        InputError: a single class, or a logit that is no finite number.
    """
    if logits.shape != reference.shape:
        raise DataError(
            f"agreement: logits of shape {logits.shape} and {reference.shape}; wanted "
            f"the same images and classes (measure both on the same data)"
        )
    first = _checked(logits, labels).argmax(axis=1)
    second = _checked(reference, labels).argmax(axis=1)
    return Agreement(
        same_class=wilson(int((first == second).sum()), len(labels)),
        accuracy=compare(first == labels, second == labels),
    )


def _checked(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """Logits in float64 that have a label each.

    Raises:
        DataError: they have not.
        InputError: they are of one class, or not finite.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise DataError(
            f"scoring: logits of shape {logits.shape} and labels of {labels.shape}; "
            f"wanted (N, classes) and (N,) with N at least 1 (use the logits of these "
            f"images)"
        )
    classes = logits.shape[1]
    if classes < 2:
        raise InputError(
            f"scoring: {classes} logit per image; wanted one for each of at least 2 "
            f"classes (measure a classifier)"
        )
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        where = int(outside.argmax())
        raise DataError(
            f"scoring: label {labels[where]} of image {where}; wanted 0 to "
            f"{classes - 1}, as there are logits (use the data that the network was "
            f"trained for)"
        )
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        where = int((~finite).argmax())
        raise InputError(
            f"scoring: logits {logits[where].tolist()} of image {where}; wanted finite "
            f"numbers ('mobileq verify' names the first tensor that is wrong)"
        )
    return logits.astype(np.float64)


def _auc(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Estimate | None:
    """Area under the ROC curve of class 1; None where a class has no image."""
    if len(np.unique(labels)) < 2:
        return None
    return auc_interval(logits[:, 1] - logits[:, 0], labels.astype(np.uint8))


def _share_found(confusion: NDArray[np.int64], label: int) -> Estimate | None:
    """Share of a class's images that are put into it; None where it has none."""
    count = int(confusion[label].sum())
    return wilson(int(confusion[label, label]), count) if count else None
