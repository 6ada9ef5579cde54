"""What all node types share: shapes, activations, padding, and the base class."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np

from mobileq.errors import GraphError

Shape = tuple[int, ...]


class Activation(Enum):
    """What is applied to the output of a convolution, linear layer or addition."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value that it lets through."""
        return {
            Activation.NONE: (-np.inf, np.inf),
            Activation.RELU: (0.0, np.inf),
            Activation.RELU6: (0.0, 6.0),
        }[self]


@dataclass(frozen=True)
class Padding:
    """Zeros added at the four borders, in pixels."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @classmethod
    def even(cls, pixels: int) -> Padding:
        """The same on all sides."""
        return cls(pixels, pixels, pixels, pixels)

    @property
    def symmetric(self) -> bool:
        """Whether all four are equal."""
        return self.top == self.bottom == self.left == self.right

    def grid(self, height: int, width: int, window: Shape, stride: int) -> Shape:
        """Size of the output grid; floor division drops an incomplete last step.

        Args:
            height: Of the input.
            width: Of the input.
            window: (rows, columns) that a window spans, with its dilation.
            stride: In both directions.
        """
        return (
            (height + self.top + self.bottom - window[0]) // stride + 1,
            (width + self.left + self.right - window[1]) // stride + 1,
        )


NO_PADDING = Padding()


@dataclass(frozen=True, eq=False)
class Node:
    """Base of all nodes.

    Attributes:
        name: Unique in its graph; also the name of the tensor that it makes.
        inputs: Names of the tensors that it reads.
    """

    name: str
    inputs: tuple[str, ...]

    arity: ClassVar[int | None] = 1
    """Number of inputs; None for any number from 1 on."""

    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the output for the shapes of the inputs; the same by default."""
        return shapes[0]

    def _expect(self, condition: bool, found: str, wanted: str) -> None:
        """Raise unless `condition` holds.

        Raises:
            GraphError: naming this node.
        """
        if not condition:
            raise GraphError(
                f"{type(self).__name__} {self.name!r}: found {found}; wanted {wanted}"
            )
