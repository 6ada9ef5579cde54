"""Assemble a `Program` operator by operator; what the readers of all formats share."""

from __future__ import annotations

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
from mobileq.proof.elements import unknown
from mobileq.proof.program import (
    POINT,
    Concat,
    Convolve,
    MaxWindow,
    Opaque,
    Pad,
    PerPixel,
    Pointwise,
    Sample,
    Shape,
    Windows,
)
from mobileq.proof.tensors import Tensors


class Builder(Tensors):
    """Appends one operator after the other, with what each has to hold."""

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
