"""Operators and tensors of an INT8 file that is being written, by node."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv, MaxPool, Node, Padding
from mobileq.quant.affine import Affine
from mobileq.quant.spec import QuantSpec
from mobileq_tflite.ends import quantization
from mobileq_tflite.flatfile import FlatModel
from mobileq_tflite.layout import Borders, nhwc
from mobileq_tflite.operators import VERSIONS


class Emitter:
    """State of one file: the model so far, and where each node's tensor is.

    Attributes:
        graph: What is written.
        spec: Its integers.
        model: The file so far.
        index: Tensor index by node name.
    """

    def __init__(self, graph: Graph, spec: QuantSpec) -> None:
        self.graph = graph
        self.spec = spec
        self.model = FlatModel()
        self.index: dict[str, int] = {}

    def source(self, node: Node) -> int:
        """Index of the tensor that a node reads."""
        return self.index[node.inputs[0]]

    def result(self, node: Node) -> int:
        """Add the tensor of a node."""
        affine = self.spec.activations[node.name]
        shape = nhwc(self.graph.shapes[node.name])
        tensor = self.model.tensor(node.name, shape, np.int8, quantization(affine))
        self.index[node.name] = tensor
        return tensor

    def internal(
        self, node: Node, suffix: str, shape: tuple[int, ...], affine: Affine
    ) -> int:
        """Add a tensor that is no node's."""
        name = f"{node.name};{suffix}"
        return self.model.tensor(name, shape, np.int8, quantization(affine))

    def operator(
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

    def reshape(
        self, source: int, result: int, node: Node, shape: tuple[int, ...] | None = None
    ) -> None:
        """Copy to another shape, that of the node's tensor by default."""
        wanted = nhwc(self.graph.shapes[node.name]) if shape is None else shape
        values = np.asarray(wanted, np.int32)
        constant = self.model.constant(f"{node.name};shape{result}", values)
        options = schema.ReshapeOptionsT()
        options.newShape = values
        self.operator("RESHAPE", [source, constant], result, options)

    def padded(self, node: Conv | MaxPool, edges: Borders, value: int) -> int:
        """The node's input, with explicit borders of `value` where they are needed."""
        source = self.source(node)
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
        padded = self.internal(node, "padded", shape, affine)
        amounts = np.zeros((4, 2), np.int32)
        amounts[1:3] = (added.top, added.bottom), (added.left, added.right)
        constant = self.model.constant(f"{node.name};borders", amounts)
        if value == affine.zero_point:
            # PAD fills with the zero point; unlike PADV2, XNNPACK knows it.
            options = schema.PadOptionsT()
            self.operator("PAD", [source, constant], padded, options)
        else:
            fill = np.asarray([value], np.int8)
            filling = self.model.constant(
                f"{node.name};fill", fill, quantization(affine)
            )
            inputs = [source, constant, filling]
            self.operator("PADV2", inputs, padded, schema.PadV2OptionsT())
        return padded
