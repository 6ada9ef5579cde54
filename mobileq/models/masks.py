"""Circular masks, computed in integers.

A float radius decides pixels at the edge of the circle by rounding, and differently for
a pixel and its turned copy. Here everything is an integer: the mask has every symmetry
of the square, bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def circular_mask(size: int) -> NDArray[np.uint8]:
    """Disc that touches the borders of a square grid.

    Pixel (i, j) belongs to it if its centre is less than size / 2 from the grid's
    centre, that is if (2i - size + 1)^2 + (2j - size + 1)^2 < size^2.

    Args:
        size: Height and width in pixels.

    Returns:
        (size, size) uint8 of zeros and ones.
    """
    doubled = 2 * np.arange(size, dtype=np.int64) - (size - 1)
    squared = doubled * doubled
    inside = squared[:, None] + squared[None, :] < size * size
    return np.asarray(inside, np.uint8)
