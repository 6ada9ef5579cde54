"""Windows and shapes of an ONNX file, and what is known of operators without a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.checks import Unreadable
from mobileq.proof.elements import MOST_ELEMENTS
from mobileq.proof.program import Axis, Windows
from mobileq_onnx.parsed import Call

ASSUMPTIONS = (
    "The runtime computes each layer between its dequantized input and its quantized "
    "result with an integer kernel, as ONNX Runtime does with its graph optimizations.",
)

SATURATING = (
    "The processor multiplies 8-bit integers without saturation. The one known "
    "exception is x86 without VNNI, where ONNX Runtime adds pairs of products in 16 "
    "bits."
)

UNSATURATED_WEIGHT = 64
"""Two products of 255 and weights up to this size fit 16 bits: 2 * 255 * 64 < 2^15."""

REASONS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("AveragePool", "GlobalAveragePool", "ReduceMean"),
        "kernels of averages do not sum exactly; wanted a convolution of equal weights",
    )
)
"""Why some well-known operators have no rule."""

FUNCTIONS = frozenset(
    {
        *("ArgMax", "ArgMin", "AveragePool", "Div", "Erf", "Exp", "Gather"),
        *("GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Log"),
        *("LogSoftmax", "LpNormalization", "Neg", "Pow", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceSum", "Shape", "Sigmoid", "Slice", "Split"),
        *("Sqrt", "Squeeze", "Sum", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where"),
    }
)
"""Operators without a rule whose results depend on their inputs and on nothing else.

Random numbers, custom operators, and those with a body, which may read any tensor, are
not among them.
"""


def windows_of(call: Call, grid: tuple[int, int], kernel: Sequence[int]) -> Windows:
    """Where windows lie, from the attributes of Conv and MaxPool."""
    attributes = call.attributes
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise Unreadable(f"it pads by rule {attributes['auto_pad']!r}; wanted numbers")
    if len(kernel) != 2 or attributes.get("ceil_mode", 0):
        raise Unreadable(f"its kernel is {tuple(kernel)}; wanted a window of two axes")
    pads = attributes.get("pads", (0, 0, 0, 0))
    strides = attributes.get("strides", (1, 1))
    dilations = attributes.get("dilations", (1, 1))
    if min(*kernel, *strides, *dilations) < 1:
        raise Unreadable(
            f"its kernel, strides and dilations are {tuple(kernel)}, {tuple(strides)} "
            f"and {tuple(dilations)}; wanted at least 1"
        )
    axes = []
    for i, (size, points) in enumerate(zip(grid, kernel, strict=True)):
        span = (points - 1) * dilations[i] + 1
        count = (size + pads[i] + pads[i + 2] - span) // strides[i] + 1
        if count < 1:
            raise Unreadable(f"its window of {span} does not fit a grid of {size}")
        axes.append(Axis(size, count, points, strides[i], dilations[i], pads[i]))
    return Windows(axes[0], axes[1])


def chw(values: NDArray[Any], *, flat: bool, on_channels: bool) -> NDArray[Any]:
    """A constant as (C, H, W): broadcasting fills axes in front."""
    if on_channels and values.ndim == 1:
        return values[:, None, None]
    if flat and (values.ndim > 2 or values.shape[:-1] not in ((), (1,))):
        raise Unreadable(f"a constant has shape {values.shape}; wanted (1, F)")
    if flat:
        return values.reshape(-1, 1, 1)
    if values.ndim > 4 or (values.ndim == 4 and values.shape[0] != 1):
        raise Unreadable(f"a constant has shape {values.shape}; wanted one image's")
    grid: NDArray[Any] = values.reshape((1,) * (4 - values.ndim) + values.shape)[0]
    return grid


def one_image(shape: list[int], batch: int) -> list[int]:
    """The shape that a reshape gives to each image of a batch.

    Args:
        shape: What it makes of all of them; 0 keeps an extent.
        batch: How many there are.

    Raises:
        Unreadable: the axis of the images does not stay.
    """
    if batch == 1:
        return shape
    if not shape or shape[0] not in (0, batch):
        raise Unreadable(f"it reshapes {batch} images to {tuple(shape)}")
    return [1, *shape[1:]]


def repeated(
    call: Call, scales: NDArray[Any], grid: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns that those of an enlarged grid are copies of.

    Args:
        call: A Resize.
        scales: Its factors, one for each axis.
        grid: (rows, columns) of its input.

    Raises:
        Unreadable: it rounds another way, or repeats no whole number of times, or too
            often.
    """
    found = call.attributes
    plain = (
        found.get("mode", b"nearest") == b"nearest"
        and found.get("coordinate_transformation_mode") == b"asymmetric"
        and found.get("nearest_mode") == b"floor"
    )
    factors = scales.ravel()
    whole = factors.shape == (4,) and (factors == np.round(factors)).all()
    if not plain or not whole or factors.min() < 1 or factors[:2].max() > 1:
        raise Unreadable("it does not repeat pixels a whole number of times")
    if max(factors[2:] * grid) > MOST_ELEMENTS:
        raise Unreadable(f"its result has more than {MOST_ELEMENTS} rows or columns")
    rows, columns = (
        np.arange(size * int(factor)) // int(factor)
        for size, factor in zip(grid, factors[2:], strict=True)
    )
    return rows, columns


def bordered(
    mode: Literal["edge", "reflect"], amounts: NDArray[Any], grid: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns that those of a grid with copied borders are copies of.

    Args:
        mode: As numpy and ONNX call it.
        amounts: (4, 2) points before and after, for each axis.
        grid: (rows, columns) of the input.

    Raises:
        Unreadable: the border is not one of the grid, or too wide.
    """
    if amounts.shape != (4, 2) or amounts[:2].any() or amounts.min() < 0:
        raise Unreadable("it pads other axes than those of the grid")
    if amounts.max() > MOST_ELEMENTS:
        raise Unreadable(f"its border is {amounts.max()} points wide")
    if mode == "reflect" and (amounts[2:] >= np.reshape(grid, (2, 1))).any():
        raise Unreadable("its border is no mirror image of the grid's")
    rows, columns = (
        np.pad(np.arange(size), (int(pair[0]), int(pair[1])), mode)
        for size, pair in zip(grid, amounts[2:], strict=True)
    )
    return rows, columns
