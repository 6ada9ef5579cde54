"""Real-looking images for the verification of a network of any input shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.data.synthetic import synthetic_tissue

_SMALLEST = 64


def verification_images(
    shape: tuple[int, ...], *, count: int = 4, seed: int = 0
) -> NDArray[np.uint8]:
    """Synthetic tissue cut to a network's input.

    Args:
        shape: (C, H, W) of the network's input; other channel counts than three repeat
            red, green and blue.
        count: Number of images.
        seed: Decides them.

    Returns:
        (count, H, W, C) uint8.
    """
    channels, height, width = shape
    size = max(height, width, _SMALLEST)
    images = synthetic_tissue(count, seed=seed, size=size).images
    top, left = (size - height) // 2, (size - width) // 2
    cut = images[:, top : top + height, left : left + width]
    return np.ascontiguousarray(cut[..., np.arange(channels) % 3])
