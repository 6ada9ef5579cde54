"""Windows, scales and constants of a TFLite file, checked for a proof."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from mobileq.proof.checks import Unreadable
from mobileq.proof.elements import MOST_ELEMENTS
from mobileq.proof.program import Axis, Windows
from mobileq_tflite.parsed import Call, Tensor

COPIES = frozenset(
    {
        *("CONCATENATION", "GATHER", "MAXIMUM", "MAX_POOL_2D", "MINIMUM"),
        *("MIRROR_PAD", "PAD", "PADV2", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR"),
        "TRANSPOSE",
    }
)
"""Operators whose integers mean the same before and after."""

FUNCTIONS = frozenset(
    {
        *("ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CAST", "DIV"),
        *("EXP", "EXPAND_DIMS", "GATHER", "GELU", "L2_NORMALIZATION", "LOG"),
        *("LOG_SOFTMAX", "MEAN", "NEG", "PACK", "POW", "PRELU", "REDUCE_MAX"),
        *("REDUCE_MIN", "ROUND", "RSQRT", "SHAPE", "SLICE", "SPLIT"),
        *("SQRT", "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUM", "TOPK_V2"),
        "UNPACK",
    }
)
"""Operators without a rule whose results depend on their inputs and on nothing else.

Random numbers, variables and custom operators are not among them.
"""


def windows_of(call: Call, grid: tuple[int, int], kernel: tuple[int, ...]) -> Windows:
    """Where the interpreter puts windows: TensorFlow's rules for SAME and VALID."""
    options, axes = call.options, []
    if options["Padding"] not in (schema.Padding.SAME, schema.Padding.VALID):
        raise Unreadable(f"its padding is code {options['Padding']}")
    for size, points, letter in zip(grid, kernel, "HW", strict=True):
        stride = options[f"Stride{letter}"]
        dilation = options.get(f"Dilation{letter}Factor", 1)
        if min(points, stride, dilation) < 1:
            raise Unreadable(
                f"its kernel, stride and dilation are {points}, {stride} and "
                f"{dilation}; wanted at least 1"
            )
        span = (points - 1) * dilation + 1
        before, count = 0, (size - span) // stride + 1
        if options["Padding"] == schema.Padding.SAME:
            count = -(-size // stride)
            before = max((count - 1) * stride + span - size, 0) // 2
        if count < 1:
            raise Unreadable(f"its window of {span} does not fit a grid of {size}")
        axes.append(Axis(size, count, points, stride, dilation, before))
    return Windows(axes[0], axes[1])


def per_channel(tensor: Tensor, axis: int, channels: int) -> NDArray[np.float32]:
    """(channels,) scales."""
    scale = tensor.per_channel(axis, channels)
    if scale is None:
        raise Unreadable(
            f"{tensor.name!r} has {len(tensor.scale)} scales on axis {tensor.axis}; "
            f"wanted one, or {channels} on axis {axis}"
        )
    return scale


def chw(values: NDArray[Any]) -> NDArray[Any]:
    """A constant (1, H, W, C), (F,) or the like as (C, H, W)."""
    if values.ndim > 4 or (values.ndim == 4 and values.shape[0] != 1):
        raise Unreadable(f"a constant has shape {values.shape}; wanted one image's")
    # Missing axes are those in front; a flat tensor has its features last.
    grid = values.reshape((1,) * (4 - values.ndim) + values.shape)[0]
    ordered: NDArray[Any] = grid.transpose(2, 0, 1)
    return ordered


def check_integer(tensor: Tensor) -> None:
    """Check that a tensor has 8 bits and one scale."""
    if tensor.kind not in ("INT8", "UINT8"):
        raise Unreadable(
            f"tensor {tensor.name!r} is {tensor.kind}, and sums of such numbers depend "
            f"on their order; wanted 8-bit integers"
        )
    if len(tensor.scale) != 1:
        raise Unreadable(
            f"tensor {tensor.name!r} has {len(tensor.scale)} scales; wanted one"
        )
    limits = np.iinfo(tensor.kind.lower())
    zero_point = int(tensor.zero_point[0])
    if not limits.min <= zero_point <= limits.max:
        raise Unreadable(
            f"tensor {tensor.name!r} has zero point {zero_point}; wanted {limits.min} "
            f"to {limits.max}"
        )


def check_copy(tensor: Tensor, made: Tensor) -> None:
    """Check that an integer means the same in both."""
    if not tensor.means_the_same(made):
        raise Unreadable(
            f"it copies integers from {tensor.name!r} (scale {tensor.scale[0]:.9g}, "
            f"zero point {tensor.zero_point[0]}) to {made.name!r} (scale "
            f"{made.scale[0]:.9g}, zero point {made.zero_point[0]}); wanted the same"
        )


def repeated(call: Call, size: int, count: int) -> NDArray[np.int64]:
    """(count,) row that each row of an enlarged grid is a copy of.

    Raises:
        Unreadable: rows are not repeated equally often, or the rounding is another one.
    """
    options = call.options
    usual = options["HalfPixelCenters"] and not options["AlignCorners"]
    if not usual or not 0 < count <= MOST_ELEMENTS or count % size:
        raise Unreadable(
            f"it resizes {size} rows to {count}; wanted a multiple, with half pixel "
            f"centers"
        )
    return np.arange(count) // (count // size)


def mirrored(call: Call, size: int, before: int, after: int) -> NDArray[np.int64]:
    """(before + size + after,) row that each row of a mirrored border is a copy of.

    Raises:
        Unreadable: the border is wider than the grid.
    """
    # The mirror lies behind the border's pixels, or on them.
    symmetric = call.options["Mode"] == schema.MirrorPadMode.SYMMETRIC
    most = size if symmetric else size - 1
    if min(before, after) < 0 or max(before, after) > most:
        raise Unreadable("its border is no mirror image of the grid's")
    mode: Literal["symmetric", "reflect"] = "symmetric" if symmetric else "reflect"
    return np.pad(np.arange(size), (before, after), mode)
