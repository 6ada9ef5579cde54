"""Scores of a binary or multi-class classifier from its logits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import rankdata


@dataclass(frozen=True)
class Scores:
    """How well logits predict labels.

    Attributes:
        accuracy: Share of correct predictions, 0 to 1.
        auc: Area under the ROC curve of class 1 against class 0, 0 to 1; NaN unless
            there are exactly two logits and both labels occur.
        loss: Mean cross-entropy in nats.
        count: Number of images.
    """

    accuracy: float
    auc: float
    loss: float
    count: int

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for JSON, which has no NaN."""
        return {k: None if v != v else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        """One line for a terminal."""
        return (
            f"accuracy {self.accuracy:.4f}, AUC {self.auc:.4f}, loss {self.loss:.4f} "
            f"({self.count:,} images)"
        )


def score(logits: NDArray[np.floating[Any]], labels: NDArray[np.uint8]) -> Scores:
    """Score logits.

    Args:
        logits: (N, classes).
        labels: (N,) class indices.
    """
    logits = np.asarray(logits, np.float64)
    rows = np.arange(len(labels))
    loss = logsumexp(logits, axis=1) - logits[rows, labels]
    two = logits.shape[1] == 2
    return Scores(
        accuracy=float((logits.argmax(1) == labels).mean()),
        auc=area_under_roc(logits[:, 1] - logits[:, 0], labels)
        if two
        else float("nan"),
        loss=float(loss.mean()),
        count=len(labels),
    )


def area_under_roc(
    values: NDArray[np.floating[Any]], labels: NDArray[np.uint8]
) -> float:
    """Probability that a positive's value exceeds a negative's; ties count one half.

    Args:
        values: (N,), larger for class 1.
        labels: (N,) of 0 and 1.

    Returns:
        The Mann-Whitney statistic divided by the number of pairs; NaN where one of the
        classes is absent.
    """
    positive = labels == 1
    pairs = int(positive.sum()) * int((~positive).sum())
    if pairs == 0:
        return float("nan")
    count = int(positive.sum())
    excess = rankdata(values)[positive].sum() - count * (count + 1) / 2
    return float(excess / pairs)
