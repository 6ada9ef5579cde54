"""What can be done to a pixel grid without interpolation: the motions of a square.

A motion acts on arrays (..., H, W) by moving entries. In coordinates that are centred
on the grid, y = motion(x) means y[u] = x[L u] with a 2 x 2 matrix L of 0, 1 and -1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class Motion:
    """Reverse the columns if mirrored, then turn counter-clockwise.

    Attributes:
        mirrored: Whether the columns are reversed.
        turns: Quarter turns, 0 to 3.
    """

    mirrored: bool
    turns: int

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Move the last two axes (H, W)."""
        mirrored = array[..., ::-1] if self.mirrored else array
        return np.rot90(mirrored, self.turns, axes=(-2, -1))

    @property
    def inverse(self) -> Self:
        """The motion that undoes this one; a mirror image undoes itself."""
        return self if self.mirrored else type(self)(False, -self.turns % 4)

    @property
    def matrix(self) -> NDArray[np.int64]:
        """L, (2, 2), rows and columns in the order (row, column)."""
        # Read off at the four neighbours of the centre of a 3 x 3 grid.
        rows, columns = np.indices((3, 3)) - 1
        below = (self(rows)[2, 1], self(columns)[2, 1])
        right = (self(rows)[1, 2], self(columns)[1, 2])
        return np.array([below, right]).T

    @property
    def exchanges_axes(self) -> bool:
        """Whether rows become columns, which takes a square."""
        return self.turns % 2 == 1

    def __str__(self) -> str:
        """In words."""
        if not self.mirrored:
            return f"turned by {90 * self.turns} degrees"
        if self.turns == 0:
            return "mirrored left to right"
        if self.turns == 2:
            return "mirrored top to bottom"
        which = "a" if self.turns == 1 else "the other"
        return f"mirrored in {which} diagonal"


QUARTER_TURN = Motion(False, 1)

CHECKED = (QUARTER_TURN, Motion(False, 2), *(Motion(True, k) for k in range(4)))
"""One motion of each pair of inverses, without the identity."""


def group_name(motions: Collection[Motion]) -> str:
    """Name of the group that some of `CHECKED` form: C1, C2, C4, D1, D2 or D4."""
    rotations = 1
    if QUARTER_TURN in motions:
        rotations = 4
    elif Motion(False, 2) in motions:
        rotations = 2
    letter = "D" if any(motion.mirrored for motion in motions) else "C"
    return f"{letter}{rotations}"
