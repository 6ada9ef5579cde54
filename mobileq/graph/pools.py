"""Node types without weights that reduce, mask or copy the grid or the channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.arrays import frozen
from mobileq.graph.base import NO_PADDING, Node, Padding, Shape

MOST_PADDING = 4096
"""Copies of one border pixel; more than any network has."""


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
class SoftMask(Node):
    """Multiply every channel by one map of weights.

    Attributes:
        mask: (H, W) float64, 0 to 1.
    """

    mask: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Freeze and check.

        Raises:
            GraphError: a weight is below 0, above 1 or not a number.
        """
        object.__setattr__(self, "mask", frozen(self.mask))
        inside = bool(((self.mask >= 0) & (self.mask <= 1)).all())
        self._expect(inside, "other weights", "0 to 1")

    def output_shape(self, *shapes: Shape) -> Shape:
        """Same as the input."""
        wanted = f"(C, {self.mask.shape[0]}, {self.mask.shape[1]})"
        self._expect(shapes[0][1:] == self.mask.shape, f"input {shapes[0]}", wanted)
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Copies(Node, ABC):
    """Base of the nodes whose every pixel is a copy of one of the input's."""

    @abstractmethod
    def sources(
        self, height: int, width: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(H',) row and (W',) column that those of the output are copies of."""


@dataclass(frozen=True, eq=False)
class Upsample(Copies):
    """Repeat every pixel `factor` times in both directions, and the border besides.

    Attributes:
        factor: Rows and columns that each pixel becomes.
        edge: Further repetitions of the outermost pixels on all sides, 0 to `factor`.
    """

    factor: int
    edge: int = 0

    def output_shape(self, *shapes: Shape) -> Shape:
        """(C, factor * H + 2 * edge, factor * W + 2 * edge)."""
        shape = shapes[0]
        self._expect(len(shape) == 3, f"input {shape}", "(C, H, W)")
        self._expect(self.factor >= 1, f"factor {self.factor}", "1 or more")
        fits = 0 <= self.edge <= self.factor
        self._expect(fits, f"edge {self.edge}", f"0 to {self.factor}")
        return (shape[0], *(self.factor * n + 2 * self.edge for n in shape[1:]))

    def sources(
        self, height: int, width: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each `factor` times, and the border `edge` times more."""
        rows, columns = (self._repeated(size) for size in (height, width))
        return rows, columns

    def _repeated(self, size: int) -> NDArray[np.int64]:
        """Along one axis."""
        places = np.arange(-self.edge, self.factor * size + self.edge)
        return np.clip(places // self.factor, 0, size - 1)


class PadMode(Enum):
    """What lies beyond the border, as torch calls it."""

    REFLECT = "reflect"
    REPLICATE = "replicate"
    CIRCULAR = "circular"


_NUMPY_MODES: Mapping[PadMode, Literal["reflect", "edge", "wrap"]] = MappingProxyType(
    {
        PadMode.REFLECT: "reflect",
        PadMode.REPLICATE: "edge",
        PadMode.CIRCULAR: "wrap",
    }
)


@dataclass(frozen=True, eq=False)
class Pad(Copies):
    """Copies of pixels around the grid. Zeros belong to the node that reads them.

    Attributes:
        padding: How many, on each side.
        mode: Which.
    """

    padding: Padding
    mode: PadMode

    def output_shape(self, *shapes: Shape) -> Shape:
        """(C, H + top + bottom, W + left + right), by torch's rules."""
        (shape,) = shapes
        self._expect(len(shape) == 3, f"input {shape}", "(C, H, W)")
        sides = self.padding
        pairs = ((sides.top, sides.bottom), (sides.left, sides.right))
        for size, pair in zip(shape[1:], pairs, strict=True):
            # A mirror image or a repetition of the grid is no larger than the grid.
            most = {PadMode.REFLECT: size - 1, PadMode.CIRCULAR: size}.get(
                self.mode, MOST_PADDING
            )
            fits = 0 <= min(pair) <= max(pair) <= most
            wanted = f"0 to {most} pixels ({self.mode.value}, {size} points)"
            self._expect(fits, f"padding {pair}", wanted)
        return (shape[0], *(n + sum(p) for n, p in zip(shape[1:], pairs, strict=True)))

    def sources(
        self, height: int, width: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The grid's own rows and columns, with the copied ones around them."""
        sides, mode = self.padding, _NUMPY_MODES[self.mode]
        rows = np.pad(np.arange(height), (sides.top, sides.bottom), mode)
        columns = np.pad(np.arange(width), (sides.left, sides.right), mode)
        return rows, columns


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
