"""How often a runner is right, and how often two runners say the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import Patches
from mobileq.data.prefetch import prefetch
from mobileq.data.scores import Scores, score
from mobileq.data.transforms import read_cropped
from mobileq.errors import DataError, GraphError
from mobileq.quant.affine import Affine
from mobileq.verify.runner import Runner

BATCH = 64
"""Images that are run in one call; as many again are read meanwhile."""

Progress = Callable[[int, int], None]
"""Called with the images done and all of them, after each batch."""


def accuracy(
    runner: Runner,
    patches: Patches,
    *,
    input_size: int | tuple[int, int],
    dequantize: Affine | None = None,
) -> Scores:
    """Accuracy, AUC and loss of a runner.

    Args:
        runner: The network.
        patches: Labelled images; the middle of each is cut out.
        input_size: Height and width that the network takes, in pixels; one number for
            a square.
        dequantize: Scale and zero point of an integer runner's logits.

    Raises:
        DataError: the images are smaller than `input_size`, or have labels for which
            there is no logit.
        GraphError: an integer runner without `dequantize`.
    """
    logits = predicted(runner, patches, input_size=input_size, dequantize=dequantize)
    return score(logits, patches.labels)


def predicted(
    runner: Runner,
    patches: Patches,
    *,
    input_size: int | tuple[int, int],
    dequantize: Affine | None = None,
    progress: Progress = lambda done, total: None,
) -> NDArray[np.float64]:
    """Logits of all patches.

    Args:
        runner: The network.
        patches: Labelled images; the middle of each is cut out.
        input_size: Height and width that the network takes, in pixels; one number for
            a square.
        dequantize: Scale and zero point of an integer runner's logits.
        progress: Told how far it is.

    Returns:
        (N, classes), in the order of the patches.

    Raises:
        DataError: as `accuracy`; a label without a logit after the first batch.
        GraphError: an integer runner without `dequantize`.
    """
    total, parts = len(patches), []
    largest = int(patches.labels.max())

    def read(start: int) -> NDArray[np.uint8]:
        rows = np.arange(start, min(start + BATCH, total))
        return read_cropped(patches, rows, input_size)

    done = 0
    with closing(prefetch(read, range(0, total, BATCH))) as batches:
        for images in batches:
            logits = real_logits(runner, images, dequantize)
            if largest >= logits.shape[1]:
                raise DataError(
                    f"{runner.name}: {logits.shape[1]} logits, but a label is "
                    f"{largest}; wanted one logit per class (use the data that the "
                    f"network was trained for)"
                )
            parts.append(logits)
            done += len(images)
            progress(done, total)
    return np.concatenate(parts)


def agreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Share of images for which two networks predict the same class.

    Args:
        first: (N, classes) logits.
        second: (N, classes) logits of the other network for the same images.
    """
    return float((first.argmax(1) == second.argmax(1)).mean())


def real_logits(
    runner: Runner, images: NDArray[np.uint8], dequantize: Affine | None
) -> NDArray[np.float64]:
    """Logits of (B, H, W, C) pixels as real numbers, (B, classes).

    Raises:
        GraphError: an integer runner without `dequantize`.
    """
    return as_real(runner, runner.outputs(images), dequantize)


def as_real(
    runner: Runner, logits: NDArray[np.generic], dequantize: Affine | None
) -> NDArray[np.float64]:
    """What a runner's logits stand for, (B, classes).

    Raises:
        GraphError: an integer runner without `dequantize`.
    """
    if not runner.integer:
        return logits.astype(np.float64)
    if dequantize is None:
        raise GraphError(
            f"{runner.name}: integer logits without scale and zero point; wanted those "
            f"of the output (the manifest of a bundle names them)"
        )
    return dequantize.dequantize(logits.astype(np.int64))
