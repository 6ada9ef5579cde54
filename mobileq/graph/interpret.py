"""Reference float executor: every tensor of a graph, by plain definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
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
    SpatialMean,
)


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
    tensors: dict[str, Tensor] = {}
    with torch.inference_mode():
        for node in graph.nodes:
            if isinstance(node, Input):
                tensors[node.name] = torch.as_tensor(
                    np.ascontiguousarray(images), dtype=dtype
                )
            else:
                tensors[node.name] = _apply(node, [tensors[n] for n in node.inputs])
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _apply(node: Node, inputs: list[Tensor]) -> Tensor:
    """Compute one node."""
    x = inputs[0]
    match node:
        case Conv():
            return _activate(_conv(node, x), node.activation)
        case Linear():
            return _activate(
                F.linear(x, _like(node.weight, x), _like(node.bias, x)), node.activation
            )
        case Add():
            return _activate(x + inputs[1], node.activation)
        case BatchNorm():
            factor = node.scale / np.sqrt(node.variance + node.eps)
            offset = node.shift - node.mean * factor
            return x * _per_channel(factor, x) + _per_channel(offset, x)
        case Relu():
            return x.relu()
        case Relu6():
            return x.clamp(0, 6)
        case SpatialMean():
            mask = _like(node.mask, x)
            return (x * mask).sum((2, 3), keepdim=True) / mask.sum()
        case Mask():
            return x * _like(node.mask, x)
        case AveragePool():
            return F.avg_pool2d(_padded(x, node.padding, 0.0), node.kernel, node.stride)
        case MaxPool():
            padded = _padded(x, node.padding, float("-inf"))
            return F.max_pool2d(padded, node.kernel, node.stride)
        case OrbitMax():
            return x.reshape(len(x), -1, node.block, *x.shape[2:]).amax(2)
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
        groups=node.groups,
    )


def _padded(x: Tensor, padding: Padding, value: float) -> Tensor:
    """Add the borders."""
    if padding == Padding():
        return x
    sides = (padding.left, padding.right, padding.top, padding.bottom)
    return F.pad(x, sides, value=value)


def _activate(x: Tensor, activation: Activation) -> Tensor:
    """Clip to what the activation lets through."""
    if activation is Activation.NONE:
        return x
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
