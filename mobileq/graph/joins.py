"""Node types that join two or more tensors, besides Add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mobileq.graph.base import Node, Shape


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Channels of all inputs, one input after the other."""

    arity: ClassVar[int | None] = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """(sum of C, H, W), or (sum of F,)."""
        grids = {shape[1:] for shape in shapes}
        self._expect(len(grids) == 1, f"grids {sorted(grids)}", "one and the same")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


@dataclass(frozen=True, eq=False)
class Mul(Node):
    """Product of two tensors; the second may be a gate (C, 1, 1), one per channel."""

    arity: ClassVar[int | None] = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """That of the first input."""
        first, second = shapes
        gate = (first[0], *[1] * (len(first) - 1))
        self._expect(
            second in (first, gate), f"{first} * {second}", f"{first} or {gate}"
        )
        return first
