"""What an integer file computes, as far as symmetry is concerned.

    Source      the pixels
    Convolve    convolutions and fully connected layers, with their integers
    Pointwise   anything done to each value by itself: sums of tensors, masks, rounding
    MaxWindow   maximum over windows of the grid
    Pad         a constant border
    Sample      copied places of the grid: repeated pixels, borders, a value spread out
    PerPixel    a function of all channels of a pixel, such as a softmax
    Regroup     maximum over channels of a pixel, or a new order of all elements
    Concat      channels of several tensors
    Opaque      anything else; it is proven only behind the last change

A reader makes a `Program` from a file and from nothing else. Tensors are (C, H, W); a
flat one is (F, 1, 1). An operator makes one tensor and is known by that tensor's name.
Numbers that are the same for a whole tensor, such as its scale, treat all pixels and
channels alike and do not appear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Axis:
    """How windows lie along the rows or along the columns.

    Attributes:
        size: Points of the input.
        count: Points of the output, which is the number of windows.
        kernel: Points of a window.
        stride: From one window to the next.
        dilation: From one point of a window to the next.
        before: Points of padding before the first one of the input.
    """

    size: int
    count: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0

    @property
    def centres(self) -> NDArray[np.int64]:
        """(count,) centre of each window in half points from the grid's centre."""
        span = (self.kernel - 1) * self.dilation + 1
        starts = np.arange(self.count) * self.stride - self.before
        return 2 * starts + span - self.size


@dataclass(frozen=True)
class Windows:
    """How windows lie on the grid."""

    rows: Axis
    columns: Axis


POINT = Windows(Axis(1, 1, 1), Axis(1, 1, 1))
"""Of a layer on a flat tensor."""


@dataclass(frozen=True, eq=False)
class Operator:
    """Base of all operators.

    Attributes:
        name: Of the tensor that it makes, as in the file.
        kind: As the file calls it, such as CONV_2D.
        inputs: Names of the tensors that it reads; constants are not among them.
        shape: (C, H, W) of the result.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Source(Operator):
    """The pixels, one channel per colour; a turn moves them and keeps colours."""


@dataclass(frozen=True, eq=False)
class Convolve(Operator):
    """Sums of products, exact in integers.

    Attributes:
        weight: (O, I / groups, kh, kw) int64, the weight zero point taken off.
        groups: Of input channels; each output reads one group.
        windows: Sampling; padding stands for real 0.
        per_channel: (O,) numbers by name: bias, scales, zero points.
    """

    weight: NDArray[np.int64]
    groups: int
    windows: Windows
    per_channel: Mapping[str, NDArray[Any]]

    @property
    def largest_sum(self) -> int:
        """Bound of every partial sum, whatever the input and the order.

        8-bit values less their zero point are at most 255, and kernels that fold the
        zero point into the bias go up to 256 on the way.
        """
        sizes = np.abs(self.weight).reshape(len(self.weight), -1).sum(axis=1)
        bias = np.abs(self.per_channel.get("bias", np.zeros(1, np.int64)))
        return int((256 * sizes + bias).max(initial=0))


@dataclass(frozen=True, eq=False)
class Pointwise(Operator):
    """One function of the values at the same place of all inputs and constants.

    Attributes:
        constants: (1 or C, 1 or H, 1 or W) numbers by name: masks, bounds.
    """

    constants: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class MaxWindow(Operator):
    """Maximum over windows; padding never wins."""

    windows: Windows


@dataclass(frozen=True, eq=False)
class Pad(Operator):
    """A border of one constant; its windows have one point and may lie outside."""

    windows: Windows


@dataclass(frozen=True, eq=False)
class Sample(Operator):
    """Each place of the result is a copy of one of the input, channel by channel.

    Attributes:
        rows: (H',) row that each row is copied from.
        columns: (W',) column that each column is copied from.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PerPixel(Operator):
    """One function of all channels of a pixel, the same at every pixel.

    What it does with them is not known, so the channels must stay as they are.
    """


@dataclass(frozen=True, eq=False)
class Regroup(Operator):
    """Each output channel is the maximum of some members, or the only one.

    Attributes:
        members: (O, n) indices: of input channels, taken at each pixel by itself; or,
            if flat, of elements of the whole input in (C, H, W) order.
        flat: Which of the two.
    """

    members: NDArray[np.int64]
    flat: bool


@dataclass(frozen=True, eq=False)
class Concat(Operator):
    """Channels of all inputs, one input after the other."""


@dataclass(frozen=True, eq=False)
class Opaque(Operator):
    """An operator of which nothing is known but that equal inputs give equal results.

    That is enough where a motion leaves all its inputs as they are, as it does behind
    the pools over grid and orbit. Elsewhere it breaks the proof.

    Attributes:
        reason: Why it is not one of the others, as a clause.
        repeatable: Whether even that much is known. Random numbers, variables, custom
            operators and bodies that read more than their inputs break every proof.
    """

    reason: str
    repeatable: bool = True


@dataclass(frozen=True, eq=False)
class Program:
    """A file's content.

    Attributes:
        format: `TFLite` or `ONNX`.
        operators: In the order of the file; the first one is the `Source`.
        output: Name of the output tensor.
        assumptions: What else must hold for a proof about this file, in sentences.
    """

    format: str
    operators: tuple[Operator, ...]
    output: str
    assumptions: tuple[str, ...] = ()
