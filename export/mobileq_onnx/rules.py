"""How each operator of an integer ONNX file is read, for a proof.

The files are of quantize and dequantize operators around real ones (QDQ). A runtime
computes such a group with one integer kernel, and only then are its sums exact; so a
layer is read only if its input comes from integers and its result goes to integers.

Independent of the writer on purpose: it knows the format from ONNX's operators alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.builder import Builder
from mobileq.proof.checks import Unreadable, picked
from mobileq.proof.program import POINT, Source, Windows
from mobileq_onnx.constants import Constants, Stored, layer_numbers
from mobileq_onnx.parsed import EIGHT_BITS, Call, File, quantized_to_8_bits
from mobileq_onnx.values import (
    FUNCTIONS,
    REASONS,
    bordered,
    chw,
    one_image,
    repeated,
    windows_of,
)


class Reader:
    """Reads one operator after the other into a `Builder`."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._constants = Constants(file.constants)
        self._scale: dict[str, NDArray[Any]] = {}  # of dequantized tensors
        self._quantized = set(quantized_to_8_bits(file))
        self.builder = Builder(channels_last=False)
        self.builder.add(Source(file.source, "input", (), file.shape))

    def read(self, call: Call) -> None:
        """Read one operator; what cannot be read breaks proofs that come to it."""
        try:
            if call.kind not in RULES or len(call.outputs) != 1:
                raise Unreadable(
                    REASONS.get(
                        call.kind, "no rule says that it commutes with moving the image"
                    )
                )
            RULES[call.kind](self, call)
        except (Unreadable, ValueError, KeyError, IndexError) as reason:
            for name in call.outputs:
                # What the file does not declare is taken to be flat.
                shape = self._file.shapes.get(name, (1, 1))
                self.builder.add_opaque(
                    call.kind,
                    call.inputs,
                    name,
                    shape,
                    str(reason),
                    repeatable=call.kind in RULES or call.kind in FUNCTIONS,
                )

    def dequantize(self, call: Call) -> None:
        """Of a constant, or of a tensor."""
        source, made = call.inputs[0], call.outputs[0]
        scale, zero = self._constants.parameters(call)
        if source in self._constants:
            integers = self._constants.plain(source)
            if not np.issubdtype(integers.dtype, np.integer):
                raise Unreadable(f"{source!r} is {integers.dtype}; wanted integers")
            axis = call.attributes.get("axis", 1) % max(1, integers.ndim)
            self._constants.store(made, Stored(integers, scale, zero, axis))
            return
        self.pointwise(call)
        if scale.size == 1 and self._file.types.get(source) in EIGHT_BITS:
            self._scale[made] = scale.reshape(1)

    def convolution(self, call: Call) -> None:
        """Weights OIHW."""
        self._require_integers(call)
        above = call.inputs[0]
        channels, height, width = self.builder.shape(above)
        weight = self._constants.quantized(call.inputs[1])
        groups = call.attributes.get("group", 1)
        shape = weight.integers.shape
        if len(shape) != 4 or shape[1] * groups != channels or shape[0] % groups:
            raise Unreadable(f"its weight {shape} does not fit its input")
        windows = windows_of(call, (height, width), shape[2:])
        self._layer(call, above, weight, 0, groups=groups, windows=windows)

    def gemm(self, call: Call) -> None:
        """Weights (O, F) or (F, O) on a flat tensor."""
        self._require_integers(call)
        attributes = call.attributes
        factors = (attributes.get("alpha", 1), attributes.get("beta", 1))
        if attributes.get("transA", 0) or factors != (1, 1):
            raise Unreadable("it scales or transposes its input")
        above = call.inputs[0]
        channels = self.builder.shape(above)[0]
        if above not in self.builder.flat:
            raise Unreadable("its input is not flat")
        weight = self._constants.quantized(call.inputs[1])
        axis = 0 if attributes.get("transB", 0) else 1
        shape = weight.integers.shape
        if len(shape) != 2 or shape[1 - axis] != channels:
            raise Unreadable(f"its weight {shape} does not fit its input")
        self._layer(call, above, weight, axis)

    def _layer(
        self,
        call: Call,
        above: str,
        weight: Stored,
        axis: int,
        *,
        groups: int = 1,
        windows: Windows = POINT,
    ) -> None:
        """Append a layer with what is known of each of its channels.

        Args:
            call: Its bias is input 2.
            above: Name of the input.
            weight: Of 4 axes OIHW, or of 2.
            axis: That output channels lie on.
            groups: Of input channels.
            windows: Sampling.
        """
        filters, numbers = layer_numbers(weight, self._bias(call), axis)
        self.builder.add_layer(
            call.outputs[0],
            call.kind,
            above,
            filters,
            numbers,
            input_scale=self._scale[above],
            groups=groups,
            windows=windows,
        )

    def _bias(self, call: Call) -> Stored | None:
        """Input 2 of a layer, if it has one."""
        given = len(call.inputs) > 2 and call.inputs[2]
        return self._constants.quantized(call.inputs[2]) if given else None

    def max_pool(self, call: Call) -> None:
        """Windows on the grid, or on axes that a reshape has made."""
        attributes, above = call.attributes, call.inputs[0]
        kernel = tuple(attributes["kernel_shape"])
        if self.builder.mixed(above):
            elements = self.builder.elements(above)
            # On axes of the right size: no padding, no rounding, no dilation.
            _, _, height, width = elements.shape
            windows_of(call, (height, width), kernel)
            plain = (attributes.get("pads", ()), attributes.get("dilations", (1, 1)))
            if any(plain[0]) or set(plain[1]) != {1}:
                raise Unreadable("it pads or dilates axes that a reshape has made")
            strides = attributes.get("strides", (1, 1))
            pooled = elements.pooled(kernel, tuple(strides))
            self.builder.add_view(call.outputs[0], call.kind, pooled)
            return
        _, height, width = self.builder.shape(above)
        windows = windows_of(call, (height, width), kernel)
        self.builder.add_max_pool(call.outputs[0], call.kind, above, windows)

    def pad(self, call: Call) -> None:
        """Borders of the grid, with one constant."""
        if len(call.inputs) > 3 and call.inputs[3]:
            raise Unreadable("it names axes")
        made, above = call.outputs[0], call.inputs[0]
        amounts = self._constants.plain(call.inputs[1]).reshape(2, -1).T
        mode = call.attributes.get("mode", b"constant")
        if mode == b"constant":
            self.builder.add_pad(made, call.kind, above, amounts)
        elif mode in (b"edge", b"reflect"):
            kind: Literal["edge", "reflect"] = "edge" if mode == b"edge" else "reflect"
            places = bordered(kind, amounts, self.builder.shape(above)[1:])
            self.builder.add_sample(made, call.kind, above, *places)
        else:
            raise Unreadable("it wraps the grid around")

    def resize(self, call: Call) -> None:
        """Repeated pixels."""
        if len(call.inputs) != 3 or call.inputs[1]:
            raise Unreadable("it names a region or sizes; wanted scales")
        made, above = call.outputs[0], call.inputs[0]
        scales = self._constants.plain(call.inputs[2])
        places = repeated(call, scales, self.builder.shape(above)[1:])
        self.builder.add_sample(made, call.kind, above, *places)

    def gather(self, call: Call) -> None:
        """A table that is looked up, or picked rows or columns."""
        table, index = call.inputs
        if table in self._constants:
            self._lookup(call, table, index)
            return
        places, axis = self._constants.plain(index), call.attributes.get("axis", 0) % 4
        if axis not in (2, 3) or table in self.builder.flat:
            raise Unreadable("it picks other things than rows or columns")
        axes = [np.arange(size) for size in self.builder.grid(table)]
        axes[axis - 2] = picked(places, len(axes[axis - 2]))
        self.builder.add_sample(call.outputs[0], call.kind, table, *axes)

    def _lookup(self, call: Call, table: str, index: str) -> None:
        """A table of one axis, which is one function of each value."""
        values = self._constants.plain(table)
        if values.ndim != 1 or call.attributes.get("axis", 0) not in (0, -1):
            raise Unreadable("it picks slices; wanted single values of a table")
        self.builder.add_pointwise(call.outputs[0], call.kind, [index], {})

    def softmax(self, call: Call) -> None:
        """One function of all channels of a pixel, each computed by itself."""
        above = call.inputs[0]
        rank = 2 if above in self.builder.flat else 4
        if call.attributes.get("axis", -1) % rank != 1:
            raise Unreadable("it is not over the channels")
        self.builder.add_per_pixel(call.outputs[0], call.kind, above)

    def reshape(self, call: Call) -> None:
        """The same elements in another shape; 0 keeps an extent, -1 is the rest."""
        elements = self.builder.elements(call.inputs[0])
        wanted = [int(extent) for extent in self._constants.plain(call.inputs[1])]
        wanted = one_image(wanted, self._file.batch)
        if not call.attributes.get("allowzero", 0):
            wanted = [n or elements.shape[i] for i, n in enumerate(wanted)]
        reshaped = elements.reshaped(tuple(wanted))
        self.builder.add_view(call.outputs[0], call.kind, reshaped)

    def flatten(self, call: Call) -> None:
        """(1, C, H, W) as (1, C * H * W)."""
        if call.attributes.get("axis", 1) != 1:
            raise Unreadable("it flattens over the batch")
        flat = self.builder.elements(call.inputs[0]).reshaped((1, -1))
        self.builder.add_view(call.outputs[0], call.kind, flat)

    def concatenation(self, call: Call) -> None:
        """Channels side by side."""
        axis = call.attributes["axis"]
        self.builder.add_concat(call.outputs[0], call.kind, call.inputs, axis)

    def pointwise(self, call: Call) -> None:
        """Tensors of one shape, and constants that broadcast to it."""
        used = [name for name in call.inputs if name]
        names = [name for name in used if name not in self._constants]
        flat = all(name in self.builder.flat for name in names)
        rescales = call.kind in ("QuantizeLinear", "DequantizeLinear")
        on_channels = rescales and call.attributes.get("axis", 1) in (1, -3)
        if rescales and not on_channels and self._constants.values(used[1]).size > 1:
            raise Unreadable("its scales belong to another axis than the channels")
        constants = {
            f"constant {name!r}": chw(
                self._constants.values(name), flat=flat, on_channels=on_channels
            )
            for name in used
            if name in self._constants
        }
        self.builder.add_pointwise(call.outputs[0], call.kind, names, constants)

    def _require_integers(self, call: Call) -> None:
        """Check that a layer lies between integers.

        Raises:
            Unreadable: it sums real numbers.
        """
        source, made = call.inputs[0], call.outputs[0]
        if source not in self._scale:
            raise Unreadable(
                f"its input {source!r} is no dequantized tensor of one scale, and sums "
                f"of real numbers depend on their order"
            )
        if self._file.readers[made] != 1 or made not in self._quantized:
            raise Unreadable(
                "its result is not quantized at once, and sums of real numbers depend "
                "on their order"
            )


RULES: Mapping[str, Callable[[Reader, Call], None]] = MappingProxyType(
    {
        "Concat": Reader.concatenation,
        "Conv": Reader.convolution,
        "DequantizeLinear": Reader.dequantize,
        "Flatten": Reader.flatten,
        "Gather": Reader.gather,
        "Gemm": Reader.gemm,
        "MatMul": Reader.gemm,
        "MaxPool": Reader.max_pool,
        "Pad": Reader.pad,
        "Reshape": Reader.reshape,
        "Resize": Reader.resize,
        "Softmax": Reader.softmax,
        # Functions of the values at one place that IEEE 754 defines to the last bit.
        **dict.fromkeys(
            (
                *("Add", "Cast", "Clip", "Identity", "Max", "Min", "Mul"),
                *("QuantizeLinear", "Relu", "Sub"),
            ),
            Reader.pointwise,
        ),
    }
)
"""How each operator is read."""
