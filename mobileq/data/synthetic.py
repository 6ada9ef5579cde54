"""Synthetic tissue with the geometry of PCam, for runs without a download.

Not a model of histology: just enough of it that the task has PCam's shape. Stained
tissue is composed in optical density, pink stroma of slowly varying thickness with dark
nuclei, and as in PCam only the central 32x32 px decide: the label is 1 exactly where
tumour-like nuclei (larger, irregular, darker, crowded) lie there. Both kinds of nuclei
are scattered over the rest of every patch, whatever its label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import ArrayPatches
from mobileq.data.transforms import STAINS
from mobileq.errors import DataError

CENTRE = 32
"""Edge of the region that decides the label, in pixels."""

_GROUP = 128  # patches drawn together; bounds memory
_MARGIN = 16  # canvas beyond the patch, so that no nucleus needs clipping

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Kind:
    """Ranges (low, high) of one kind of nucleus; lengths in pixels."""

    radius: tuple[float, float]
    elongation: tuple[float, float]
    irregularity: tuple[float, float]
    density: tuple[float, float]

    @property
    def reach(self) -> float:
        """Farthest that a nucleus extends from its middle, anti-aliasing included."""
        stretch = float(np.sqrt(self.elongation[1]))
        return self.radius[1] * stretch * (1 + 2 * self.irregularity[1]) + 1


_NORMAL = _Kind((2.0, 3.2), (1.0, 1.5), (0.0, 0.04), (0.6, 1.0))
_TUMOUR = _Kind((4.0, 5.5), (1.0, 1.4), (0.06, 0.12), (0.9, 1.4))


def synthetic_tissue(count: int, *, seed: int, size: int = 96) -> ArrayPatches:
    """Draw `count` labelled patches of synthetic H&E-stained tissue.

    Args:
        count: number of patches N; half of them (rounded down) have label 1.
        seed: the same seed, count and size give the same patches.
        size: edge of a patch in pixels, at least 64.

    Returns:
        Images of shape (N, size, size, 3), NHWC, uint8, and labels (N,), uint8.

    Raises:
        DataError: `count` is below 1, `seed` below 0 or `size` below 64.
    """
    if count < 1 or seed < 0 or size < 2 * CENTRE:
        raise DataError(
            f"synthetic_tissue: count {count}, seed {seed}, size {size}; wanted "
            f"count >= 1, seed >= 0 and size >= {2 * CENTRE}"
        )
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2).astype(np.uint8)
    images = np.empty((count, size, size, 3), np.uint8)
    for start in range(0, count, _GROUP):
        group = slice(start, start + _GROUP)
        images[group] = _draw(labels[group], size, rng)
    return ArrayPatches(images, labels)


def _draw(
    labels: NDArray[np.uint8], size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    count, middle = len(labels), size / 2
    side = size + 2 * _MARGIN
    canvas = np.zeros((count, side, side), np.float32)
    scale = (size / 96) ** 2  # of the areas
    crowd = rng.integers(8, 45, size=count) * scale
    for index in range(int(45 * scale)):
        spots = rng.uniform(-middle, middle, size=(count, 2))
        _stamp(canvas, spots, index < crowd, _NORMAL, rng)
    crowd = rng.integers(0, 14, size=count) * scale
    for index in range(int(14 * scale)):
        _stamp(canvas, _around(count, middle, rng), index < crowd, _TUMOUR, rng)
    decisive = rng.integers(3, 7, size=count) * labels
    free = CENTRE / 2 - _TUMOUR.radius[1]
    for index in range(6):
        spots = rng.uniform(-free, free, size=(count, 2))
        _stamp(canvas, spots, index < decisive, _TUMOUR, rng)
    return _stain(canvas[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN], rng)


def _around(count: int, middle: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return spots (count, 2) whose nuclei stay clear of the central region.

    Spots at distance m from the middle (the larger of both offsets) lie on a square of
    edge 2m, so a density proportional to m is uniform over the area.
    """
    nearest = CENTRE / 2 + _TUMOUR.reach
    distance = np.sqrt(rng.uniform(nearest**2, middle**2, size=count))
    across = rng.uniform(-1, 1, size=count) * distance
    along = distance * rng.choice([-1.0, 1.0], size=count)
    upright = rng.random(count) < 0.5
    return np.stack(
        [np.where(upright, across, along), np.where(upright, along, across)], axis=1
    )


def _stamp(
    canvas: Floats,
    spots: NDArray[np.float64],
    present: NDArray[np.bool_],
    kind: _Kind,
    rng: np.random.Generator,
) -> None:
    """Draw at most one nucleus into each canvas; `spots` count from its middle."""
    count = len(canvas)
    radius, elongation, irregularity, density = (
        rng.uniform(*span, size=(count, 1, 1)).astype(np.float32)
        for span in (kind.radius, kind.elongation, kind.irregularity, kind.density)
    )
    turn, second, third = rng.uniform(0, 2 * np.pi, (3, count, 1, 1)).astype(np.float32)
    reach = int(np.ceil(kind.reach))
    place = spots + canvas.shape[1] / 2 - 0.5
    base = np.round(place).astype(np.int64)
    steps = np.arange(-reach, reach + 1)
    rows, cols = (base[:, axis, None] + steps for axis in (0, 1))
    down = (rows - place[:, :1]).astype(np.float32)[:, :, None]
    right = (cols - place[:, 1:]).astype(np.float32)[:, None, :]
    stretch = np.sqrt(elongation)
    along = (np.cos(turn) * right + np.sin(turn) * down) / stretch
    across = (np.cos(turn) * down - np.sin(turn) * right) * stretch
    angle = np.arctan2(across, along)
    edge = 1 + irregularity * (np.cos(2 * angle + second) + np.cos(3 * angle + third))
    cover = np.clip(radius * edge - np.hypot(along, across) + 0.5, 0, 1)
    cover *= density * present[:, None, None]
    where = (np.arange(count)[:, None, None], rows[:, :, None], cols[:, None, :])
    canvas[where] = np.maximum(canvas[where], cover)


def _stain(nuclei: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn the nuclei's haematoxylin, (N, S, S), into RGB on textured stroma."""
    count, size = nuclei.shape[:2]
    eosin = 0.32 + 0.10 * _texture(count, size, 6, rng)
    eosin += 0.04 * _texture(count, size, size // 4, rng)
    chromatin = 1 + 0.15 * _texture(count, size, size // 3, rng)
    haematoxylin = 0.12 + 0.04 * _texture(count, size, 8, rng) + nuclei * chromatin
    strength = rng.uniform(0.85, 1.15, size=(2, count, 1, 1)).astype(np.float32)
    amounts = np.stack([haematoxylin * strength[0], eosin * strength[1]], axis=-1)
    density = np.clip(amounts, 0, None) @ STAINS[:2].astype(np.float32)
    light: Floats = 248 * np.exp(-density)
    light += 2 * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)


def _texture(count: int, size: int, grid: int, rng: np.random.Generator) -> Floats:
    """Return smooth noise (count, size, size): a random grid, interpolated."""
    knots = rng.standard_normal((count, grid + 1, grid + 1), dtype=np.float32)
    place = np.linspace(0, grid, size, endpoint=False, dtype=np.float32)
    tent = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(grid + 1)))
    weights = tent.astype(np.float32)
    smooth: Floats = weights @ knots @ weights.T
    return smooth
