"""Images that calibrate a network: raw 8-bit pixels, as the executors read.

real = (pixel - pixel_zero) * pixel_scale      as at the Input node
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import DataError
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Node

BATCH = 32
"""Most images that are computed at once; bounds memory."""


def batches(graph: Graph, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Normalize images, at most 32 at a time.

    Args:
        graph: Whose input they are.
        pixels: (N, H, W, C) uint8.

    Returns:
        (B, C, H, W) float32, in the order of `pixels`.

    Raises:
        DataError: no images, or another type or shape than the input node takes.
    """
    channels, height, width = graph.input.shape
    wanted = (height, width, channels)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != wanted or not len(pixels):
        raise DataError(
            f"calibration images: found {pixels.dtype} of shape {pixels.shape}; wanted "
            f"uint8 of shape (N, {height}, {width}, {channels}), N at least 1"
        )
    starts = range(0, len(pixels), BATCH)
    return (_real(graph, pixels[start : start + BATCH]) for start in starts)


def _real(graph: Graph, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(B, C, H, W) float32 of (B, H, W, C) pixels."""
    image = graph.input
    real = (pixels.astype(np.float32) - image.pixel_zero) * np.float32(
        image.pixel_scale
    )
    return np.ascontiguousarray(real.transpose(0, 3, 1, 2))


def to_pixels(graph: Graph, images: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Round real values (B, C, H, W) to the nearest pixels, (B, H, W, C) uint8."""
    image = graph.input
    levels = images.astype(np.float64) / image.pixel_scale + image.pixel_zero
    rounded = np.rint(levels).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(0, 2, 3, 1))


def not_finite(node: Node) -> DataError:
    """The error for a tensor that holds NaN or infinity on calibration images."""
    return DataError(
        f"{type(node).__name__} {node.name!r}: NaN or infinity on the calibration "
        f"images; wanted finite values (check the weights)"
    )
