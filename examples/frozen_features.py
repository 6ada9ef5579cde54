"""A classifier on the features of a frozen network: multinomial logistic regression.

With features x (standardized), one-hot labels t and n images, it minimizes

    -1/n sum_i log softmax(W x_i + b)[t_i]  +  l2/2 |W|^2
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from examples.stock_networks import PIXELS, StockNetwork
from mobileq.data.patches import Patches
from mobileq.data.transforms import center_crop
from mobileq.errors import DataError, TrainingError

BATCH = 64
"""Images in memory together."""
ITERATIONS = 1000
RARE = 0.1
"""Least deviation of a feature, in those of the median one: a unit that fired for two
or three images gets no weight by which a fourth one would decide everything."""

Head = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weight (classes, F) and bias (classes,)."""


def frozen_features(
    network: StockNetwork, patches: Patches, *, size: int, limit: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Features of patches, and their labels.

    Args:
        network: Gives the features.
        patches: Labelled images; the middle of each is cut out.
        size: Height and width that the network takes, in pixels.
        limit: Use so many patches, evenly spread over all of them.

    Returns:
        (N, F) float64 and (N,) uint8.
    """
    count = min(limit or len(patches), len(patches))
    rows = np.linspace(0, len(patches) - 1, count).round().astype(np.int64)
    parts = []
    with torch.no_grad():
        for start in range(0, count, BATCH):
            pixels = center_crop(patches.read(rows[start : start + BATCH]), size)
            images = torch.from_numpy(PIXELS.normalize(pixels))
            parts.append(network.features(images).double().numpy())
    return np.concatenate(parts), patches.labels[rows]


def fit_head(
    features: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    l2: float = 0.1,
) -> Head:
    """Fit a linear classifier by L-BFGS.

    Args:
        features: (N, F); each is standardized (its deviation being at least
            `RARE`), which the result undoes.
        labels: (N,) classes from 0, each of which occurs.
        l2: Weight of the penalty.

    Raises:
        DataError: numbers of features and labels differ, or a class has no image.
        TrainingError: it did not converge.
    """
    x = np.asarray(features, np.float64)
    classes = int(labels.max()) + 1 if len(labels) else 0
    if len(x) != len(labels) or classes < 2 or len(np.unique(labels)) != classes:
        raise DataError(
            f"{len(x)} features with {len(labels)} labels of classes "
            f"{np.unique(labels).tolist()}; wanted one label for each, and images of "
            f"every class from 0"
        )
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.maximum(deviation, RARE * np.median(deviation))
    # A feature that never changes tells nothing, and keeps its weight of 0.
    deviation[deviation == 0] = 1.0
    x = (x - mean) / deviation
    found = minimize(
        objective,
        np.zeros(classes * (x.shape[1] + 1)),
        args=(x, np.eye(classes)[labels], l2),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS},
    )
    if not found.success:
        raise TrainingError(
            f"logistic regression: {found.message} after {found.nit} iterations; "
            f"wanted convergence (raise l2 from {l2:g})"
        )
    parameters = found.x.reshape(classes, -1)
    weight = parameters[:, :-1] / deviation
    return weight, parameters[:, -1] - weight @ mean


def objective(
    parameters: NDArray[np.float64],
    features: NDArray[np.float64],
    targets: NDArray[np.float64],
    l2: float,
) -> tuple[float, NDArray[np.float64]]:
    """What `fit_head` minimizes, and its gradient.

    Args:
        parameters: Weight and bias side by side, (classes, F + 1), flat.
        features: (N, F).
        targets: (N, classes), one-hot.
        l2: Weight of the penalty.
    """
    both = parameters.reshape(targets.shape[1], -1)
    weight, bias = both[:, :-1], both[:, -1]
    logs = log_softmax(features @ weight.T + bias, axis=1)
    loss = -(targets * logs).sum() / len(features) + l2 / 2 * (weight**2).sum()
    error = (np.exp(logs) - targets) / len(features)
    gradient = np.column_stack((error.T @ features + l2 * weight, error.sum(0)))
    return float(loss), gradient.ravel()


def save_head(path: Path, head: Head) -> None:
    """Write weight and bias as .npz."""
    np.savez(path, weight=head[0], bias=head[1])


def load_head(path: Path) -> Head:
    """Read what `save_head` wrote.

    Raises:
        DataError: it is missing or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["weight"], file["bias"]
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(
            f"{path}: not a fitted head ({error}); wanted arrays 'weight' and 'bias' "
            f"(remove it to fit one)"
        ) from error
