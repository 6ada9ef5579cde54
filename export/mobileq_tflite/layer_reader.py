"""Read layers of an integer TFLite file for a proof: products with stored numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.builder import Builder
from mobileq.proof.checks import Unreadable
from mobileq.proof.program import POINT, Axis, Source, Windows
from mobileq_tflite.parsed import Call, File, Tensor
from mobileq_tflite.values import (
    per_channel,
    windows_of,
)


class LayerReader:
    """Reads layers into a `Builder`.

    Args:
        file: Of which the tensors are.
    """

    def __init__(self, file: File) -> None:
        self._tensors = file.tensors
        self.builder = Builder(channels_last=True)
        _, height, width, channels = file.source.shape
        shape = (channels, height, width)
        self.builder.add(Source(file.source.name, "input", (), shape))

    def convolution(self, call: Call) -> None:
        """Weights OHWI, or (1, kh, kw, O) if depthwise."""
        above = self._name(call)
        channels, height, width = self.builder.shape(above)
        weight = self._constant(call, 1).values
        depthwise = call.kind == "DEPTHWISE_CONV_2D"
        filters = weight.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        groups, rest = divmod(channels, filters.shape[1])
        if rest or groups < 1 or len(filters) % groups:
            raise Unreadable(f"its weight {weight.shape} does not fit its input")
        windows = windows_of(call, (height, width), filters.shape[2:])
        axis = 3 if depthwise else 0
        self._layer(call, above, filters, axis=axis, groups=groups, windows=windows)

    def fully_connected(self, call: Call) -> None:
        """Weights (O, F); the interpreter flattens a grid in the order of memory."""
        weight = self._constant(call, 1).values
        if self.builder.mixed(self._name(call)):
            self._grid_sum(call, weight)
            return
        above = self.builder.flattened(self._name(call), call.kind)
        if call.options.get("WeightsFormat") or weight.shape[1:] != (
            self.builder.shape(above)[0],
        ):
            raise Unreadable(f"its weight {weight.shape} does not fit its input")
        self._layer(call, above, weight[:, :, None, None], axis=0)

    def _grid_sum(self, call: Call, weight: NDArray[Any]) -> None:
        """One weighted sum over the grid of each channel: rows of (C, H * W).

        Its result has the channels where the interpreter has the batch, so that it is
        a view until it is reshaped back.
        """
        planes = self.builder.elements(self._name(call))
        channels, height, width = planes.source_shape
        if not planes.are_planes() or weight.shape != (1, height * width):
            raise Unreadable("it reads a reshape that mixes pixels and channels")
        made, result = self._made(call), f"{self._made(call)} (grid)"
        while self.builder.known(result):
            result += "_"
        try:
            if call.options.get("WeightsFormat"):
                raise Unreadable("its weights are shuffled")
            self._layer(
                call,
                planes.source,
                np.repeat(weight.reshape(1, 1, height, width), channels, axis=0),
                axis=0,
                groups=channels,
                windows=Windows(Axis(height, 1, height), Axis(width, 1, width)),
                result=result,
            )
        except Unreadable as reason:
            # What it reads is no reshape of its own, but the grid behind it.
            self.builder.add_opaque(
                *(call.kind, [planes.source], result, (channels, 1), str(reason)),
                repeatable=True,
            )
        elements = self.builder.own_elements(result).reshaped((channels, 1))
        self.builder.add_view(made, call.kind, elements)

    def transpose(self, call: Call) -> None:
        """The same elements with the axes in another order."""
        order = tuple(int(axis) for axis in self._constant(call, 1).values.ravel())
        elements = self.builder.elements(self._name(call)).transposed(order)
        self.builder.add_view(self._made(call), call.kind, elements)

    def _layer(
        self,
        call: Call,
        above: str,
        filters: NDArray[Any],
        *,
        axis: int,
        groups: int = 1,
        windows: Windows = POINT,
        result: str | None = None,
    ) -> None:
        """Append a layer with what is known of each of its channels.

        Args:
            call: Weight and bias are its inputs 1 and 2.
            above: Name of the input.
            filters: (O, I / groups, kh, kw).
            axis: Of the weight tensor that output channels lie on.
            groups: Of input channels.
            windows: Sampling.
            result: Name of what it makes, if not that of the file's tensor; its one
                bias is then that of all channels.
        """
        out, weight = len(filters), self._constant(call, 1)
        for channel in np.flatnonzero(weight.zero_point)[:1]:
            raise Unreadable(
                f"the weight zero point of channel {channel} is "
                f"{weight.zero_point[channel]}; wanted 0, as kernels take it to be"
            )
        if weight.kind != "INT8":
            raise Unreadable(f"its weights are {weight.kind}; wanted INT8")
        numbers: dict[str, NDArray[Any]] = {
            "weight scale": per_channel(weight, axis, out)
        }
        if len(call.inputs) > 2 and call.inputs[2] >= 0:
            bias = self._constant(call, 2)
            count = out if result is None else 1
            if bias.kind != "INT32" or bias.values.shape != (count,):
                raise Unreadable(f"its bias is {bias.kind} {bias.values.shape}")
            numbers["bias"] = np.resize(bias.values.astype(np.int64), out)
            if len(bias.scale):
                numbers["bias scale"] = per_channel(bias, 0, out)
        self.builder.add_layer(
            result or self._made(call),
            call.kind,
            above,
            filters,
            numbers,
            input_scale=self._tensors[call.inputs[0]].scale,
            groups=groups,
            windows=windows,
        )

    def _name(self, call: Call) -> str:
        """Name of the first input."""
        return self._tensors[call.inputs[0]].name

    def _made(self, call: Call) -> str:
        """Name of the output."""
        return self._tensors[call.outputs[0]].name

    def _constant(self, call: Call, position: int) -> Tensor:
        """An input that must be stored in the file."""
        if len(call.inputs) <= position or call.inputs[position] < 0:
            raise Unreadable(f"it has no input {position}")
        tensor = self._tensors[call.inputs[position]]
        if not tensor.constant:
            raise Unreadable(f"{tensor.name!r} is computed; wanted a constant")
        return tensor
