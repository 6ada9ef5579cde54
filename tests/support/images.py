"""Random images, and what the symmetries of the square do to them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mobileq.models.spec import CONVENTIONAL, GroupName


def random_pixels(
    count: int, shape: tuple[int, int, int], seed: int
) -> NDArray[np.uint8]:
    """Random images with structure: coarse patches of grey and fine noise.

    Args:
        count: Number of images.
        shape: (C, H, W), as `random_network` returns it.
        seed: Decides everything.

    Returns:
        (count, H, W, C) uint8.
    """
    channels, height, width = shape
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, -(-height // 4), -(-width // 4), channels))
    patches = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    noise = rng.normal(0, 40, patches.shape)
    return np.clip(np.rint(patches + noise), 0, 255).astype(np.uint8)


def normalized(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """(B, H, W, C) uint8 pixels as (B, C, H, W) float32 in [-1, 1)."""
    real = (pixels.astype(np.float32) - 128) / 128
    return torch.from_numpy(np.ascontiguousarray(real.transpose(0, 3, 1, 2)))


def symmetries_of(group: str) -> tuple[tuple[int, bool], ...]:
    """Motions (quarter turns, mirrored) that leave the logits of a network alone."""
    if group == CONVENTIONAL:
        return ()
    name = GroupName.parse(group)
    step = 4 // name.exact_rotations
    flips = (False, True) if name.reflections else (False,)
    every = [(turns, flip) for turns in range(0, 4, step) for flip in flips]
    return tuple(motion for motion in every if motion != (0, False))


def moved(images: torch.Tensor, motion: tuple[int, bool]) -> torch.Tensor:
    """Mirror the columns of (B, C, H, W), then turn counter-clockwise."""
    turns, mirrored = motion
    flipped = images.flip(3) if mirrored else images
    return torch.rot90(flipped, turns, (2, 3))
