"""Read an integer TFLite file as a `Program`, for a proof.

Independent of the writer on purpose: it knows the format from LiteRT's schema alone,
and takes shapes from the input and the options, as the interpreter does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from mobileq.errors import InputError
from mobileq.proof.builder import Builder
from mobileq.proof.checks import Unreadable, picked
from mobileq.proof.program import POINT, Axis, Program, Source, Windows
from mobileq_tflite.parsed import Call, File, Tensor, parse
from mobileq_tflite.values import (
    COPIES,
    FUNCTIONS,
    check_copy,
    check_integer,
    chw,
    mirrored,
    per_channel,
    repeated,
    windows_of,
)


def read_program(data: bytes, name: str) -> Program:
    """Read a TFLite file.

    Args:
        data: The file.
        name: For messages.

    Raises:
        InputError: no TFLite file, a damaged one, or one that does not take one image
            and return one tensor.
    """
    file = parse(data, name)
    shape = file.source.shape
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise InputError(
            f"{name}: the input has shape {shape}; wanted one image (1, H, W, C) of "
            f"fixed size"
        )
    try:
        reader = _Reader(file)
    except Unreadable as reason:
        raise InputError(f"{name}: the input cannot be followed: {reason}") from None
    for call in file.calls:
        reader.read(call)
    builder, result = reader.builder, file.result.name
    if not builder.known(result):
        raise InputError(
            f"{name}: the output {result!r} does not depend on the input; wanted a "
            f"network"
        )
    if builder.mixed(result):
        builder.add_opaque("output", [result], "output", (1, 1), "it is reshaped")
        result = "output"
    builder.shape(result)
    return Program("TFLite", tuple(builder.operators), result)


class _Reader:
    """Reads one operator after the other into a `Builder`."""

    def __init__(self, file: File) -> None:
        self._tensors = file.tensors
        self.builder = Builder(channels_last=True)
        _, height, width, channels = file.source.shape
        shape = (channels, height, width)
        self.builder.add(Source(file.source.name, "input", (), shape))

    def read(self, call: Call) -> None:
        """Read one operator; what cannot be read breaks proofs that come to it."""
        try:
            self._check(call)
            RULES[call.kind](self, call)
        except (Unreadable, ValueError, KeyError, IndexError) as reason:
            inputs = [self._tensors[i].name for i in call.inputs if i >= 0]
            for index in call.outputs:
                made = self._tensors[index]
                self.builder.add_opaque(
                    call.kind,
                    inputs,
                    made.name,
                    made.shape,
                    str(reason),
                    repeatable=call.kind in RULES or call.kind in FUNCTIONS,
                )

    def _check(self, call: Call) -> None:
        """Check that all tensors are of 8 bits, and that copies keep their meaning."""
        if call.kind not in RULES or len(call.outputs) != 1:
            raise Unreadable("no rule says that it commutes with moving the image")
        used = [self._tensors[i] for i in call.inputs if i >= 0]
        made = self._tensors[call.outputs[0]]
        running = [tensor for tensor in used if not tensor.constant]
        # Real numbers are turned into integers once, and read off at the end.
        for tensor in () if call.kind == "QUANTIZE" else running:
            check_integer(tensor)
        if call.kind != "DEQUANTIZE":
            check_integer(made)
        if call.kind in COPIES:
            for tensor in (t for t in used if len(t.scale)):
                check_copy(tensor, made)

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

    def max_pool(self, call: Call) -> None:
        """Windows on the grid, or on axes that a reshape has made."""
        options, above = call.options, self._name(call)
        kernel = (options["FilterHeight"], options["FilterWidth"])
        strides = (options["StrideH"], options["StrideW"])
        if self.builder.mixed(above):
            if options["Padding"] != schema.Padding.VALID:
                raise Unreadable("it pads axes that a reshape has made")
            pooled = self.builder.elements(above).pooled(kernel, strides)
            self.builder.add_view(self._made(call), call.kind, pooled)
            return
        _, height, width = self.builder.shape(above)
        windows = windows_of(call, (height, width), kernel)
        self.builder.add_max_pool(self._made(call), call.kind, above, windows)

    def pad(self, call: Call) -> None:
        """Borders of the grid, with one constant."""
        if call.kind == "PADV2" and self._constant(call, 2).values.size != 1:
            raise Unreadable("its border has several values")
        amounts = self._constant(call, 1).values
        self.builder.add_pad(self._made(call), call.kind, self._name(call), amounts)

    def resize(self, call: Call) -> None:
        """Repeated pixels."""
        above, wanted = self._name(call), self._constant(call, 1).values.ravel()
        rows, columns = (
            repeated(call, size, int(count))
            for size, count in zip(self.builder.shape(above)[1:], wanted, strict=True)
        )
        self.builder.add_sample(self._made(call), call.kind, above, rows, columns)

    def mirror_pad(self, call: Call) -> None:
        """A border that mirrors the grid."""
        above, amounts = self._name(call), self._constant(call, 1).values
        if amounts.shape != (4, 2) or amounts[[0, 3]].any():
            raise Unreadable("it pads other axes than those of the grid")
        rows, columns = (
            mirrored(call, size, int(pair[0]), int(pair[1]))
            for size, pair in zip(
                self.builder.shape(above)[1:], amounts[1:3], strict=True
            )
        )
        self.builder.add_sample(self._made(call), call.kind, above, rows, columns)

    def gather(self, call: Call) -> None:
        """Picked rows or columns."""
        above, axis = self._name(call), call.options["Axis"] % 4
        known = axis in (1, 2) and not call.options["BatchDims"]
        if not known or above in self.builder.flat:
            raise Unreadable("it picks other things than rows or columns")
        axes = [np.arange(size) for size in self.builder.grid(above)]
        chosen = self._constant(call, 1).values
        axes[axis - 1] = picked(chosen, len(axes[axis - 1]))
        self.builder.add_sample(self._made(call), call.kind, above, *axes)

    def reshape(self, call: Call) -> None:
        """The same elements in another shape, which is a constant or an option."""
        if len(call.inputs) > 1:
            wanted = self._constant(call, 1).values.ravel()
        else:
            wanted = np.asarray(call.options["NewShapeAsNumpy"])
        shape = tuple(int(extent) for extent in wanted)
        above = self._name(call)
        if len(shape) == 2 and shape[0] > 1:
            # Points or planes of this very tensor, for a sum over its grid.
            elements = self.builder.own_elements(above).reshaped(shape)
        else:
            elements = self.builder.elements(above).reshaped(shape)
        self.builder.add_view(self._made(call), call.kind, elements)

    def concatenation(self, call: Call) -> None:
        """Channels side by side."""
        names = [self._tensors[i].name for i in call.inputs]
        axis = call.options["Axis"]
        self.builder.add_concat(self._made(call), call.kind, names, axis)

    def pointwise(self, call: Call) -> None:
        """Tensors of one shape, and constants that broadcast to it."""
        used = [self._tensors[i] for i in call.inputs]
        names = [tensor.name for tensor in used if not tensor.constant]
        constants = {f"constant {t.name!r}": chw(t.values) for t in used if t.constant}
        self.builder.add_pointwise(self._made(call), call.kind, names, constants)

    def softmax(self, call: Call) -> None:
        """One function of all channels of a pixel."""
        self.builder.add_per_pixel(self._made(call), call.kind, self._name(call))

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


RULES: Mapping[str, Callable[[_Reader, Call], None]] = MappingProxyType(
    {
        "CONCATENATION": _Reader.concatenation,
        "CONV_2D": _Reader.convolution,
        "DEPTHWISE_CONV_2D": _Reader.convolution,
        "FULLY_CONNECTED": _Reader.fully_connected,
        "GATHER": _Reader.gather,
        "MAX_POOL_2D": _Reader.max_pool,
        "MIRROR_PAD": _Reader.mirror_pad,
        "PAD": _Reader.pad,
        "PADV2": _Reader.pad,
        "RESHAPE": _Reader.reshape,
        "RESIZE_NEAREST_NEIGHBOR": _Reader.resize,
        "SOFTMAX": _Reader.softmax,
        "TRANSPOSE": _Reader.transpose,
        # Functions of the values at one place.
        **dict.fromkeys(
            (
                *("ABS", "ADD", "DEQUANTIZE", "ELU", "HARD_SWISH", "LEAKY_RELU"),
                *("LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "QUANTIZE", "RELU", "RELU6"),
                *("RELU_0_TO_1", "RELU_N1_TO_1", "SUB", "TANH"),
            ),
            _Reader.pointwise,
        ),
    }
)
"""How each operator is read."""
