"""Deployable graph + QuantSpec -> INT8 ONNX file in QDQ form.

Input `input` is uint8 (1, C, H, W), raw pixels, or float32, normalized ones; output
`logits` is float32 (1, F), the dequantized integers, or `scores`, made of these in
float32. In between, each operator reads DequantizeLinear nodes and is
followed by a QuantizeLinear node whose output has the name of the graph's node. The
runtime fuses each such group into one integer kernel. All integers and scales are those
of the QuantSpec (unsigned tensors add 128 to values and zero points).

What had to be chosen, so that every kernel is an exact integer one:

- An activation is not written as Relu or Clip on floats, which would keep the
  convolution in front of it in float wherever the zero point is not the smallest
  integer. Quantizing saturates, which is the activation already where its bounds are
  those of 8 bit; elsewhere a Clip on the integers follows.
- A cap is a Min of integers for the same reason. Releases of ONNX Runtime from before
  October 2025 have no such kernel.
- A DequantizeLinear is written where a node reads it. ONNX Runtime would run the others
  too, and transpose for them.
- A mask is a Mul by integers 0 and 1 with scale 1, a soft one by 0 to 127 of 1/127.
- Pixels are repeated, channels joined and smooth activations looked up as integers.
- A linear layer is a Gemm whose bias stays int32.
- Maxima and reshapes have the same scale and zero point on both sides.
- Where tensors are signed, the pixels become so by three integer operators. ONNX
  Runtime runs such files in integers on x86 only with a setting
  (`mobileq_onnx.session`).

Integer sums are exact in every case but one: on x86 without VNNI, the kernels for
unsigned activations and signed weights add pairs of products in saturating 16-bit
arithmetic; `mobileq_onnx.session` says what to do about it. ARM is not concerned.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from mobileq.contract import Contract
from mobileq.graph.curves import Curve
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    Cap,
    Concat,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Mul,
    Node,
    OrbitMax,
    Relu,
    Relu6,
    SoftMask,
)
from mobileq.graph.pools import Copies
from mobileq.quant.affine import QMIN, Affine
from mobileq.quant.consistency import require_consistent
from mobileq.quant.curves import curve_table
from mobileq.quant.fixed_point import (
    SOFT_STEP,
    activation_range,
    cap_bounds,
    soft_mask,
)
from mobileq.quant.spec import QuantSpec
from mobileq_onnx.nodes import (
    INPUT,
    LOGITS,
    ModelBuilder,
    conv_attributes,
    pool_attributes,
)

ActivationType = Literal["uint8", "int8"]


def write_int8(
    graph: Graph,
    spec: QuantSpec,
    contract: Contract = Contract(),  # noqa: B008  (frozen)
    *,
    activation_type: ActivationType = "uint8",
) -> bytes:
    """Write a deployable graph with the integers of a QuantSpec.

    Args:
        graph: Without BatchNorm, SpatialMean and AveragePool.
        spec: Of this graph.
        contract: Type of the input, head, batch, labels. An input of int8 is not made;
            uint8 takes its place.
        activation_type: Type of the tensors between the layers. `uint8` is the fast one
            on x86; `int8` is preferred by ARM.

    Returns:
        A serialized ModelProto that the ONNX checker accepts.

    Raises:
        GraphError: the QuantSpec does not belong to the graph.
        UnsupportedError: a node is not legal in a deployable graph.
    """
    require_consistent(graph, spec)
    return _Writer(graph, spec, contract, activation_type).run()


class _Writer:
    """State of one call: the model so far, and what was dequantized."""

    def __init__(
        self,
        graph: Graph,
        spec: QuantSpec,
        contract: Contract,
        activation_type: ActivationType,
    ) -> None:
        self._graph = graph
        self._spec = spec
        self._type = np.dtype(activation_type)
        # The signed domain of the QuantSpec starts at -128, an unsigned one at 0.
        self._shift = np.iinfo(self._type).min - QMIN
        self._raw = contract.end(integer=True) != "float32"
        # Elsewhere the pixels become the first tensor, and `input` is only the pixels.
        same = self._raw and self._shift
        reserved = {graph.input.name: INPUT} if same else {}
        self._model = ModelBuilder(graph, contract, reserved)
        self._real: dict[str, str] = {}
        self._scales: dict[str, tuple[str, str]] = {}

    def run(self) -> bytes:
        """Write all nodes."""
        for node in self._graph.nodes:
            self._write(node)
        self._dequantized(self._graph.output)
        return self._model.serialized(
            TensorProto.UINT8 if self._raw else TensorProto.FLOAT
        )

    def _write(self, node: Node) -> None:
        """Write one node."""
        match node:
            case Input():
                self._write_input(node)
            case Relu() | Relu6():
                self._write_clip(node)
            case Cap():
                self._write_cap(node)
            case Copies():
                names = (node.inputs[0], node.name)
                self._model.copies(node, *(self._model.tensors[n] for n in names))
            case Curve():
                self._write_curve(node)
            case Concat():
                self._write_concat(node)
            case _:
                self._write_real(node)

    def _write_real(self, node: Node) -> None:
        """Write a node between dequantized inputs and a quantized result."""
        inputs = [self._dequantized(source) for source in node.inputs]
        real = self._model.fresh(f"{self._model.tensors[node.name]}/real")
        match node:
            case Conv():
                inputs += self._layer(node)
                self._model.emit("Conv", inputs, real, conv_attributes(node))
            case Linear():
                inputs += self._layer(node)
                self._model.emit("Gemm", inputs, real, {"transB": 1})
            case Add():
                self._model.emit("Add", inputs, real)
            case Mul():
                self._model.emit("Mul", inputs, real)
            case Mask() | SoftMask():
                self._model.emit("Mul", [*inputs, self._mask(node)], real)
            case MaxPool():
                self._model.emit("MaxPool", inputs, real, pool_attributes(node))
            case OrbitMax():
                self._model.orbit_max(node, inputs[0], real)
            case Flatten():
                self._model.emit("Flatten", inputs, real, {"axis": 1})
        self._quantize(node, real)

    def _write_input(self, node: Input) -> None:
        """Pixels: they are the quantized input already, but for the type.

        Signed ones are made by integer operators, where nothing can be rounded. Real
        ones are a pixel's distance from zero times a scale, and quantized by it.
        """
        name = self._model.tensors[node.name]
        if not self._raw:
            inputs = [INPUT, *self._parameters(node.name)]
            self._model.emit("QuantizeLinear", inputs, name)
        elif not self._shift:
            offset = self._model.constant(f"{INPUT}/offset", np.array(QMIN, np.int32))
            wide = self._model.fresh(f"{INPUT}/int32")
            moved = self._model.fresh(f"{INPUT}/signed")
            self._model.emit("Cast", [INPUT], wide, {"to": TensorProto.INT32})
            self._model.emit("Add", [wide, offset], moved)
            self._model.emit("Cast", [moved], name, {"to": TensorProto.INT8})

    def _write_clip(self, node: Relu | Relu6) -> None:
        """An activation of its own: a Clip on integers."""
        activation = Activation.RELU6 if isinstance(node, Relu6) else Activation.RELU
        name = self._model.tensors[node.name]
        source = self._model.tensors[node.inputs[0]]
        bounds = self._bounds(self._spec.activations[node.name], activation)
        self._clip(source, name, bounds)

    def _write_cap(self, node: Cap) -> None:
        """A minimum of integers, with (C, 1, 1) or (C,) bounds."""
        name = self._model.tensors[node.name]
        bounds = cap_bounds(node, self._spec.activations[node.name])
        shape = (-1, *[1] * (len(self._graph.shapes[node.name]) - 1))
        shifted = (bounds.astype(np.int64) + self._shift).astype(self._type)
        high = self._model.constant(f"{name}/high", shifted.reshape(shape))
        self._model.emit("Min", [self._model.tensors[node.inputs[0]], high], name)

    def _write_concat(self, node: Concat) -> None:
        """Join integers; those that mean something else are quantized anew before."""
        name, sources = self._model.tensors[node.name], []
        for number, source in enumerate(node.inputs):
            tensor = self._model.tensors[source]
            if self._spec.activations[source] != self._spec.activations[node.name]:
                inputs = [self._dequantized(source), *self._parameters(node.name)]
                moved = self._model.fresh(f"{name}/part{number}")
                tensor = self._model.emit("QuantizeLinear", inputs, moved)
            sources.append(tensor)
        self._model.emit("Concat", sources, name, {"axis": 1})

    def _write_curve(self, node: Curve) -> None:
        """Look integers up; kernels of real functions differ between processors."""
        names = (node.inputs[0], node.name)
        table = curve_table(node, *(self._spec.activations[name] for name in names))
        shifted = (table.astype(np.int64) + self._shift).astype(self._type)
        self._model.lookup(shifted, *(self._model.tensors[name] for name in names))

    def _quantize(self, node: Node, real: str) -> None:
        """Quantize `real`, and apply the activation."""
        name = self._model.tensors[node.name]
        scale, zero = self._parameters(node.name)
        activation = Activation.NONE
        if isinstance(node, Conv | Linear | Add):
            activation = node.activation
        bounds = self._bounds(self._spec.activations[node.name], activation)
        saturates = bounds == self._bounds(Affine(1.0, 0), Activation.NONE)
        target = name if saturates else self._model.fresh(f"{name}/unclipped")
        self._model.emit("QuantizeLinear", [real, scale, zero], target)
        if not saturates:
            self._clip(target, name, bounds)

    def _dequantized(self, node: str) -> str:
        """The real tensor of a node, made when it is first asked for."""
        if node not in self._real:
            tensor = self._model.tensors[node]
            is_output = node == self._graph.output
            target = LOGITS if is_output else self._model.fresh(f"{tensor}/dequantized")
            inputs = [tensor, *self._parameters(node)]
            self._real[node] = self._model.emit("DequantizeLinear", inputs, target)
        return self._real[node]

    def _parameters(self, node: str) -> tuple[str, str]:
        """Constants with scale and zero point of a node's tensor."""
        if node not in self._scales:
            tensor, affine = self._model.tensors[node], self._spec.activations[node]
            scale = np.array(affine.scale, np.float32)
            zero = np.array(affine.zero_point + self._shift, self._type)
            self._scales[node] = (
                self._model.constant(f"{tensor}/scale", scale),
                self._model.constant(f"{tensor}/zero_point", zero),
            )
        return self._scales[node]

    def _bounds(self, affine: Affine, activation: Activation) -> tuple[int, int]:
        """Smallest and largest integer, of the file's type, after an activation."""
        low, high = activation_range(activation, affine)
        return low + self._shift, high + self._shift

    def _clip(self, source: str, target: str, bounds: tuple[int, int]) -> None:
        """Clip integers."""
        limits = [
            self._model.constant(f"{target}/{label}", np.array(bound, self._type))
            for label, bound in zip(("low", "high"), bounds, strict=True)
        ]
        self._model.emit("Clip", [source, *limits], target)

    def _layer(self, node: Conv | Linear) -> list[str]:
        """Dequantized weight and bias of a layer."""
        name = self._model.tensors[node.name]
        layer = self._spec.layers[node.name]
        scale = layer.weight_scale if layer.per_channel else layer.weight_scale[0]
        source = self._spec.activations[node.inputs[0]]
        bias_scale = np.float32(source.scale) * scale
        return [
            self._stored(f"{name}/weight", layer.weight, np.asarray(scale)),
            self._stored(f"{name}/bias", layer.bias, np.asarray(bias_scale)),
        ]

    def _mask(self, node: Mask | SoftMask) -> str:
        """Dequantized mask, (1, 1, H, W)."""
        soft, tensor = isinstance(node, SoftMask), self._model.tensors[node.name]
        integers = soft_mask(node) if isinstance(node, SoftMask) else node.mask
        values, step = integers[None, None].astype(self._type), SOFT_STEP if soft else 1
        return self._stored(f"{tensor}/mask", values, np.array(step, np.float32))

    def _stored(
        self, name: str, values: NDArray[np.generic], scale: NDArray[np.float32]
    ) -> str:
        """A dequantized constant with zero point 0; several scales are for axis 0."""
        inputs = [
            self._model.constant(f"{name}/integers", values),
            self._model.constant(f"{name}/scale", scale),
            self._model.constant(f"{name}/zero", np.zeros(scale.shape, values.dtype)),
        ]
        return self._model.emit(
            "DequantizeLinear", inputs, self._model.fresh(name), {"axis": 0}
        )
