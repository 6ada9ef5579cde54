"""Deployable graph -> float32 ONNX file.

Input `input` is float32 (1, C, H, W), normalized, or uint8 pixels that the file
normalizes itself; output `logits` or `scores` is float32 (1, F). Every tensor in
between has the name of its node (see `mobileq_onnx.nodes`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from mobileq.contract import Contract
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
    SpatialMean,
)
from mobileq.graph.pools import Copies
from mobileq_onnx.nodes import (
    INPUT,
    LOGITS,
    NO_ATTRIBUTES,
    Attribute,
    ModelBuilder,
    conv_attributes,
    pool_attributes,
)


def write_float(
    graph: Graph,
    contract: Contract = Contract(),  # noqa: B008  (frozen)
) -> bytes:
    """Write a deployable graph as a float32 ONNX model.

    Args:
        graph: Without BatchNorm, SpatialMean and AveragePool.
        contract: Type of the input, head, batch, labels.

    Returns:
        A serialized ModelProto that the ONNX checker accepts.

    Raises:
        UnsupportedError: a node is not legal in a deployable graph.
    """
    reserved = {graph.output: LOGITS}
    raw = contract.end(integer=False) == "uint8"
    if not raw:
        reserved[graph.input.name] = INPUT
    model = ModelBuilder(graph, contract, reserved)
    if raw:
        _normalize(model, graph.input)
    for node in graph.nodes:
        _write(model, node)
    return model.serialized(TensorProto.UINT8 if raw else TensorProto.FLOAT)


def _normalize(model: ModelBuilder, node: Input) -> None:
    """Write (pixel - zero) * scale in float32."""
    zero = model.constant(f"{INPUT}/zero", np.array(node.pixel_zero, np.float32))
    scale = model.constant(f"{INPUT}/scale", np.array(node.pixel_scale, np.float32))
    real = model.fresh(f"{INPUT}/real")
    moved = model.fresh(f"{INPUT}/moved")
    model.emit("Cast", [INPUT], real, {"to": TensorProto.FLOAT})
    model.emit("Sub", [real, zero], moved)
    model.emit("Mul", [moved, scale], model.tensors[node.name])


def _write(model: ModelBuilder, node: Node) -> None:
    """Write one node."""
    name = model.tensors[node.name]
    inputs = [model.tensors[source] for source in node.inputs]
    match node:
        case Input():
            return
        case Conv():
            inputs += _weights(model, name, node.weight, node.bias)
            attributes = conv_attributes(node)
            target = _before(model, name, node.activation)
            model.emit("Conv", inputs, target, attributes)
            _activate(model, target, name, node.activation)
        case Linear():
            inputs += _weights(model, name, node.weight, node.bias)
            target = _before(model, name, node.activation)
            model.emit("Gemm", inputs, target, {"transB": 1})
            _activate(model, target, name, node.activation)
        case Add():
            target = _before(model, name, node.activation)
            model.emit("Add", inputs, target)
            _activate(model, target, name, node.activation)
        case Relu():
            _activate(model, inputs[0], name, Activation.RELU)
        case Relu6():
            _activate(model, inputs[0], name, Activation.RELU6)
        case Cap():
            bounds = node.high.astype(np.float32)
            shaped = bounds.reshape(-1, *[1] * (len(model.graph.shapes[node.name]) - 1))
            model.emit("Min", [*inputs, model.constant(f"{name}/high", shaped)], name)
        case Curve():
            kind, attributes = _curve(node)
            model.emit(kind, inputs, name, attributes)
        case Mul():
            model.emit("Mul", inputs, name)
        case Concat():
            model.emit("Concat", inputs, name, {"axis": 1})
        case Copies():
            model.copies(node, inputs[0], name)
        case SoftMask() | Mask() if not isinstance(node, SpatialMean):
            mask = node.mask[None, None].astype(np.float32)
            model.emit("Mul", [*inputs, model.constant(f"{name}/mask", mask)], name)
        case MaxPool():
            model.emit("MaxPool", inputs, name, pool_attributes(node))
        case OrbitMax():
            model.orbit_max(node, inputs[0], name)
        case Flatten():
            model.emit("Flatten", inputs, name, {"axis": 1})
        case _:
            raise UnsupportedError(
                f"{type(node).__name__} {node.name!r}: cannot be written to ONNX; "
                f"wanted a deployable graph (fold it first)"
            )


def _curve(node: Curve) -> tuple[str, Mapping[str, Attribute]]:
    """Operator and attributes of a smooth activation."""
    if node.kind is CurveKind.LEAKY_RELU:
        return "LeakyRelu", {"alpha": node.slope}
    return ("Sigmoid" if node.kind is CurveKind.SIGMOID else "Elu"), NO_ATTRIBUTES


def _weights(
    model: ModelBuilder,
    name: str,
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
) -> list[str]:
    """Add weight (OIHW or (O, I)) and bias (O,) as float32."""
    return [
        model.constant(f"{name}/weight", weight.astype(np.float32)),
        model.constant(f"{name}/bias", bias.astype(np.float32)),
    ]


def _before(model: ModelBuilder, name: str, activation: Activation) -> str:
    """Name of the tensor that the activation reads: the node's own if there is none."""
    if activation is Activation.NONE:
        return name
    return model.fresh(f"{name}/linear")


def _activate(
    model: ModelBuilder, source: str, name: str, activation: Activation
) -> None:
    """Write the activation."""
    if activation is Activation.RELU:
        model.emit("Relu", [source], name)
    elif activation is Activation.RELU6:
        low, high = (np.array(bound, np.float32) for bound in activation.bounds)
        bounds = [
            model.constant(f"{name}/low", low),
            model.constant(f"{name}/high", high),
        ]
        model.emit("Clip", [source, *bounds], name)
