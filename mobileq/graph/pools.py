"""Node types without weights that reduce or mask the grid or the channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.arrays import frozen
from mobileq.graph.base import NO_PADDING, Node, Padding, Shape


@dataclass(frozen=True, eq=False)
class Mask(Node):
    """Multiply every channel by one binary mask.

    Attributes:
        mask: (H, W) uint8 of zeros and ones.
    """

    mask: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Freeze and check.

        Raises:
            GraphError: the mask is not binary.
        """
        values = np.asarray(self.mask)
        self._expect(bool(np.isin(values, (0, 1)).all()), "other values", "0 and 1")
        object.__setattr__(self, "mask", frozen(values, np.uint8))

    def output_shape(self, *shapes: Shape) -> Shape:
        """Same as the input."""
        wanted = f"(C, {self.mask.shape[0]}, {self.mask.shape[1]})"
        self._expect(shapes[0][1:] == self.mask.shape, f"input {shapes[0]}", wanted)
        return shapes[0]


@dataclass(frozen=True, eq=False)
class SpatialMean(Mask):
    """Mean over the points where the mask is one: (C, H, W) to (C, 1, 1)."""

    def output_shape(self, *shapes: Shape) -> Shape:
        """(C, 1, 1)."""
        self._expect(bool(self.mask.any()), "an empty mask", "at least one point")
        return (*super().output_shape(*shapes)[:1], 1, 1)


@dataclass(frozen=True, eq=False)
class _Pool(Node):
    """Base of the windowed pools."""

    kernel: tuple[int, int]
    stride: int
    padding: Padding = NO_PADDING

    def output_shape(self, *shapes: Shape) -> Shape:
        """(C, H', W')."""
        (shape,) = shapes
        self._expect(len(shape) == 3, f"input {shape}", "(C, H, W)")
        grid = self.padding.grid(shape[1], shape[2], self.kernel, self.stride)
        self._expect(min(grid) > 0, f"input {shape}", "one as large as the kernel")
        return (shape[0], *grid)


@dataclass(frozen=True, eq=False)
class AveragePool(_Pool):
    """Mean of each window; padded zeros count."""


@dataclass(frozen=True, eq=False)
class MaxPool(_Pool):
    """Maximum of each window; padding never wins."""


@dataclass(frozen=True, eq=False)
class OrbitMax(Node):
    """Maximum over each run of `block` neighbouring channels.

    Attributes:
        block: Channels per block.
    """

    block: int

    def output_shape(self, *shapes: Shape) -> Shape:
        """(C / block, H, W)."""
        channels = shapes[0][0]
        wanted = f"a multiple of {self.block} channels"
        self._expect(channels % self.block == 0, f"{channels} channels", wanted)
        return (channels // self.block, *shapes[0][1:])


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """(C, H, W) to (C * H * W,), in that order."""

    def output_shape(self, *shapes: Shape) -> Shape:
        """(C * H * W,)."""
        return (int(np.prod(shapes[0])),)
