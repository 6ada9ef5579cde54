"""Windows and shapes of an ONNX file, and what is known of operators without a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from mobileq.proof.builder import Unreadable
from mobileq.proof.program import Axis, Windows
from mobileq_onnx.parsed import Call

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
        *("ReduceMin", "ReduceSum", "Shape", "Sigmoid", "Slice", "Softmax", "Split"),
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
