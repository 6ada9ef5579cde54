"""Assemble a `Program` operator by operator; what the readers of all formats share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.checks import (
    Unreadable,
    border,
    check_bias_scale,
    common_shape,
    joined_shape,
)
from mobileq.proof.elements import MOST_CHANNELS, MOST_ELEMENTS, Elements, unknown
from mobileq.proof.program import (
    POINT,
    Concat,
    Convolve,
    MaxWindow,
    Opaque,
    Operator,
    Pad,
    PerPixel,
    Pointwise,
    Sample,
    Shape,
    Windows,
)


class Builder:
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

    def add_layer(
        self,
        name: str,
        kind: str,
        above: str,
        filters: NDArray[Any],
        numbers: Mapping[str, NDArray[Any]],
        *,
        input_scale: NDArray[Any],
        groups: int = 1,
        windows: Windows = POINT,
    ) -> None:
        """Append a layer with weights.

        Args:
            name: Of its result.
            kind: As the file calls it.
            above: Name of its input.
            filters: (O, I / groups, kh, kw), the zero point taken off.
            numbers: (O,) numbers by name.
            input_scale: (1,) scale of its input.
            groups: Of input channels.
            windows: Sampling; `POINT` for a layer on a flat tensor.

        Raises:
            Unreadable: the integers of its bias are not units of its sums.
        """
        check_bias_scale(numbers, input_scale)
        shape = (len(filters), windows.rows.count, windows.columns.count)
        integers = filters.astype(np.int64)
        self.add(
            Convolve(name, kind, (above,), shape, integers, groups, windows, numbers),
            flat=windows is POINT,
        )

    def add_max_pool(self, name: str, kind: str, above: str, windows: Windows) -> None:
        """Append a maximum over windows."""
        shape = (self.shape(above)[0], windows.rows.count, windows.columns.count)
        self.add(MaxWindow(name, kind, (above,), shape, windows))

    def add_pad(
        self, name: str, kind: str, above: str, amounts: NDArray[np.integer[Any]]
    ) -> None:
        """Append a border of one constant.

        Args:
            name: Of its result.
            kind: As the file calls it.
            above: Its input.
            amounts: (4, 2) points before and after, for each axis of the format.

        Raises:
            Unreadable: the border is not one of the grid.
        """
        channels, *grid = self.shape(above)
        windows = border(grid, amounts, first=1 if self._channels_last else 2)
        shape = (channels, windows.rows.count, windows.columns.count)
        self.add(Pad(name, kind, (above,), shape, windows))

    def add_per_pixel(self, name: str, kind: str, above: str) -> None:
        """Append a function of all channels of a pixel."""
        shape, flat = self.shape(above), above in self.flat
        self.add(PerPixel(name, kind, (above,), shape), flat=flat)

    def add_sample(
        self,
        name: str,
        kind: str,
        above: str,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
    ) -> None:
        """Note a `Sample`; it is appended when something else reads it.

        Copies of copies are copies of the first tensor: rows and columns may be copied
        by one operator each, and the grid between the two need not be square.

        Raises:
            Unreadable: its input has no grid.
        """
        if above in self._copied and above not in self.shapes:
            first = self._copied[above]
            (above,) = first.inputs
            rows, columns = first.rows[rows], first.columns[columns]
        channels = self.shape(above)[0]
        if above in self.flat:
            raise Unreadable("its input has no grid")
        shape = (channels, len(rows), len(columns))
        self._copied[name] = Sample(name, kind, (above,), shape, rows, columns)

    def _spread(self, name: str, shape: Shape) -> str:
        """Name of a tensor, or of its only place at every place of a grid."""
        if self.shape(name) == shape:
            return name
        spread = f"{name} (spread)"
        while self.known(spread):
            spread += "_"
        rows, columns = (np.zeros(size, np.int64) for size in shape[1:])
        self.add_sample(spread, "spread", name, rows, columns)
        self.shape(spread)
        return spread

    def add_pointwise(
        self,
        name: str,
        kind: str,
        inputs: Sequence[str],
        constants: Mapping[str, NDArray[Any]],
    ) -> None:
        """Append a function of the values at one place.

        Args:
            name: Of its result.
            kind: As the file calls it.
            inputs: Tensors that it reads.
            constants: (C, H, W) or broadcast to it, by name.

        Raises:
            Unreadable: inputs or constants have other shapes than one, or (C, 1, 1).
        """
        shape = common_shape([self.shape(source) for source in inputs])
        inputs = [self._spread(source, shape) for source in inputs]
        for values in constants.values():
            if np.broadcast_shapes(values.shape, shape) != shape:
                raise Unreadable(f"a constant of shape {values.shape} does not fit it")
        flat = {source in self.flat for source in inputs}
        if len(flat) != 1:
            raise Unreadable("one of its inputs is flat, the other is not")
        made = Pointwise(name, kind, tuple(inputs), shape, constants)
        self.add(made, flat=True in flat)

    def add_concat(
        self, name: str, kind: str, inputs: Sequence[str], axis: int
    ) -> None:
        """Append a concatenation of channels.

        Args:
            name: Of its result.
            kind: As the file calls it.
            inputs: Tensors that it reads.
            axis: That they are joined on.

        Raises:
            Unreadable: it is not that of the channels.
        """
        shapes = [self.shape(source) for source in inputs]
        flat = {source in self.flat for source in inputs}
        last = self._channels_last or True in flat
        shape = joined_shape(shapes, axis, flat=flat, channels_last=last)
        self.add(Concat(name, kind, tuple(inputs), shape), flat=True in flat)

    def add_opaque(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str,
        shape: tuple[int, ...],
        reason: str,
        *,
        repeatable: bool = True,
    ) -> None:
        """Append an operator that breaks the proof where its input still moves.

        Args:
            kind: As the file calls it.
            inputs: What it reads; constants are left out.
            output: Tensor that it makes.
            shape: Of the output, as the file declares it. Elements that never change
                do not lie on a grid that moves, so the result is taken as flat.
            reason: A clause.
            repeatable: Whether equal inputs are known to give equal results.
        """
        running = [name for name in dict.fromkeys(inputs) if self.known(name)]
        for name in running:
            try:
                self.shape(name)
            except Unreadable:
                elements, its_kind = self._views.pop(name)
                size = unknown(elements.shape)
                source = (elements.source,)
                self.add(Opaque(name, its_kind, source, size, reason), flat=True)
        size = unknown(shape)
        made = Opaque(output, kind, tuple(running), size, reason, repeatable)
        self.add(made, flat=True)

    def _operator(self, name: str) -> Operator | None:
        """What a reshape amounts to."""
        elements, kind = self._views[name]
        return elements.operator(name, kind)
