"""Images of smooth noise, for networks that know no statistics and have no images.

Grains of 2, 4, 8 ... pixels have equal weight, which is about the 1 / f spectrum of
photographs. `synthesise.py` starts its search from them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.graph import Graph
from mobileq.quant.pixels import to_pixels
from mobileq.quant.ranges import pixel_range

_COARSEST = 32
"""Largest grain in pixels."""

_SHARPNESS = -0.75
"""Parameter of the cubic that interpolates between grains, as in torch and OpenCV."""


def smooth_images(graph: Graph, *, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images of smooth noise as pixels.

    Args:
        graph: Whose input they fit.
        count: Number of images N.
        seed: Decides everything.

    Returns:
        (N, H, W, C) uint8.
    """
    rng = np.random.default_rng(seed)
    return to_pixels(graph, smooth_noise(graph, count, rng))


def smooth_noise(
    graph: Graph, count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random images (B, C, H, W) of real values with grains of all sizes.

    Each image has its own colour and contrast.

    Args:
        graph: Whose input they fit.
        count: Number of images B.
        rng: Decides everything.
    """
    channels, height, width = graph.input.shape
    grains = [2**k for k in range(1, 6) if 2**k <= min(_COARSEST, height, width)]
    total = np.zeros((count, channels, height, width))
    for grain in grains or [1]:
        shape = (count, channels, -(-height // grain) + 1, -(-width // grain) + 1)
        noise = rng.normal(size=shape)
        # The same pattern in all colours, for the most part.
        noise = 0.8 * noise[:, :1] + 0.6 * noise
        total += _stretch(shape[2], height) @ noise @ _stretch(shape[3], width).T
    total /= total.std()
    colour = rng.normal(size=(count, channels, 1, 1))
    contrast = rng.uniform(0.5, 1.5, (count, 1, 1, 1))
    limits = pixel_range(graph.input)
    middle, half = (limits.high + limits.low) / 2, (limits.high - limits.low) / 2
    images = middle + half * (0.25 * colour + 0.3 * contrast * total)
    return images.clip(limits.low, limits.high).astype(np.float32)


def _stretch(size: int, wanted: int) -> NDArray[np.float64]:
    """(wanted, size) matrix that interpolates with cubics; edges are repeated."""
    centre = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    first = np.floor(centre).astype(np.int64)
    matrix = np.zeros((wanted, size))
    for tap in range(-1, 3):
        weight = _cubic(np.abs(centre - first - tap))
        columns = (first + tap).clip(0, size - 1)
        np.add.at(matrix, (np.arange(wanted), columns), weight)
    return matrix


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a sample at a distance of 0 to 2."""
    near = (_SHARPNESS + 2) * x**3 - (_SHARPNESS + 3) * x**2 + 1
    far = _SHARPNESS * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
