"""Operators of an INT8 file that have weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobileq.graph.nodes import Conv, Linear
from mobileq.quant.spec import QuantizedLayer
from mobileq_tflite.emitter import Emitter
from mobileq_tflite.flatfile import Quantization
from mobileq_tflite.layout import borders, is_depthwise, is_grid_sum, ohwi, one_hwo
from mobileq_tflite.operators import (
    ACTIVATIONS,
    GROUPED_CONV_VERSION,
    VERSIONS,
    conv_options,
)


class LayerEmitter(Emitter):
    """Emits convolutions and fully connected layers."""

    def conv(self, node: Conv) -> None:
        """A convolution, depthwise where each group has one input channel."""
        shape = self.graph.shapes[node.inputs[0]]
        edges = borders(shape, node.window, node.stride, node.padding)
        zero_point = self.spec.activations[node.inputs[0]].zero_point
        source = self.padded(node, edges, zero_point)
        layer = self.spec.layers[node.name]
        version = VERSIONS["CONV_2D"]
        if is_grid_sum(node, layer, shape):
            self._grid_sum(node, layer)
            return
        if is_depthwise(node):
            kind, weight, axis = "DEPTHWISE_CONV_2D", one_hwo(layer.weight), 3
        else:
            kind, weight, axis = "CONV_2D", ohwi(layer.weight), 0
            version = GROUPED_CONV_VERSION if node.groups > 1 else version
        inputs = [source, *self._weights(node, layer, weight, axis)]
        options = conv_options(node, edges)
        self.operator(kind, inputs, self.result(node), options, version)

    def _grid_sum(self, node: Conv, layer: QuantizedLayer) -> None:
        """The same weighted sum of each channel's grid, as one matrix product.

        The integers are those of the depthwise convolution; XNNPACK's kernels for
        windows of more than 25 points are several times slower.
        """
        channels, height, width = self.graph.shapes[node.inputs[0]]
        read = self.spec.activations[node.inputs[0]]
        made = self.spec.activations[node.name]
        points = self.internal(node, "points", (height * width, channels), read)
        planes = self.internal(node, "planes", (channels, height * width), read)
        sums = self.internal(node, "sums", (channels, 1), made)
        self.reshape(self.source(node), points, node, (height * width, channels))
        order = self.model.constant(f"{node.name};order", np.asarray([1, 0], np.int32))
        options = schema.TransposeOptionsT()
        self.operator("TRANSPOSE", [points, order], planes, options)
        one = replace(
            layer,
            weight=layer.weight[:1].reshape(1, -1),
            weight_scale=layer.weight_scale[:1],
            bias=layer.bias[:1],
        )
        linear = schema.FullyConnectedOptionsT()
        linear.fusedActivationFunction = ACTIVATIONS[node.activation]
        inputs = [planes, *self._weights(node, one, one.weight, 0)]
        self.operator("FULLY_CONNECTED", inputs, sums, linear)
        self.reshape(sums, self.result(node), node)

    def linear(self, node: Linear) -> None:
        """A fully connected layer; its weights stay (O, I)."""
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[node.activation]
        layer = self.spec.layers[node.name]
        inputs = [self.source(node), *self._weights(node, layer, layer.weight, 0)]
        self.operator("FULLY_CONNECTED", inputs, self.result(node), options)

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
