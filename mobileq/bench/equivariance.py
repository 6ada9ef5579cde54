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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.accuracy import BATCH, as_real, real_logits
from mobileq.bench.turning import (
    OUTSIDE,
    Motion,
    check_square,
    moved,
    turned,
    turned_features,
)
from mobileq.models.masks import circular_mask
from mobileq.quant.affine import Affine
from mobileq.verify.runner import Runner

__all__ = [
    "ANGLES",
    "MIRRORS",
    "OUTSIDE",
    "ROTATIONS",
    "AngleError",
    "ExactSymmetry",
    "Measured",
    "Motion",
    "angle_errors",
    "angle_errors_together",
    "exact_symmetry",
    "moved",
    "turned",
]

ANGLES = tuple(range(15, 360, 15))
"""Degrees, counter-clockwise."""

_FLOOR = 1e-3
"""Logits shorter than this share of the mean length count as that long, so that an
image with logits of almost zero does not decide the figure alone."""

ROTATIONS: tuple[Motion, ...] = ((1, False), (2, False), (3, False))
MIRRORS: tuple[Motion, ...] = ((0, True), (1, True), (2, True), (3, True))


@dataclass(frozen=True)
class ExactSymmetry:
    """Outputs of moved images against those of the images as they are.

    Attributes:
        compared: Moved images: images times motions.
        changed: How many of their outputs differ in any bit.
        max_relative: Largest |f(g x) - f(x)|_2 / |f(x)|_2.
        changed_predictions: How many of them are put into another class; of maps, to
            how many whole images the changed pixels add up.
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


@dataclass(frozen=True, eq=False)
class Measured:
    """A network whose logits are wanted as real numbers.

    Attributes:
        runner: The network.
        dequantize: Scale and zero point of an integer runner's logits.
    """

    runner: Runner
    dequantize: Affine | None = None

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Logits of (N, H, W, C) pixels, (N, classes).

        Raises:
            GraphError: an integer runner without `dequantize`.
        """
        return np.concatenate(
            [real_logits(self.runner, x, self.dequantize) for x in _batches(images)]
        )


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
    check_square(images)
    plain = _raw(runner, images)
    changed, turned_over, errors = 0, 0.0, [0.0]
    for motion in motions:
        found, wanted = _raw(runner, moved(images, motion)), moved_output(plain, motion)
        changed += int((_bits(found) != _bits(wanted)).any(axis=1).sum())
        real = as_real(runner, wanted, dequantize)
        found_real = as_real(runner, found, dequantize)
        turned_over += float(_other_class(found_real, real).sum())
        errors.append(float(_relative(found_real, real).max()))
    compared, other = len(images) * len(motions), round(turned_over)
    return ExactSymmetry(compared, changed, max(errors), other)


def angle_errors(
    runner: Runner,
    images: NDArray[np.uint8],
    angles: Sequence[float] = ANGLES,
    *,
    dequantize: Affine | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[AngleError, ...]:
    """The error at each angle.

    Args:
        runner: The network.
        images: (N, S, S, C) pixels.
        angles: Degrees, counter-clockwise.
        dequantize: Scale and zero point of an integer runner's logits.
        progress: Told how many angles are done, and how many there are.

    Raises:
        InputError: the images are not square, or there are none.
        GraphError: an integer runner without `dequantize`.
    """
    done = 0

    def count(_: str) -> None:
        nonlocal done
        progress(done, len(angles))
        done += 1

    (errors,) = angle_errors_together(
        [Measured(runner, dequantize)], images, angles, progress=count
    )
    return errors


def angle_errors_together(
    measured: Sequence[Measured],
    images: NDArray[np.uint8],
    angles: Sequence[float] = ANGLES,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[tuple[AngleError, ...], ...]:
    """The error of several networks at each angle; images are resampled once for all.

    Args:
        measured: Networks that take images of the same size.
        images: (N, S, S, C) pixels.
        angles: Degrees, counter-clockwise.
        progress: Told what is going on.

    Returns:
        For each network, in their order, the errors in the order of the angles.

    Raises:
        InputError: the images are not square, or there are none.
        GraphError: an integer runner without `dequantize`.
    """
    check_square(images)
    plain = turned(images, 0)
    real = [one.logits(plain) for one in measured]
    results: list[list[AngleError]] = [[] for _ in measured]
    for angle in angles:
        progress(f"turning by {angle:g} degrees")
        pixels = turned(images, angle)
        for one, still, errors in zip(measured, real, results, strict=True):
            errors.append(_angle_error(angle, one.logits(pixels), still))
    return tuple(tuple(errors) for errors in results)


def _angle_error(
    angle: float, found: NDArray[np.float64], wanted: NDArray[np.float64]
) -> AngleError:
    """Logits of turned images against those of the images.

    Args:
        angle: Degrees.
        found: (N, classes), or for every pixel (N, classes, S, S).
        wanted: Of the images as they are; a map is turned before it is compared.
    """
    if wanted.ndim == 4:
        inside = circular_mask(wanted.shape[-1]).astype(bool)
        if angle % 90:
            wanted = turned_features(wanted, angle)
        else:
            wanted = moved_output(wanted, (int(angle // 90) % 4, False))
        wanted = wanted[..., inside]
        found = found[..., inside]
    errors = _relative(found, wanted)
    other = _other_class(found, wanted).mean()
    return AngleError(angle, float(errors.mean()), float(errors.max()), float(other))


def moved_output(outputs: NDArray[Any], motion: Motion) -> NDArray[Any]:
    """What outputs become when the image is moved.

    Args:
        outputs: (N, F), which stay as they are, or (N, C, S, S), which move.
        motion: Of the image.
    """
    if outputs.ndim != 4:
        return outputs
    turns, mirrored = motion
    flipped = outputs[..., ::-1] if mirrored else outputs
    return np.ascontiguousarray(np.rot90(flipped, turns, axes=(2, 3)))


def _other_class(
    found: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) 1 for an image of another class; of a map, the share of such pixels."""
    differs = found.argmax(1) != wanted.argmax(1)
    return np.asarray(differs.reshape(len(differs), -1).mean(axis=1), np.float64)


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """A bounded number of images at a time."""
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def _raw(runner: Runner, images: NDArray[np.uint8]) -> NDArray[np.generic]:
    """Outputs as the runner gives them, (N, F) or (N, C, S, S)."""
    return np.concatenate([runner.outputs(batch) for batch in _batches(images)])


def _bits(logits: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Bytes of each image's logits, (N, F * itemsize): -0.0 is not 0.0 here."""
    rows = np.ascontiguousarray(logits)
    return rows.view(np.uint8).reshape(len(rows), -1)


def _relative(
    found: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Relative error of each image's logits, (N,)."""
    found, wanted = (values.reshape(len(values), -1) for values in (found, wanted))
    lengths = np.linalg.norm(wanted, axis=1)
    floor = max(_FLOOR * float(lengths.mean()), float(np.finfo(np.float64).tiny))
    difference = np.linalg.norm(found - wanted, axis=1)
    return np.asarray(difference / np.maximum(lengths, floor))
