"""What the builder of a program checks of numbers that a file declares."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.program import Axis, Shape, Windows

BIAS_ROUNDING = 1e-6
"""Relative: a bias scale is the product of two float32 scales, rounded."""


class Unreadable(Exception):
    """Nothing can be proven about an operator, which becomes an `Opaque` one.

    The message is a clause that says why.
    """


def check_bias_scale(
    numbers: Mapping[str, NDArray[Any]], input_scale: NDArray[Any]
) -> None:
    """Check that the integers of a bias are units of a layer's sums.

    Args:
        numbers: (O,) numbers of the layer by name.
        input_scale: (1,) scale of its input.

    Raises:
        Unreadable: they are not.
    """
    if "bias scale" not in numbers:
        return
    found = numbers["bias scale"]
    wanted = input_scale * numbers["weight scale"]
    for channel in np.flatnonzero(np.abs(found - wanted) > BIAS_ROUNDING * wanted)[:1]:
        raise Unreadable(
            f"the bias scale of channel {channel} is {found[channel]:.9g}; wanted the "
            f"product of the scales of input and weight, {wanted[channel]:.9g}"
        )


def common_shape(shapes: Collection[Shape]) -> Shape:
    """The shape of a function of values at one place, where (C, 1, 1) is spread out.

    Raises:
        Unreadable: other shapes than one, or one and its gate.
    """
    largest = max(shapes, key=lambda shape: shape[1] * shape[2], default=(0, 0, 0))
    if not set(shapes) <= {largest, (largest[0], 1, 1)} or not shapes:
        raise Unreadable(f"its inputs have shapes {sorted(set(shapes))}; wanted one")
    return largest


def joined_shape(
    shapes: Sequence[Shape], axis: int, *, flat: Collection[bool], channels_last: bool
) -> Shape:
    """The shape of tensors whose channels are joined.

    Args:
        shapes: Of the tensors.
        axis: Of the format, that they are joined on.
        flat: Which kinds there are of them: (1, F), or with a grid.
        channels_last: Whether the channels are the last axis.

    Raises:
        Unreadable: it is not the axis of the channels.
    """
    rank = 2 if True in flat else 4
    channels = rank - 1 if channels_last else 1
    grids = {shape[1:] for shape in shapes}
    if len(grids) != 1 or len(flat) != 1 or axis % rank != channels:
        raise Unreadable("it joins other axes than the channels")
    return (sum(one[0] for one in shapes), *shapes[0][1:])


def picked(places: NDArray[Any], size: int) -> NDArray[np.int64]:
    """(n,) rows or columns that an operator picks by their numbers.

    Args:
        places: As they are in the file.
        size: How many there are to pick from.

    Raises:
        Unreadable: none, no list, or some that are not there.
    """
    if places.ndim != 1 or not places.size or places.dtype.kind != "i":
        raise Unreadable("it does not pick rows or columns")
    if places.min() < 0 or places.max() >= size:
        raise Unreadable(f"it picks places beyond the {size} that there are")
    return places.astype(np.int64)


def border(
    grid: Sequence[int], amounts: NDArray[np.integer[Any]], *, first: int
) -> Windows:
    """Windows of one point that lie on a grid and on a border around it.

    Args:
        grid: (rows, columns) of the input.
        amounts: (4, 2) points before and after, for each axis of the format.
        first: Axis of the rows; that of the columns is the next one.

    Raises:
        Unreadable: the border is not one of the grid.
    """
    other = np.delete(amounts, (first, first + 1), axis=0)
    if amounts.shape != (4, 2) or other.any() or (amounts < 0).any():
        raise Unreadable("it pads other axes than those of the grid")
    rows, columns = (
        Axis(size, size + int(pair.sum()), 1, before=int(pair[0]))
        for size, pair in zip(grid, amounts[first : first + 2], strict=True)
    )
    return Windows(rows, columns)
