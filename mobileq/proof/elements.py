"""Reshapes: which elements of which tensor lie where.

Formats have no operator for a maximum over blocks of channels. Writers reshape, take a
windowed maximum on the new axes, and reshape back. `Elements` follows the single
elements through that, and recognizes a regrouping of channels, or of all elements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.program import Operator, Regroup, Shape

MOST_ELEMENTS = 2**24
"""Of one tensor. A damaged file may declare any number."""

MOST_CHANNELS = 2**18
"""Of one tensor; a flat one has a channel for each of its elements."""

MOST_UNKNOWN = 2**16
"""Elements of an opaque result that are told apart."""


def unknown(shape: tuple[int, ...]) -> Shape:
    """A flat result of an opaque operator; nothing hangs on its size, if it is huge."""
    return min(max(1, math.prod(shape)), MOST_UNKNOWN), 1, 1


@dataclass(frozen=True, eq=False)
class Elements:
    """A tensor whose elements are maxima of elements of another one.

    Attributes:
        source: Name of that other tensor.
        source_shape: (C, H, W).
        members: (*shape, n) indices into it, in (C, H, W) order.
        channels_last: Whether the format keeps (1, H, W, C), else (1, C, H, W).
    """

    source: str
    source_shape: Shape
    members: NDArray[np.int64]
    channels_last: bool

    @classmethod
    def of(cls, source: str, shape: Shape, *, flat: bool, channels_last: bool) -> Self:
        """All elements of a tensor in the order of the format.

        Args:
            source: Its name.
            shape: (C, H, W).
            flat: Whether the format has it as (1, F).
            channels_last: Layout of a tensor that is not flat.
        """
        every = np.arange(int(np.prod(shape))).reshape(shape)
        if flat:
            every = every.reshape(-1)
        elif channels_last:
            every = every.transpose(1, 2, 0)
        return cls(source, shape, every[None, ..., None], channels_last)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of this tensor, with the batch axis."""
        return self.members.shape[:-1]

    def reshaped(self, shape: tuple[int, ...]) -> Self:
        """The same elements in another shape.

        Raises:
            ValueError: the sizes differ.
        """
        count = self.members.shape[-1]
        return replace(self, members=self.members.reshape(*shape, count))

    def transposed(self, order: tuple[int, ...]) -> Self:
        """The same elements with the axes in another order.

        Raises:
            ValueError: it is no order of the axes.
        """
        axes = len(self.shape)
        if sorted(order) != list(range(axes)):
            raise ValueError(f"{order} is no order of {axes} axes")
        return replace(self, members=self.members.transpose(*order, axes))

    def are_planes(self) -> bool:
        """Whether this is the whole source as (C, H * W), one row for each channel."""
        channels, height, width = self.source_shape
        if self.members.shape != (channels, height * width, 1):
            return False
        every = np.arange(channels * height * width)
        return bool((self.members.reshape(-1) == every).all())

    def pooled(self, kernel: tuple[int, int], strides: tuple[int, int]) -> Self:
        """Maximum over windows on the two axes of the grid, without padding.

        Raises:
            ValueError: the tensor has no grid, or is smaller than a window, or windows
                overlap so much that they hold too many elements.
        """
        if len(self.shape) != 4 or min(strides) < 1:
            raise ValueError(f"shape {self.shape} has no grid for strides {strides}")
        first = 1 if self.channels_last else 2
        axes: Any = (first, first + 1)
        windows = np.lib.stride_tricks.sliding_window_view(
            self.members, kernel, axis=axes
        )
        every = [slice(None)] * windows.ndim
        every[first] = slice(None, None, strides[0])
        every[first + 1] = slice(None, None, strides[1])
        chosen = windows[tuple(every)]
        if math.prod(chosen.shape) > MOST_ELEMENTS:
            raise ValueError(f"windows of {kernel} on shape {self.shape} are too many")
        return replace(self, members=chosen.reshape(*chosen.shape[:4], -1))

    def operator(self, name: str, kind: str) -> Operator | None:
        """The operator that makes this tensor from its source, if there is one.

        Args:
            name: Of the result.
            kind: For messages.
        """
        members = self.members
        if self.shape[0] != 1:
            return None
        if len(self.shape) == 2:
            flat = members[0]
            return Regroup(name, kind, (self.source,), (len(flat), 1, 1), flat, True)
        if len(self.shape) != 4:
            return None
        ordered = members[0].transpose(2, 0, 1, 3) if self.channels_last else members[0]
        channels, height, width, _ = ordered.shape
        shape = (channels, height, width)
        if shape[1:] == self.source_shape[1:]:
            channel, place = np.divmod(ordered, height * width)
            here = np.arange(height * width).reshape(height, width, 1)
            if (place == here).all() and (channel == channel[:, :1, :1]).all():
                table = channel[:, 0, 0]
                return Regroup(name, kind, (self.source,), shape, table, False)
        if shape[1:] == (1, 1):
            return Regroup(name, kind, (self.source,), shape, ordered[:, 0, 0], True)
        return None
