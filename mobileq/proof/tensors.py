"""The operators of a `Program` so far, and what is known of the tensors they make."""

from __future__ import annotations

import math

from mobileq.proof.checks import (
    Unreadable,
)
from mobileq.proof.elements import MOST_CHANNELS, MOST_ELEMENTS, Elements
from mobileq.proof.program import (
    Operator,
    Sample,
    Shape,
)


class Tensors:
    """The operators so far, and the tensors that depend on the image.

    Args:
        channels_last: Whether the format keeps (1, H, W, C), else (1, C, H, W).

    Attributes:
        operators: In order.
        shapes: (C, H, W) by name of each tensor that an operator makes.
        flat: Names of those that the format has as (1, F).
    """

    def __init__(self, *, channels_last: bool) -> None:
        self.operators: list[Operator] = []
        self.shapes: dict[str, Shape] = {}
        self.flat: set[str] = set()
        self._channels_last = channels_last
        self._views: dict[str, tuple[Elements, str]] = {}
        self._flattened: dict[str, str] = {}
        self._copied: dict[str, Sample] = {}

    def add(self, operator: Operator, *, flat: bool = False) -> None:
        """Append an operator.

        Raises:
            Unreadable: its result is too large to be compared.
        """
        large = math.prod(operator.shape) > MOST_ELEMENTS
        if large or operator.shape[0] > MOST_CHANNELS:
            raise Unreadable(
                f"its result of shape {operator.shape} is too large; wanted at most "
                f"{MOST_CHANNELS} channels and {MOST_ELEMENTS} elements"
            )
        self.operators.append(operator)
        self.shapes[operator.name] = operator.shape
        if flat:
            self.flat.add(operator.name)

    def add_view(self, name: str, kind: str, elements: Elements) -> None:
        """Note a reshape; it becomes an operator when something else reads it."""
        self._views[name] = (elements, kind)

    def known(self, name: str) -> bool:
        """Whether a tensor depends on the image."""
        return name in self.shapes or name in self._views or name in self._copied

    def mixed(self, name: str) -> bool:
        """Whether a tensor is a reshape that no operator stands for."""
        return name in self._views and self._operator(name) is None

    def shape(self, name: str) -> Shape:
        """(C, H, W) of a tensor, whose operator is appended if it waits to be.

        Raises:
            Unreadable: it does not depend on the image, or is a mixed reshape.
        """
        if name in self._views and name not in self.shapes:
            operator = self._operator(name)
            if operator is None:
                raise Unreadable("it reads a reshape that mixes pixels and channels")
            self.add(operator, flat=len(self._views[name][0].shape) == 2)
        if name in self._copied and name not in self.shapes:
            self.add(self._copied[name])
        if name not in self.shapes:
            raise Unreadable(f"its input {name!r} does not depend on the image")
        return self.shapes[name]

    def grid(self, name: str) -> tuple[int, int]:
        """(H, W) of a tensor; a `Sample` waits on.

        Raises:
            Unreadable: as `shape` says.
        """
        waits = name in self._copied and name not in self.shapes
        shape = self._copied[name].shape if waits else self.shape(name)
        return shape[1:]

    def elements(self, name: str) -> Elements:
        """The elements of a tensor in the order of the format.

        Raises:
            Unreadable: it does not depend on the image.
        """
        if name in self._views:
            return self._views[name][0]
        shape = self.shape(name)
        return Elements.of(
            name, shape, flat=name in self.flat, channels_last=self._channels_last
        )

    def own_elements(self, name: str) -> Elements:
        """The elements of a tensor that an operator stands for, counted from itself.

        Raises:
            Unreadable: it does not depend on the image, or is a mixed reshape.
        """
        return Elements.of(
            name,
            self.shape(name),
            flat=name in self.flat,
            channels_last=self._channels_last,
        )

    def flattened(self, name: str, kind: str) -> str:
        """Name of the same tensor as (1, F); an operator makes it if need be."""
        shape = self.shape(name)
        if name in self.flat:
            return name
        if name not in self._flattened:
            result = f"{name} (flat)"
            while self.known(result):
                result += "_"
            elements = self.elements(name).reshaped((1, math.prod(shape)))
            self.add_view(result, kind, elements)
            self.shape(result)
            self._flattened[name] = result
        return self._flattened[name]

    def _operator(self, name: str) -> Operator | None:
        """What a reshape amounts to."""
        elements, kind = self._views[name]
        return elements.operator(name, kind)
