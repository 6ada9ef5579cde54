"""Reference float executor: every tensor of a graph, by plain definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
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
    Padding,
    Relu,
    Relu6,
    SoftMask,
    SpatialMean,
)
from mobileq.graph.pools import Copies


def run(
    graph: Graph,
    images: NDArray[np.floating[Any]],
    *,
    dtype: torch.dtype = torch.float32,
) -> dict[str, NDArray[np.floating[Any]]]:
    """Compute every tensor of a graph.

    Args:
        graph: Any stage.
        images: (B, C, H, W), normalized.
        dtype: torch.float32 or torch.float64.

    Returns:
        Tensor by name, each with a leading batch axis.

    Raises:
        GraphError: the images have another shape than the input node.
    """
    if images.shape[1:] != graph.input.shape:
        raise GraphError(
            f"Input {graph.input.name!r}: images have shape {images.shape[1:]}; wanted "
            f"{graph.input.shape}"
        )
    with torch.inference_mode():
        tensor = torch.as_tensor(np.ascontiguousarray(images), dtype=dtype)
        return {step.node.name: step.after.numpy() for step in steps(graph, tensor)}


@dataclass(frozen=True, eq=False)
class Step:
    """One node's result, (B, ...).

    Attributes:
        node: The node.
        before: Before its activation; the same tensor as `after` where it has none.
        after: The node's tensor.
    """

    node: Node
    before: Tensor
    after: Tensor


def activate(node: Node, before: Tensor) -> Tensor:
    """Apply the activation that is part of a node, if there is one."""
    if isinstance(node, Conv | Linear | Add):
        return _activate(before, node.activation)
    return before


def steps(
    graph: Graph,
    images: Tensor,
    *,
    finish: Callable[[Node, Tensor], Tensor] = activate,
) -> Iterator[Step]:
    """Compute one node after the other, in the caller's gradient mode.

    A tensor is let go after its last reader, so that a caller who keeps none needs the
    memory of few. Whoever stops early saves what would have come later.

    Args:
        graph: Any stage.
        images: (B, C, H, W), normalized, of the type to compute in.
        finish: Makes each node's tensor from what it is before the activation.
    """
    last_reader = {name: node.name for node in graph.nodes for name in node.inputs}
    tensors: dict[str, Tensor] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            before = images
        else:
            before = apply(node, [tensors[name] for name in node.inputs])
        step = Step(node, before, finish(node, before))
        if node.name in last_reader:
            tensors[node.name] = step.after
        for name in {n for n in node.inputs if last_reader[n] == node.name}:
            del tensors[name]
        yield step


def apply(node: Node, inputs: list[Tensor]) -> Tensor:
    """Compute one node, without the activation that may be part of it."""
    x = inputs[0]
    match node:
        case Conv():
            return _conv(node, x)
        case Linear():
            return F.linear(x, _like(node.weight, x), _like(node.bias, x))
        case Add():
            return x + inputs[1]
        case Mul():
            return x * inputs[1]
        case Concat():
            return torch.cat(inputs, dim=1)
        case BatchNorm():
            factor = node.scale / np.sqrt(node.variance + node.eps)
            offset = node.shift - node.mean * factor
            return x * _per_channel(factor, x) + _per_channel(offset, x)
        case Relu():
            return x.relu()
        case Relu6():
            return x.clamp(0, 6)
        case Curve():
            return _curve(node, x)
        case Cap():
            return x.minimum(_per_channel(node.high, x))
        case SpatialMean():
            mask = _like(node.mask, x)
            return (x * mask).sum((2, 3), keepdim=True) / mask.sum()
        case Mask() | SoftMask():
            return x * _like(node.mask, x)
        case AveragePool():
            return F.avg_pool2d(_padded(x, node.padding, 0.0), node.kernel, node.stride)
        case MaxPool():
            padded = _padded(x, node.padding, float("-inf"))
            return F.max_pool2d(padded, node.kernel, node.stride)
        case OrbitMax():
            return x.reshape(len(x), -1, node.block, *x.shape[2:]).amax(2)
        case Copies():
            return copied(node, x)
        case Flatten():
            return x.flatten(1)
    raise UnsupportedError(
        f"{type(node).__name__} {node.name!r}: cannot be interpreted"
    )


def _conv(node: Conv, x: Tensor) -> Tensor:
    """Convolve with any padding."""
    return F.conv2d(
        _padded(x, node.padding, 0.0),
        _like(node.weight, x),
        _like(node.bias, x),
        stride=node.stride,
        dilation=node.dilation,
        groups=node.groups,
    )


def copied(node: Copies, x: Tensor) -> Tensor:
    """Copy pixels of (B, C, H, W)."""
    rows, columns = map(torch.from_numpy, node.sources(*x.shape[2:]))
    return x[:, :, rows][:, :, :, columns]


def _curve(node: Curve, x: Tensor) -> Tensor:
    """Apply a smooth activation."""
    match node.kind:
        case CurveKind.SIGMOID:
            return x.sigmoid()
        case CurveKind.ELU:
            return F.elu(x)
    return F.leaky_relu(x, node.slope)


def _padded(x: Tensor, padding: Padding, value: float) -> Tensor:
    """Add the borders."""
    if padding == Padding():
        return x
    sides = (padding.left, padding.right, padding.top, padding.bottom)
    return F.pad(x, sides, value=value)


def _activate(x: Tensor, activation: Activation) -> Tensor:
    """Clip to what the activation lets through."""
    match activation:
        case Activation.NONE:
            return x
        case Activation.RELU:
            return x.relu()  # what clamp does, with a gradient that costs less
    return x.clamp(*activation.bounds)


def _like(values: NDArray[np.generic], x: Tensor) -> Tensor:
    """Constant with the type of `x`; a copy, since torch knows no read-only arrays."""
    return torch.tensor(np.asarray(values), dtype=x.dtype)


def _per_channel(values: NDArray[np.float64], x: Tensor) -> Tensor:
    """(C,) values that broadcast over (B, C, ...)."""
    return _like(values, x).reshape(-1, *[1] * (x.ndim - 2))


def outputs(
    graph: Graph,
    images: NDArray[np.floating[Any]],
    *,
    dtype: torch.dtype = torch.float32,
) -> NDArray[np.floating[Any]]:
    """The output tensor alone, (B, ...)."""
    tensors: Mapping[str, NDArray[np.floating[Any]]] = run(graph, images, dtype=dtype)
    return tensors[graph.output]
