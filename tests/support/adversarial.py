"""Images that are meant to find an asymmetry, if there is one.

Noise and tissue hide a wrong weight among thousands of right ones. These images are
all at one end of the range, or have one pixel, line, edge or period that stands out:
sums saturate, zero points and borders decide, and one tap of a filter is seen alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.models.masks import circular_mask

SMALLEST = 5
"""Smallest grid whose circular mask leaves a pixel out."""

PERIODS = (1, 2, 3, 5)

Pattern = NDArray[np.bool_]
Image = NDArray[np.uint8]


def adversarial_images(size: int, channels: int = 3, *, seed: int = 0) -> Image:
    """All of `adversarial_by_name`, in their order.

    Returns:
        (N, size, size, channels) uint8; N is the same for all arguments.
    """
    return np.stack(list(adversarial_by_name(size, channels, seed=seed).values()))


def adversarial_by_name(
    size: int, channels: int = 3, *, seed: int = 0
) -> dict[str, Image]:
    """Flat images, checkerboards, points, lines, edges, stripes, gradients, noise.

    Args:
        size: Height and width, at least `SMALLEST`.
        channels: Of each image.
        seed: Decides the noise and the random places.

    Returns:
        (size, size, channels) uint8 by name.
    """
    assert size >= SMALLEST, f"size {size}"
    rng = np.random.default_rng(seed)
    shape = (size, size, channels)
    found = {
        "all 0": np.zeros(shape, np.uint8),
        "all 255": np.full(shape, 255, np.uint8),
    }
    for name, pattern in _patterns(size, rng).items():
        bright = np.where(pattern, 255, 0).astype(np.uint8)
        found[f"{name}, bright"] = _coloured(bright, channels)
        found[f"{name}, dark"] = _coloured(~bright, channels)
    for name, grey in _gradients(size).items():
        found[name] = _coloured(grey, channels)
    return found | _noise(size, channels, rng)


def _coloured(grey: Image, channels: int) -> Image:
    """One (size, size) plane for all channels."""
    return np.repeat(grey[:, :, None], channels, axis=2)


def _patterns(size: int, rng: np.random.Generator) -> dict[str, Pattern]:
    """(size, size) planes of two values."""
    row, column = np.indices((size, size))
    found: dict[str, Pattern] = {}
    for period in PERIODS:
        board = (row // period + column // period) % 2 == 0
        found[f"checkerboard of period {period}"] = board
    for name, (y, x) in _places(size, rng).items():
        found[f"pixel {name} ({y}, {x})"] = (row == y) & (column == x)
    for line in (0, size // 2, size - 1):
        found[f"row {line}"] = row == line
    for line in (1, size // 2 + 1, size - 1):
        found[f"column {line}"] = column == line
    found["upper half"] = row < size // 2
    found["left half"] = column <= size // 2
    found["above the diagonal"] = row < column
    for period in PERIODS[1:]:
        stripes = (row - column) // period % 2 == 0
        found[f"stripes along the diagonal, {period}"] = stripes
    found["stripes along the other diagonal"] = (row + column) // 2 % 2 == 0
    return found


def _places(size: int, rng: np.random.Generator) -> dict[str, tuple[int, int]]:
    """Pixels at which borders and masks begin and end, and some anywhere."""
    inside, outside = rims(size)
    last = size - 1
    places = {
        "in the first corner": (0, 0),
        "in the last corner": (last, last),
        "in another corner": (0, last),
        "on a border": (size // 2, 0),
        "next to a border": (1, size // 2 - 1),
        "in the centre": (size // 2, size // 2),
        "next to the centre": (size // 2, size // 2 + 1),
    }
    for name, rim in (("just inside", inside), ("just outside", outside)):
        candidates = np.argwhere(rim)
        y, x = candidates[rng.integers(len(candidates))]
        places[f"{name} the mask"] = (int(y), int(x))
    for index in range(3):
        y, x = rng.integers(size, size=2)
        places[f"anywhere, {index}"] = (int(y), int(x))
    return places


def rims(size: int) -> tuple[Pattern, Pattern]:
    """The last pixels inside of the circular mask, and the first ones outside.

    Returns:
        Two (size, size) planes.
    """
    mask = circular_mask(size).astype(bool)

    def beside(plane: Pattern) -> Pattern:
        padded = np.pad(plane, 1)
        sides = (padded[2:], padded[:-2]), (padded[:, 2:], padded[:, :-2])
        vertical, horizontal = (np.logical_or(*pair) for pair in sides)
        return np.asarray(vertical[:, 1:-1] | horizontal[1:-1])

    return mask & beside(~mask), ~mask & beside(mask)


def _gradients(size: int) -> dict[str, Image]:
    """(size, size) planes from dark to bright."""
    row, column = np.indices((size, size))
    largest = size - 1
    planes = {
        "gradient to the right": column / largest,
        "gradient downwards": row / largest,
        "gradient along the diagonal": (row + column) / (2 * largest),
        "steep gradient": (column * 37 + row * 11) % 256 / 255,
    }
    return {
        name: np.rint(255 * plane).astype(np.uint8) for name, plane in planes.items()
    }


def _noise(size: int, channels: int, rng: np.random.Generator) -> dict[str, Image]:
    """Noise everywhere, only beyond the mask, and only on its rim."""
    shape = (size, size, channels)
    inside, outside = rims(size)
    beyond = circular_mask(size) == 0
    found: dict[str, Image] = {}
    for index in range(3):
        uniform = rng.integers(0, 256, shape, dtype=np.uint8)
        found[f"uniform noise, {index}"] = uniform
        two = rng.integers(0, 2, shape, dtype=np.uint8) * np.uint8(255)
        found[f"noise of two values, {index}"] = two
        found[f"noise beyond the mask, {index}"] = uniform * beyond[:, :, None]
        rim = (inside | outside)[:, :, None]
        found[f"noise on the rim, {index}"] = np.where(rim, two, np.uint8(128))
    return found
