"""Graph to a float32 TFLite file, by way of TensorFlow's converter.

The file takes normalized images, (1, H, W, C) float32, or uint8 pixels that it
normalizes itself, and returns logits or scores, (1, F) float32. The converter folds
biases and activations into the operators before them; tensors that survive are given
the name of their node, all others contain a `;`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mobileq.contract import Contract, Head
from mobileq.errors import UnsupportedError
from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    Cap,
    Concat,
    Conv,
    Flatten,
    Linear,
    Mask,
    MaxPool,
    Mul,
    Node,
    OrbitMax,
    Pad,
    Padding,
    PadMode,
    Relu,
    Relu6,
    SoftMask,
    SpatialMean,
    Upsample,
)
from mobileq_tflite.flatfile import INTERNAL, pack, require_plain, signature, unpack
from mobileq_tflite.layout import Borders, borders, is_depthwise, nhwc, spread_mask
from mobileq_tflite.metadata import attach, model_metadata, with_labels
from mobileq_tflite.quiet import quiet_stderr

DESCRIPTION = "mobileq float: {end} image (1, H, W, C) to float32 {output}"

SCOPE = "node{}"
SCOPE_PATTERN = re.compile(r"\bnode(\d+)/")
"""Scopes hold the index of a node: TensorFlow does not allow all names."""


def write_float(
    graph: Graph,
    contract: Contract = Contract(),  # noqa: B008  (frozen)
) -> bytes:
    """Write a float TFLite file.

    Args:
        graph: A deployable graph.
        contract: Type of the input, head, labels.

    Returns:
        The file's content.

    Raises:
        UnsupportedError: a node that does not occur in a deployable graph.
    """
    for node in graph.nodes:
        require_plain(node.name)
    with quiet_stderr():
        # Imported here since it takes seconds, and prints to stderr while it loads.
        import tensorflow as tf

        made: dict[str, str] = {}
        kind = tf.as_dtype(contract.end(integer=False))
        shape = tf.TensorSpec(nhwc(graph.input.shape), kind, name="input")
        function = tf.function(
            lambda image: _trace(tf, graph, contract, image, made),
            input_signature=[shape],
            autograph=False,
        )
        concrete = function.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [concrete], tf.Module()
        )
        converted = converter.convert()
    model = unpack(converted)
    _rename(model, graph, contract, made)
    attach(model, model_metadata(contract, graph.input, contract.end(integer=False)))
    return with_labels(pack(model), contract)


def _trace(
    tf: Any, graph: Graph, contract: Contract, image: Any, made: dict[str, str]
) -> Any:
    """Compute the graph in TensorFlow, NHWC; note which operation made which tensor."""
    source = graph.input
    if contract.end(integer=False) == "uint8":
        zero, scale = np.float32(source.pixel_zero), np.float32(source.pixel_scale)
        image = (tf.cast(image, tf.float32) - zero) * scale
    tensors: dict[str, Any] = {source.name: image}
    for index, node in enumerate(graph.nodes[1:], start=1):
        sources = [tensors[name] for name in node.inputs]
        with tf.name_scope(SCOPE.format(index)):
            tensors[node.name] = _apply(tf, graph, node, sources)
        made[node.name] = tensors[node.name].op.name
    logits = tensors[graph.output]
    if contract.head is Head.SOFTMAX:
        return tf.nn.softmax(logits)
    return tf.sigmoid(logits) if contract.head is Head.SIGMOID else logits


def _apply(tf: Any, graph: Graph, node: Node, sources: list[Any]) -> Any:
    """Compute one node."""
    x, shape = sources[0], graph.shapes[node.inputs[0]]
    match node:
        case Conv():
            return _conv(tf, node, x, shape)
        case Linear():
            y = tf.matmul(x, node.weight.T.astype(np.float32))
            y = tf.nn.bias_add(y, node.bias.astype(np.float32))
            return _activate(tf, y, node.activation)
        case Add():
            return _activate(tf, x + sources[1], node.activation)
        case Curve():
            return _curve(tf, node, x)
        case Mul():
            return x * sources[1]
        case Concat():
            return tf.concat(sources, axis=-1)
        case Upsample():
            return _upsampled(tf, node, x, shape)
        case Pad():
            return _surrounded(tf, node, x, shape)
        case SoftMask() | Mask() if not isinstance(node, SpatialMean):
            return x * spread_mask(node.mask.astype(np.float32), shape[0])
        case MaxPool():
            edges = borders(shape, node.kernel, node.stride, node.padding)
            padded = _padded(tf, x, edges, float(np.finfo(np.float32).min))
            return tf.nn.max_pool2d(padded, node.kernel, node.stride, edges.kind)
        case OrbitMax():
            # As in INT8: pooling is delegated everywhere, REDUCE_MAX is not.
            window = (1, node.block)
            channels, height, width = graph.shapes[node.name]
            apart = tf.reshape(x, (1, height * width * channels, node.block, 1))
            pooled = tf.nn.max_pool2d(apart, window, window, "VALID")
            return tf.reshape(pooled, (1, height, width, channels))
        case Flatten() if shape[1:] == (1, 1):
            return tf.reshape(x, (1, shape[0]))
        case Relu():
            return tf.nn.relu(x)
        case Relu6():
            return tf.nn.relu6(x)
        case Cap():
            return tf.minimum(x, node.high.astype(np.float32))
    raise UnsupportedError(
        f"{type(node).__name__} {node.name!r}: cannot be written to TFLite; wanted a "
        f"deployable graph (fold BatchNorm and turn pools into Conv first)"
    )


def _conv(tf: Any, node: Conv, x: Any, shape: tuple[int, ...]) -> Any:
    """A convolution with bias and activation."""
    height, width = node.weight.shape[2:]
    edges = borders(shape, node.window, node.stride, node.padding)
    spread = (node.dilation, node.dilation)
    padded = _padded(tf, x, edges, 0.0)
    weight = node.weight.astype(np.float32)
    if is_depthwise(node):
        apart = weight.reshape(node.groups, -1, height, width)
        # tf.nn.depthwise_conv2d takes strides or dilations, not both.
        y = tf.raw_ops.DepthwiseConv2dNative(
            input=padded,
            filter=apart.transpose(2, 3, 0, 1),
            strides=(1, node.stride, node.stride, 1),
            padding=edges.kind,
            dilations=(1, *spread, 1),
        )
    else:
        filters = weight.transpose(2, 3, 1, 0)
        y = tf.nn.conv2d(padded, filters, node.stride, edges.kind, dilations=spread)
    if node.bias.any():  # else the converter drops it, and the tensor's name with it
        y = tf.nn.bias_add(y, node.bias.astype(np.float32))
    return _activate(tf, y, node.activation)


def _curve(tf: Any, node: Curve, x: Any) -> Any:
    """A smooth activation."""
    if node.kind is CurveKind.LEAKY_RELU:
        return tf.nn.leaky_relu(x, node.slope)
    return tf.nn.sigmoid(x) if node.kind is CurveKind.SIGMOID else tf.nn.elu(x)


def _upsampled(tf: Any, node: Upsample, x: Any, shape: tuple[int, ...]) -> Any:
    """Repeat pixels; a border of a repeated pixel is its mirror image."""
    size = [node.factor * points for points in shape[1:]]
    y = tf.raw_ops.ResizeNearestNeighbor(images=x, size=size, half_pixel_centers=True)
    sides = (node.edge, node.edge)
    amounts = ((0, 0), sides, sides, (0, 0))
    return tf.pad(y, amounts, "SYMMETRIC") if node.edge else y


def _surrounded(tf: Any, node: Pad, x: Any, shape: tuple[int, ...]) -> Any:
    """Copies of pixels around the grid, as in INT8."""
    sides = node.padding
    if node.mode is PadMode.REFLECT:
        rows, columns = (sides.top, sides.bottom), (sides.left, sides.right)
        return tf.pad(x, ((0, 0), rows, columns, (0, 0)), "REFLECT")
    for axis, places in enumerate(node.sources(*shape[1:]), start=1):
        x = tf.gather(x, places.astype(np.int32), axis=axis)
    return x


def _padded(tf: Any, x: Any, edges: Borders, value: float) -> Any:
    """The tensor with explicit borders, where they are needed."""
    added = edges.explicit
    if added == Padding():
        return x
    amounts = ((0, 0), (added.top, added.bottom), (added.left, added.right), (0, 0))
    return tf.pad(x, amounts, constant_values=value)


def _activate(tf: Any, x: Any, activation: Activation) -> Any:
    """Apply a fused activation."""
    if activation is Activation.RELU:
        return tf.nn.relu(x)
    return tf.nn.relu6(x) if activation is Activation.RELU6 else x


def _rename(model: Any, graph: Graph, contract: Contract, made: dict[str, str]) -> None:
    """Give the tensors of a `ModelT` the names of their nodes.

    An operator's tensor is called after all that was fused into it, as in
    `node3/Relu;node3/BiasAdd;node2/MatMul`. The last node among them is the one whose
    value it has, provided that the node's last operation is there too (the converter
    may move a bias behind the mask that follows), and that no later operator belongs
    to the node as well.
    """
    subgraph = model.subgraphs[0]
    owner: dict[int, str] = {}
    for operator in subgraph.operators:
        index = int(operator.outputs[0])
        name = subgraph.tensors[index].name.decode()
        found = SCOPE_PATTERN.findall(name)
        if found:
            node = graph.nodes[max(map(int, found))]
            shape = tuple(int(size) for size in subgraph.tensors[index].shape)
            owner = {i: n for i, n in owner.items() if n != node.name}
            # A number may be appended to make the whole name unique.
            last = re.compile(rf"(^|;){re.escape(made[node.name])}\d*(;|$)")
            if shape == nhwc(graph.shapes[node.name]) and last.search(name):
                owner[index] = node.name
    source, result = int(subgraph.inputs[0]), int(subgraph.outputs[0])
    end, head = contract.end(integer=False), contract.head
    owner[source] = graph.input.name if end == "float32" else f"pixels{INTERNAL}uint8"
    owner[result] = graph.output
    if head is not Head.NONE:
        owner[result] = f"{head.output}{INTERNAL}float32"
    for index, tensor in enumerate(subgraph.tensors):
        name = tensor.name.decode()
        marked = name if INTERNAL in name else f"{name}{INTERNAL}internal"
        tensor.name = owner.get(index, marked)
    model.description = DESCRIPTION.format(end=end, output=head.output)
    model.signatureDefs = [signature(graph.input.name, source, head.output, result)]
