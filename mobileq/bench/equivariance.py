"""What turning the image does to the logits.

Quarter turns and mirror images only move pixels, so there the question is exact: how
many outputs change in any bit? At other angles the image must be resampled, and the
error is

    |f(R x) - f(x)|_2 / |f(x)|_2,

over real (dequantized) logits f, for images x inside the network's circular mask.
Resampling contributes to it. The multiples of 90 degrees go through the same code and
show what is left without any interpolation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.accuracy import BATCH, as_real, real_logits
from mobileq.errors import InputError
from mobileq.models.masks import circular_mask
from mobileq.quant.affine import Affine
from mobileq.verify.runner import Runner

ANGLES = tuple(range(15, 360, 15))
"""Degrees, counter-clockwise."""

OUTSIDE = 128
"""Grey level outside the disc: real 0 for pixels normalized to (pixel - 128) / 128."""

_FLOOR = 1e-3
"""Logits shorter than this share of the mean length count as that long, so that an
image with logits of almost zero does not decide the figure alone."""

Motion = tuple[int, bool]
"""Quarter turns counter-clockwise, and whether the columns are reversed before."""

ROTATIONS: tuple[Motion, ...] = ((1, False), (2, False), (3, False))
MIRRORS: tuple[Motion, ...] = ((0, True), (1, True), (2, True), (3, True))


@dataclass(frozen=True)
class ExactSymmetry:
    """Outputs of moved images against those of the images as they are.

    Attributes:
        compared: Moved images: images times motions.
        changed: How many of their outputs differ in any bit.
        max_relative: Largest |f(g x) - f(x)|_2 / |f(x)|_2.
        changed_predictions: How many of them are put into another class.
    """

    compared: int
    changed: int
    max_relative: float
    changed_predictions: int


@dataclass(frozen=True)
class AngleError:
    """Error at one angle.

    Attributes:
        degrees: Angle, counter-clockwise.
        mean: Mean over the images of the relative error.
        max: Largest one.
        changed_predictions: Share of images that are put into another class, 0 to 1.
    """

    degrees: float
    mean: float
    max: float
    changed_predictions: float

    @property
    def on_grid(self) -> bool:
        """Whether the turn maps pixels to pixels, so that nothing is interpolated."""
        return self.degrees % 90 == 0


def exact_symmetry(
    runner: Runner,
    images: NDArray[np.uint8],
    motions: Sequence[Motion] = ROTATIONS,
    *,
    dequantize: Affine | None = None,
) -> ExactSymmetry:
    """Compare outputs, bit for bit, between images and moved images.

    Args:
        runner: The network.
        images: (N, S, S, C) pixels.
        motions: `ROTATIONS`, `MIRRORS`, or others.
        dequantize: Scale and zero point of an integer runner's logits.

    Raises:
        InputError: the images are not square, or there are none.
        GraphError: an integer runner without `dequantize`.
    """
    _check(images)
    plain = _raw(runner, images)
    real = as_real(runner, plain, dequantize)
    changed, turned_over, errors = 0, 0, [0.0]
    for motion in motions:
        found = _raw(runner, moved(images, motion))
        changed += int((_bits(found) != _bits(plain)).any(axis=1).sum())
        found_real = as_real(runner, found, dequantize)
        turned_over += int((found_real.argmax(1) != real.argmax(1)).sum())
        errors.append(float(_relative(found_real, real).max()))
    return ExactSymmetry(len(images) * len(motions), changed, max(errors), turned_over)


def angle_errors(
    runner: Runner,
    images: NDArray[np.uint8],
    angles: Sequence[float] = ANGLES,
    *,
    dequantize: Affine | None = None,
) -> tuple[AngleError, ...]:
    """The error at each angle.

    Args:
        runner: The network.
        images: (N, S, S, C) pixels.
        angles: Degrees, counter-clockwise.
        dequantize: Scale and zero point of an integer runner's logits.

    Raises:
        InputError: the images are not square, or there are none.
        GraphError: an integer runner without `dequantize`.
    """
    _check(images)
    real = np.concatenate(
        [real_logits(runner, turned(x, 0), dequantize) for x in _batches(images)]
    )
    results = []
    for angle in angles:
        found = np.concatenate(
            [
                real_logits(runner, turned(x, angle), dequantize)
                for x in _batches(images)
            ]
        )
        errors = _relative(found, real)
        other = (found.argmax(1) != real.argmax(1)).mean()
        results.append(
            AngleError(angle, float(errors.mean()), float(errors.max()), float(other))
        )
    return tuple(results)


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


def _check(images: NDArray[np.uint8]) -> None:
    """Check that there are images, and square ones.

    Raises:
        InputError: they are not.
    """
    if len(images) == 0 or images.shape[1] != images.shape[2] or images.shape[1] < 2:
        raise InputError(
            f"symmetry: images have shape {images.shape}; wanted (N, S, S, C) with at "
            f"least one image of 2 x 2 pixels or more"
        )


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """A bounded number of images at a time."""
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def _raw(runner: Runner, images: NDArray[np.uint8]) -> NDArray[np.generic]:
    """Outputs as the runner gives them, (N, F)."""
    return np.concatenate([runner.outputs(batch) for batch in _batches(images)])


def _bits(logits: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Bytes of each image's logits, (N, F * itemsize): -0.0 is not 0.0 here."""
    rows = np.ascontiguousarray(logits)
    return rows.view(np.uint8).reshape(len(rows), -1)


def _relative(
    found: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Relative error of each image's logits, (N,)."""
    lengths = np.linalg.norm(wanted, axis=1)
    floor = max(_FLOOR * float(lengths.mean()), float(np.finfo(np.float64).tiny))
    difference = np.linalg.norm(found - wanted, axis=1)
    return np.asarray(difference / np.maximum(lengths, floor))
