"""Graph and QuantSpec to an INT8 TFLite file, integer for integer.

The file takes raw pixels, (1, H, W, C) uint8, and returns logits or scores, (1, F)
uint8, unless its contract says otherwise (`mobileq_tflite.ends`). Tensors have their
node's name; internal ones contain a `;`.

    Input      QUANTIZE (uint8 to int8, same scale: subtracts 128, exactly)
    Conv       CONV_2D or DEPTHWISE_CONV_2D, after a PAD where SAME is not our padding
    Linear     FULLY_CONNECTED
    Add        ADD
    Mask       MUL by zeros and ones of scale 1
    MaxPool    MAX_POOL_2D, after a PADV2 with -128 where SAME is not our padding
    OrbitMax   RESHAPE, MAX_POOL_2D, RESHAPE
    Flatten    RESHAPE
    Relu(6)    RELU, RELU6
    Cap        MINIMUM with a constant; XNNPACK leaves it to LiteRT's own kernel
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobileq.contract import Contract
from mobileq.errors import UnsupportedError
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Add,
    Cap,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    Padding,
    Relu,
    Relu6,
)
from mobileq.quant.affine import QMIN, Affine
from mobileq.quant.consistency import require_consistent
from mobileq.quant.fixed_point import cap_bounds
from mobileq.quant.spec import QuantizedLayer, QuantSpec
from mobileq_tflite.ends import PIXELS, Ends, add_source, finished, quantization
from mobileq_tflite.flatfile import FlatModel, Quantization, require_plain
from mobileq_tflite.layout import Borders, borders, is_depthwise, nhwc, ohwi, one_hwo
from mobileq_tflite.operators import (
    ACTIVATIONS,
    GROUPED_CONV_VERSION,
    VERSIONS,
    conv_options,
    pool_options,
)


def write_int8(
    graph: Graph,
    spec: QuantSpec,
    contract: Contract = Contract(),  # noqa: B008  (frozen)
) -> bytes:
    """Write an INT8 TFLite file.

    Args:
        graph: A deployable graph.
        spec: Its integers; they are written as they are.
        contract: Types of the ends, head, labels.

    Returns:
        The file's content.

    Raises:
        UnsupportedError: a node that TFLite cannot compute in integers.
        GraphError: graph and spec do not fit together.
    """
    require_consistent(graph, spec)
    return _Writer(graph, spec, contract).write()


class _Writer:
    """State of one file: the model so far, and where each node's tensor is."""

    def __init__(self, graph: Graph, spec: QuantSpec, contract: Contract) -> None:
        self.graph = graph
        self.spec = spec
        self.contract = contract
        self.model = FlatModel()
        self.index: dict[str, int] = {}

    def write(self) -> bytes:
        """Emit all nodes in order."""
        for node in self.graph.nodes:
            require_plain(node.name)
            self._emit(node)
        ends = Ends(self.pixels, self.index[self.graph.output])
        affine = self.spec.activations[self.graph.output]
        return finished(self.model, self.graph, affine, self.contract, ends)

    def _emit(self, node: Node) -> None:
        """Emit the operators of one node."""
        match node:
            case Input():
                self._input(node)
            case Conv():
                self._conv(node)
            case Linear():
                self._linear(node)
            case Add():
                options = schema.AddOptionsT()
                options.fusedActivationFunction = ACTIVATIONS[node.activation]
                sources = [self.index[name] for name in node.inputs]
                self._operator("ADD", sources, self._result(node), options)
            case Mask():
                self._mask(node)
            case MaxPool():
                self._max_pool(node)
            case OrbitMax():
                self._orbit_max(node)
            case Flatten():
                self._reshape(self._source(node), self._result(node), node)
            case Relu():
                self._operator("RELU", [self._source(node)], self._result(node))
            case Relu6():
                self._operator("RELU6", [self._source(node)], self._result(node))
            case Cap():
                self._cap(node)
            case _:
                raise UnsupportedError(
                    f"{type(node).__name__} {node.name!r}: has no INT8 TFLite operator"
                )

    def _input(self, node: Input) -> None:
        """The image, and its move to the signed domain."""
        # A node may be called like this too; the file's input then gives way.
        name = PIXELS if PIXELS not in self.graph else f"{PIXELS};input"
        affine = self.spec.activations[node.name]
        shape, end = nhwc(node.shape), self.contract.end(integer=True)
        signed = self._result(node)
        self.pixels = add_source(self.model, name, shape, affine, end, signed)

    def _conv(self, node: Conv) -> None:
        """A convolution, depthwise where each group has one input channel."""
        height, width = node.weight.shape[2:]
        shape = self.graph.shapes[node.inputs[0]]
        edges = borders(shape, (height, width), node.stride, node.padding)
        zero_point = self.spec.activations[node.inputs[0]].zero_point
        source = self._padded(node, edges, zero_point)
        layer = self.spec.layers[node.name]
        version = VERSIONS["CONV_2D"]
        if is_depthwise(node):
            kind, weight, axis = "DEPTHWISE_CONV_2D", one_hwo(layer.weight), 3
        else:
            kind, weight, axis = "CONV_2D", ohwi(layer.weight), 0
            version = GROUPED_CONV_VERSION if node.groups > 1 else version
        inputs = [source, *self._weights(node, layer, weight, axis)]
        options = conv_options(node, edges)
        self._operator(kind, inputs, self._result(node), options, version)

    def _linear(self, node: Linear) -> None:
        """A fully connected layer; its weights stay (O, I)."""
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[node.activation]
        layer = self.spec.layers[node.name]
        inputs = [self._source(node), *self._weights(node, layer, layer.weight, 0)]
        self._operator("FULLY_CONNECTED", inputs, self._result(node), options)

    def _weights(
        self, node: Conv | Linear, layer: QuantizedLayer, weight: Any, axis: int
    ) -> list[int]:
        """Weight and bias constants with the scales of the layer."""
        scale = layer.weight_scale if layer.per_channel else layer.weight_scale[:1]
        bias_scale = np.float32(self.spec.activations[node.inputs[0]].scale) * scale
        return [
            self.model.constant(
                f"{node.name};weight", weight, Quantization.symmetric(scale, axis)
            ),
            self.model.constant(
                f"{node.name};bias", layer.bias, Quantization.symmetric(bias_scale)
            ),
        ]

    def _mask(self, node: Mask) -> None:
        """Multiply by a constant that broadcasts over the channels."""
        mask = node.mask.astype(np.int8)[None, :, :, None]
        one = Quantization((1.0,), (0,))
        constant = self.model.constant(f"{node.name};mask", mask, one)
        inputs = [self._source(node), constant]
        self._operator("MUL", inputs, self._result(node), schema.MulOptionsT())

    def _cap(self, node: Cap) -> None:
        """A minimum of integers, which have one meaning in all three tensors."""
        affine = self.spec.activations[node.name]
        bounds = cap_bounds(node, affine)
        # All axes but the last, that of the channels, broadcast.
        shape = (*[1] * len(self.graph.shapes[node.name]), len(bounds))
        name = f"{node.name};high"
        constant = self.model.constant(
            name, bounds.reshape(shape), quantization(affine)
        )
        inputs = [self._source(node), constant]
        options = schema.MaximumMinimumOptionsT()
        self._operator("MINIMUM", inputs, self._result(node), options)

    def _max_pool(self, node: MaxPool) -> None:
        """A windowed maximum; -128 never wins against anything else."""
        shape = self.graph.shapes[node.inputs[0]]
        edges = borders(shape, node.kernel, node.stride, node.padding)
        source = self._padded(node, edges, QMIN)
        steps = (node.stride, node.stride)
        options = pool_options(node.kernel, steps, edges)
        self._operator("MAX_POOL_2D", [source], self._result(node), options)

    def _orbit_max(self, node: OrbitMax) -> None:
        """Channels side by side on an axis of the grid, where pooling can see them."""
        channels, height, width = self.graph.shapes[node.name]
        rows = height * width * channels
        affine = self.spec.activations[node.name]
        apart = self._internal(node, "apart", (1, rows, node.block, 1), affine)
        pooled = self._internal(node, "pooled", (1, rows, 1, 1), affine)
        window = (1, node.block)
        options = pool_options(window, window, Borders(False, Padding()))
        self._reshape(self._source(node), apart, node, (1, rows, node.block, 1))
        self._operator("MAX_POOL_2D", [apart], pooled, options)
        self._reshape(pooled, self._result(node), node)

    def _reshape(
        self, source: int, result: int, node: Node, shape: tuple[int, ...] | None = None
    ) -> None:
        """Copy to another shape, that of the node's tensor by default."""
        wanted = nhwc(self.graph.shapes[node.name]) if shape is None else shape
        values = np.asarray(wanted, np.int32)
        constant = self.model.constant(f"{node.name};shape{result}", values)
        options = schema.ReshapeOptionsT()
        options.newShape = values
        self._operator("RESHAPE", [source, constant], result, options)

    def _padded(self, node: Conv | MaxPool, edges: Borders, value: int) -> int:
        """The node's input, with explicit borders of `value` where they are needed."""
        source = self._source(node)
        if edges.explicit == Padding():
            return source
        added = edges.explicit
        channels, height, width = self.graph.shapes[node.inputs[0]]
        shape = (
            1,
            height + added.top + added.bottom,
            width + added.left + added.right,
            channels,
        )
        affine = self.spec.activations[node.inputs[0]]
        padded = self._internal(node, "padded", shape, affine)
        amounts = np.zeros((4, 2), np.int32)
        amounts[1:3] = (added.top, added.bottom), (added.left, added.right)
        constant = self.model.constant(f"{node.name};borders", amounts)
        if value == affine.zero_point:
            # PAD fills with the zero point; unlike PADV2, XNNPACK knows it.
            options = schema.PadOptionsT()
            self._operator("PAD", [source, constant], padded, options)
        else:
            fill = np.asarray([value], np.int8)
            filling = self.model.constant(
                f"{node.name};fill", fill, quantization(affine)
            )
            inputs = [source, constant, filling]
            self._operator("PADV2", inputs, padded, schema.PadV2OptionsT())
        return padded

    def _source(self, node: Node) -> int:
        """Index of the tensor that a node reads."""
        return self.index[node.inputs[0]]

    def _result(self, node: Node) -> int:
        """Add the tensor of a node."""
        affine = self.spec.activations[node.name]
        shape = nhwc(self.graph.shapes[node.name])
        tensor = self.model.tensor(node.name, shape, np.int8, quantization(affine))
        self.index[node.name] = tensor
        return tensor

    def _internal(
        self, node: Node, suffix: str, shape: tuple[int, ...], affine: Affine
    ) -> int:
        """Add a tensor that is no node's."""
        name = f"{node.name};{suffix}"
        return self.model.tensor(name, shape, np.int8, quantization(affine))

    def _operator(
        self,
        kind: str,
        inputs: list[int],
        output: int,
        options: Any = None,
        version: int | None = None,
    ) -> None:
        """Append an operator of the usual version."""
        number = VERSIONS[kind] if version is None else version
        self.model.operator(kind, number, inputs, output, options)
