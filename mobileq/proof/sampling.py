"""Whether a motion of the grid maps the points that an operator reads onto themselves.

That is the part of a proof which no weight can change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.motions import Motion
from mobileq.proof.program import Axis, Sample, Windows


class Asymmetric(Exception):
    """A motion cannot pass an operator; the message is a clause that says why."""


def check_grid(height: int, width: int, motion: Motion) -> None:
    """Check that a motion maps a grid onto itself.

    Raises:
        Asymmetric: it is not square.
    """
    if motion.exchanges_axes and height != width:
        raise Asymmetric(f"the grid is {height}x{width}, not square")


def check_windows(windows: Windows, motion: Motion) -> None:
    """Check that a motion maps windows onto windows.

    With C[p] the centre of the window at output p, that is C[L p] = L C[p].

    Raises:
        Asymmetric: it does not.
    """
    rows, columns = windows.rows, windows.columns
    check_grid(rows.size, columns.size, motion)
    check_grid(rows.count, columns.count, motion)
    if motion.exchanges_axes and rows.dilation != columns.dilation:
        raise Asymmetric(f"dilation is {rows.dilation}x{columns.dilation}")
    if motion.exchanges_axes and rows.kernel != columns.kernel:
        raise Asymmetric(f"the window is {rows.kernel}x{columns.kernel}")
    axes = (rows, columns)
    for axis, line in zip(axes, motion.matrix, strict=True):
        # Each coordinate of L p is one of p, or its negative: the other way round.
        (other,) = np.flatnonzero(line)
        sign = int(line[other])
        if not np.array_equal(axis.centres[::sign], sign * axes[other].centres):
            raise Asymmetric(
                f"its windows are not sampled symmetrically: {_sides(rows)} above and "
                f"below, {_sides(columns)} left and right (stride {rows.stride} on "
                f"{rows.size}x{columns.size} points, padding {rows.before} at the top "
                f"and {columns.before} at the left)"
            )


def _sides(axis: Axis) -> str:
    """How far the first and the last window reach beyond the grid, both ways."""
    last = (axis.count - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
    return f"{axis.before} and {last - axis.before - axis.size}"


def check_sample(operator: Sample, height: int, width: int, motion: Motion) -> None:
    """Check that copied rows and columns are copied from where they are moved to.

    Args:
        operator: Copies places.
        height: Of its input.
        width: Of its input.
        motion: One that passed its input.

    Raises:
        Asymmetric: a place of the result would be a copy of another one.
    """
    check_grid(height, width, motion)
    check_grid(len(operator.rows), len(operator.columns), motion)
    places = np.arange(height * width).reshape(height, width)
    copied = np.ix_(operator.rows, operator.columns)
    if not np.array_equal(motion(places)[copied], motion(places[copied])):
        raise Asymmetric(
            f"it copies rows {_listed(operator.rows)} and columns "
            f"{_listed(operator.columns)} of {height}x{width} points, which do not lie "
            f"symmetrically"
        )


def _listed(indices: NDArray[np.int64]) -> str:
    """A few indices."""
    first = ", ".join(str(index) for index in indices[:4])
    return f"{first}, ..." if len(indices) > 4 else first
