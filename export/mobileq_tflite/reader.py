"""Read an integer TFLite file as a `Program`, for a proof.

Independent of the writer on purpose: it knows the format from LiteRT's schema alone,
and takes shapes from the input and the options, as the interpreter does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobileq.errors import InputError
from mobileq.proof.checks import Unreadable, picked
from mobileq.proof.program import Program
from mobileq_tflite.layer_reader import LayerReader
from mobileq_tflite.parsed import Call, parse
from mobileq_tflite.values import (
    COPIES,
    FUNCTIONS,
    check_copy,
    check_integer,
    chw,
    mirrored,
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


class _Reader(LayerReader):
    """Reads one operator after the other into a `Builder`."""

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
