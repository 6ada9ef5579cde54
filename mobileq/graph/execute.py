"""The executor without torch: every tensor of a graph, forwards, in numpy.

What quantizes and verifies a network computes with this one, so that it runs where
torch is not installed, and gives the same bits whether or not it is. `interpret.py` has
the definitions in torch, for what needs gradients; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.curves import Curve
from mobileq.graph.graph import Graph
from mobileq.graph.kernels import convolved, padded, window_max, window_mean
from mobileq.graph.nodes import (
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
    Relu,
    Relu6,
    SoftMask,
    SpatialMean,
)
from mobileq.graph.pools import Copies

Array = NDArray[Any]


def run(
    graph: Graph, images: Array, *, dtype: DTypeLike = np.float32
) -> dict[str, Array]:
    """Compute every tensor of a graph.

    Args:
        graph: Any stage.
        images: (B, C, H, W), normalized.
        dtype: float32 or float64.

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
    values = np.ascontiguousarray(images, dtype)
    return {step.node.name: step.after for step in steps(graph, values)}


def outputs(graph: Graph, images: Array, *, dtype: DTypeLike = np.float32) -> Array:
    """The output tensor alone, (B, ...)."""
    return run(graph, images, dtype=dtype)[graph.output]


@dataclass(frozen=True, eq=False)
class Step:
    """One node's result, (B, ...).

    Attributes:
        node: The node.
        before: Before its activation; the same array as `after` where it has none.
        after: The node's tensor.
    """

    node: Node
    before: Array
    after: Array


def activate(node: Node, before: Array) -> Array:
    """Apply the activation that is part of a node, if there is one."""
    low, high = -np.inf, np.inf
    if isinstance(node, Conv | Linear | Add):
        low, high = node.activation.bounds
    if low == -np.inf and high == np.inf:
        return before
    return before.clip(low, high)


def steps(
    graph: Graph,
    images: Array,
    *,
    finish: Callable[[Node, Array], Array] = activate,
) -> Iterator[Step]:
    """Compute one node after the other.

    A tensor is let go after its last reader, so that a caller who keeps none needs the
    memory of few. Whoever stops early saves what would have come later.

    Args:
        graph: Any stage.
        images: (B, C, H, W), normalized, of the type to compute in.
        finish: Makes each node's tensor from what it is before the activation.
    """
    last_reader = {name: node.name for node in graph.nodes for name in node.inputs}
    tensors: dict[str, Array] = {}
    for node in graph.nodes:
        # What is not finite is found by those who look at it, as with torch.
        with np.errstate(over="ignore", invalid="ignore"):
            if isinstance(node, Input):
                before = images
            else:
                before = _apply(node, [tensors[name] for name in node.inputs])
            step = Step(node, before, finish(node, before))
        if node.name in last_reader:
            tensors[node.name] = step.after
        for name in {n for n in node.inputs if last_reader[n] == node.name}:
            del tensors[name]
        yield step


def _apply(node: Node, inputs: list[Array]) -> Array:
    """Compute one node, without the activation that may be part of it."""
    x = inputs[0]
    match node:
        case Conv():
            return _conv(node, x)
        case Linear():
            return x @ _like(node.weight, x).T + _like(node.bias, x)
        case Add():
            return x + inputs[1]
        case Mul():
            return np.asarray(x * inputs[1])
        case Concat():
            return np.concatenate(inputs, axis=1)
        case BatchNorm():
            factor = node.scale / np.sqrt(node.variance + node.eps)
            offset = node.shift - node.mean * factor
            return x * _per_channel(factor, x) + _per_channel(offset, x)
        case Relu():
            return x.clip(0)
        case Relu6():
            return x.clip(0, 6)
        case Curve():
            return np.asarray(node.at(x), x.dtype)
        case Cap():
            return np.minimum(x, _per_channel(node.high, x))
        case SpatialMean():
            mask = _like(node.mask, x)
            return np.asarray((x * mask).sum((2, 3), keepdims=True) / mask.sum())
        case Mask() | SoftMask():
            return x * _like(node.mask, x)
        case AveragePool():
            return window_mean(padded(x, node.padding), node.kernel, node.stride)
        case MaxPool():
            lowest = padded(x, node.padding, -np.inf)
            return window_max(lowest, node.kernel, node.stride)
        case OrbitMax():
            return np.asarray(x.reshape(len(x), -1, node.block, *x.shape[2:]).max(2))
        case Copies():
            rows, columns = node.sources(*x.shape[2:])
            return x[:, :, rows][:, :, :, columns]
        case Flatten():
            return x.reshape(len(x), -1)
    raise UnsupportedError(f"{type(node).__name__} {node.name!r}: cannot be computed")


def _conv(node: Conv, x: Array) -> Array:
    """Convolve with any padding."""
    sums = convolved(
        padded(x, node.padding),
        node.weight,
        stride=node.stride,
        groups=node.groups,
        dilation=node.dilation,
    )
    sums += _per_channel(node.bias, x)
    return sums


def _like(values: NDArray[np.generic], x: Array) -> Array:
    """Constant with the type of `x`."""
    return values.astype(x.dtype)


def _per_channel(values: NDArray[np.float64], x: Array) -> Array:
    """(C,) values that broadcast over (B, C, ...)."""
    return _like(values, x).reshape(-1, *[1] * (x.ndim - 2))
