"""The node types. Tensors are NCHW without the batch axis: (C, H, W), or (F,) if flat.

    Input  Conv  BatchNorm  Linear  Add  Mul  Concat  Relu  Relu6  Cap  Curve  Mask
    SoftMask  SpatialMean  AveragePool  MaxPool  OrbitMax  Upsample  Pad  Flatten

A node makes one tensor, and the tensor has the node's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.arrays import frozen
from mobileq.graph.base import NO_PADDING, Activation, Node, Padding, Shape
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.joins import Concat, Mul
from mobileq.graph.pools import (
    AveragePool,
    Flatten,
    Mask,
    MaxPool,
    OrbitMax,
    Pad,
    PadMode,
    SoftMask,
    SpatialMean,
    Upsample,
)
from mobileq.graph.statistics import Statistics

__all__ = [
    "Activation",
    "Add",
    "AveragePool",
    "BatchNorm",
    "Cap",
    "Concat",
    "Conv",
    "Flatten",
    "Input",
    "Linear",
    "Mask",
    "MaxPool",
    "Mul",
    "Node",
    "OrbitMax",
    "Pad",
    "PadMode",
    "Padding",
    "Relu",
    "Relu6",
    "Shape",
    "SoftMask",
    "SpatialMean",
    "Upsample",
]


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The image. Real value = (pixel - pixel_zero) * pixel_scale.

    Attributes:
        shape: (C, H, W).
        fields: One trivial field per channel, or none.
        pixel_scale: Real size of one grey level.
        pixel_zero: Grey level of real 0, 0 to 255.
    """

    shape: Shape
    fields: FieldBlocks
    pixel_scale: float = 1 / 128
    pixel_zero: int = 128

    arity: ClassVar[int | None] = 0

    def output_shape(self, *shapes: Shape) -> Shape:
        """Its own shape."""
        self._expect(len(self.shape) == 3, f"shape {self.shape}", "(C, H, W)")
        return self.shape


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """Two-dimensional convolution (cross-correlation, as everywhere in deep learning).

    Attributes:
        weight: (O, I / groups, kh, kw), OIHW, float64.
        bias: (O,) float64.
        fields: Of the output channels.
        stride: In both directions.
        padding: Zeros around the input.
        groups: 1, or the number of channels for a depthwise convolution.
        activation: Applied to the result.
        statistics: Of the result before the activation, where BatchNorm told them.
        dilation: Pixels from one tap to the next, in both directions.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    fields: FieldBlocks
    stride: int = 1
    padding: Padding = NO_PADDING
    groups: int = 1
    activation: Activation = Activation.NONE
    statistics: Statistics | None = None
    dilation: int = 1

    def __post_init__(self) -> None:
        """Freeze and check shapes.

        Raises:
            GraphError: weight, bias, fields or groups do not fit together.
        """
        object.__setattr__(self, "weight", frozen(self.weight))
        object.__setattr__(self, "bias", frozen(self.bias))
        out = self.weight.shape[0]
        self._expect(self.weight.ndim == 4, f"weight {self.weight.shape}", "OIHW")
        self._expect(self.bias.shape == (out,), f"bias {self.bias.shape}", f"({out},)")
        self._expect(
            self.fields.channels == out, f"{self.fields.channels} fields", f"{out}"
        )
        self._expect(
            self.groups > 0 and out % self.groups == 0,
            f"{self.groups} groups",
            f"a divisor of {out}",
        )
        for name in ("stride", "dilation"):
            found = getattr(self, name)
            self._expect(found >= 1, f"{name} {found}", "1 or more")

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns that the taps span."""
        height, width = self.weight.shape[2:]
        return (height - 1) * self.dilation + 1, (width - 1) * self.dilation + 1

    @property
    def depthwise(self) -> bool:
        """Whether every channel is filtered alone."""
        return self.groups == self.weight.shape[0] and self.weight.shape[1] == 1

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return int(self.weight.shape[1]) * self.groups

    def output_shape(self, *shapes: Shape) -> Shape:
        """(O, H', W')."""
        (shape,) = shapes
        self._expect(
            len(shape) == 3 and shape[0] == self.in_channels,
            f"input {shape}",
            f"({self.in_channels}, H, W)",
        )
        grid = self.padding.grid(shape[1], shape[2], self.window, self.stride)
        self._expect(min(grid) > 0, f"input {shape}", "one as large as the kernel")
        return (int(self.weight.shape[0]), *grid)


@dataclass(frozen=True, eq=False)
class BatchNorm(Node):
    """scale * (x - mean) / sqrt(variance + eps) + shift, per channel.

    Attributes:
        scale: (C,) gamma.
        shift: (C,) beta.
        mean: (C,) running mean.
        variance: (C,) running variance.
        eps: Added to the variance.
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    eps: float

    def __post_init__(self) -> None:
        """Freeze and check.

        Raises:
            GraphError: shapes differ, or the variance is negative.
        """
        for name in ("scale", "shift", "mean", "variance"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
            found = getattr(self, name).shape
            self._expect(found == self.scale.shape, f"{name} {found}", "(C,) for all")
        lowest = float((self.variance + self.eps).min())
        self._expect(lowest > 0, f"variance + eps = {lowest}", "a positive one")

    def output_shape(self, *shapes: Shape) -> Shape:
        """Same as the input."""
        wanted = f"({len(self.scale)}, ...)"
        self._expect(shapes[0][0] == len(self.scale), f"input {shapes[0]}", wanted)
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """Fully connected layer on a flat tensor.

    Attributes:
        weight: (O, I) float64.
        bias: (O,) float64.
        activation: Applied to the result.
        statistics: Of the result before the activation, where known.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    activation: Activation = Activation.NONE
    statistics: Statistics | None = None

    def __post_init__(self) -> None:
        """Freeze and check shapes.

        Raises:
            GraphError: weight and bias do not fit together.
        """
        object.__setattr__(self, "weight", frozen(self.weight))
        object.__setattr__(self, "bias", frozen(self.bias))
        self._expect(self.weight.ndim == 2, f"weight {self.weight.shape}", "(O, I)")
        out = self.weight.shape[0]
        self._expect(self.bias.shape == (out,), f"bias {self.bias.shape}", f"({out},)")

    def output_shape(self, *shapes: Shape) -> Shape:
        """(O,)."""
        wanted = f"({self.weight.shape[1]},)"
        self._expect(shapes[0] == self.weight.shape[1:], f"input {shapes[0]}", wanted)
        return (int(self.weight.shape[0]),)


@dataclass(frozen=True, eq=False)
class Add(Node):
    """Sum of two tensors of the same shape, as at a residual join."""

    activation: Activation = Activation.NONE

    arity: ClassVar[int | None] = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """Same as the inputs."""
        self._expect(shapes[0] == shapes[1], f"{shapes[0]} + {shapes[1]}", "equal ones")
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Relu(Node):
    """max(x, 0)."""


@dataclass(frozen=True, eq=False)
class Relu6(Node):
    """min(max(x, 0), 6)."""


@dataclass(frozen=True, eq=False)
class Cap(Node):
    """min(x, high) with a bound of its own for each channel.

    A ReLU6 whose channels were rescaled is a ReLU and a Cap at 6 / s_i.

    Attributes:
        high: (C,) float64, positive and finite.
    """

    high: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Freeze and check.

        Raises:
            GraphError: not one bound per channel, or one is not positive and finite.
        """
        object.__setattr__(self, "high", frozen(self.high))
        self._expect(self.high.ndim == 1, f"high {self.high.shape}", "(C,)")
        legal = np.isfinite(self.high) & (self.high > 0)
        self._expect(bool(legal.all()), f"high {self.high[~legal]}", "positive bounds")

    def output_shape(self, *shapes: Shape) -> Shape:
        """Same as the input."""
        wanted = f"({len(self.high)}, ...)"
        self._expect(shapes[0][0] == len(self.high), f"input {shapes[0]}", wanted)
        return shapes[0]
