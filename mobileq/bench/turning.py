"""Turning and mirroring: images of pixels, and feature maps.

At multiples of 90 degrees pixels only change places. At other angles what is between
them is interpolated, bilinearly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import InputError
from mobileq.models.masks import circular_mask

OUTSIDE = 128
"""Grey level outside the disc: real 0 for pixels normalized to (pixel - 128) / 128."""

Motion = tuple[int, bool]
"""Quarter turns counter-clockwise, and whether the columns are reversed before."""


def check_square(images: NDArray[np.uint8]) -> None:
    """Check that there are images, and square ones.

    Raises:
        InputError: they are not.
    """
    if len(images) == 0 or images.shape[1] != images.shape[2] or images.shape[1] < 2:
        raise InputError(
            f"images to turn: shape {images.shape}; wanted (N, S, S, C) with at "
            f"least one image of 2 x 2 pixels or more"
        )


def moved(images: NDArray[np.uint8], motion: Motion) -> NDArray[np.uint8]:
    """Turn and mirror (N, S, S, C) without resampling."""
    turns, mirrored = motion
    flipped = images[:, :, ::-1] if mirrored else images
    return np.ascontiguousarray(np.rot90(flipped, turns, axes=(1, 2)))


def turned(images: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Turn images about their centre, and grey out what is outside the disc.

    Bilinear interpolation between the four nearest pixels; beyond the border the
    border's pixels go on. Results are rounded to whole grey levels, since that is all
    that a network is given.

    Args:
        images: (N, S, S, C).
        degrees: Counter-clockwise.

    Returns:
        (N, S, S, C) uint8.
    """
    count, size, _, channels = images.shape
    indices, weights = _bilinear(size, degrees)
    flat = images.reshape(count, size * size, channels)
    mixed = np.zeros(flat.shape, np.float32)
    for index, weight in zip(indices, weights, strict=True):
        mixed += flat[:, index] * weight[:, None]
    # Rounding first removes the last bits by which a turn of 90 degrees is inexact.
    pixels = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    pixels[:, circular_mask(size).ravel() == 0] = OUTSIDE
    return pixels.reshape(images.shape)


def turned_features(
    features: NDArray[np.floating[Any]], degrees: float
) -> NDArray[np.float64]:
    """Turn feature maps about the centre of their grid.

    Args:
        features: (B, C, S, S); only what is inside the disc is of use afterwards.
        degrees: Counter-clockwise.

    Returns:
        (B, C, S, S), bilinearly interpolated.
    """
    size = features.shape[-1]
    if size == 1:
        return features.astype(np.float64)
    indices, weights = _bilinear(size, degrees)
    flat = features.reshape(*features.shape[:2], size * size)
    mixed = np.zeros(flat.shape)
    for index, weight in zip(indices, weights, strict=True):
        mixed += flat[..., index] * weight
    return mixed.reshape(features.shape)


def _bilinear(
    size: int, degrees: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where each pixel of a turned square comes from.

    Returns:
        (4, S * S) flat indices of the four nearest pixels, and their weights.
    """
    angle, centre = np.deg2rad(degrees), (size - 1) / 2
    row, column = np.indices((size, size)).reshape(2, -1)
    right, up = column - centre, centre - row
    # What turns up at a point comes from the point turned back.
    from_right = np.cos(angle) * right + np.sin(angle) * up
    from_up = np.cos(angle) * up - np.sin(angle) * right
    y = np.clip(centre - from_up, 0, size - 1)
    x = np.clip(centre + from_right, 0, size - 1)
    top = np.minimum(y.astype(np.int64), size - 2)
    left = np.minimum(x.astype(np.int64), size - 2)
    down, along = y - top, x - left
    first = top * size + left
    indices = np.stack([first, first + 1, first + size, first + size + 1])
    weights = np.stack(
        [
            (1 - down) * (1 - along),
            (1 - down) * along,
            down * (1 - along),
            down * along,
        ]
    )
    return indices, weights.astype(np.float32)
