"""Bias correction: take the mean error that rounded weights cause out of the bias.

    E[y~] - E[y] = (W~ - W) E[x],   b' = b - (W~ - W) E[x]

DFQ (arXiv:1906.04721), section 4.2, equations 16 to 20. E[x] is the mean of the layer's
input as it is in the float network: of a normal variable from BatchNorm, clipped by the
activation (appendix C). Rounding errors of the weights are given, not guessed: they are
those of the integer layers that will be written.

With images, the error is measured (arXiv:2106.08295, section 3.4, "empirical"): layer
after layer, each with the integers before it in place and corrected, so that rounded
activations count too.

Does not preserve the float function, which has no such error; the corrected graph is
for quantization alone. At a zero-padded border fewer taps see the input: the mean input
of each tap is weighted with the share of output positions at which it lies on the grid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.execute import activate, steps
from mobileq.graph.graph import Graph
from mobileq.graph.moments import tensor_statistics
from mobileq.graph.nodes import Conv, Linear, Node
from mobileq.passes.scaling import input_columns
from mobileq.passes.snap import with_bias
from mobileq.quant.affine import Affine
from mobileq.quant.pixels import batches
from mobileq.quant.spec import QuantizedLayer, QuantSpec

MOST_IMAGES = 64
"""Images that are computed at once to measure an error."""

_Array = NDArray[np.floating[Any]]


def correct_bias(graph: Graph, layers: Mapping[str, QuantizedLayer]) -> Graph:
    """Correct the bias of every layer whose input's mean is known.

    Args:
        graph: Deployable.
        layers: The integer weights that this graph will get, by name.
    """
    means = {name: s.mean for name, s in tensor_statistics(graph).items()}
    changes: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node, Conv | Linear):
            error = layers[node.name].dequantized - node.weight
            taps = error * _coverage(graph, node)
            sums = taps.reshape(*node.weight.shape[:2], -1).sum(axis=2)
            mean_error = (sums * input_columns(node, means[node.inputs[0]])).sum(axis=1)
            changes[node.name] = with_bias(node, node.bias - mean_error)
    return graph.replaced(changes)


def correct_bias_on_images(
    graph: Graph, spec: QuantSpec, pixels: NDArray[np.uint8]
) -> Graph:
    """Correct the bias of every layer by its mean error on images.

    Args:
        graph: Deployable.
        spec: The integers that this graph will get.
        pixels: (N, H, W, C) uint8; at most `MOST_IMAGES` are used, evenly spaced.

    Raises:
        DataError: the images do not fit the input.
    """
    chosen = pixels[:: max(1, -(-len(pixels) // MOST_IMAGES))]
    images = np.concatenate(list(batches(graph, chosen)))
    wanted: dict[str, NDArray[np.float64]] = {}
    for step in steps(graph, images):
        if isinstance(step.node, Conv | Linear):
            wanted[step.node.name] = _channel_means(step.before)
    changes: dict[str, Node] = {}

    def finish(node: Node, before: _Array) -> _Array:
        if isinstance(node, Conv | Linear):
            error = _channel_means(before) - wanted[node.name]
            # Orbits err differently on images that are not symmetric; their biases
            # stay tied, here as in the integers.
            tied = with_bias(node, node.bias - error)
            changes[node.name] = replace(tied, weight=_layer(graph, node.name).weight)
            moved = (tied.bias - node.bias).astype(before.dtype)
            before = before + moved.reshape(-1, *[1] * (before.ndim - 2))
        return _rounded(activate(node, before), spec.activations[node.name])

    # Every step is taken for what `finish` does on the way.
    deque(steps(_with_integers(graph, spec), images, finish=finish), maxlen=0)
    return graph.replaced(changes)


def _layer(graph: Graph, name: str) -> Conv | Linear:
    """A node that is known to be a layer."""
    node = graph[name]
    assert isinstance(node, Conv | Linear)
    return node


def _with_integers(graph: Graph, spec: QuantSpec) -> Graph:
    """The graph with the real values of the integer weights; biases stay."""
    changes: dict[str, Node] = {
        node.name: replace(node, weight=spec.layers[node.name].dequantized)
        for node in graph.nodes
        if isinstance(node, Conv | Linear)
    }
    return graph.replaced(changes)


def _channel_means(values: _Array) -> NDArray[np.float64]:
    """(C,) means over images and grid of (B, C, ...)."""
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    return np.asarray(values.mean(axes, dtype=np.float64))


def _rounded(values: _Array, affine: Affine) -> _Array:
    """Values as they are after quantization."""
    return affine.dequantize(affine.quantize(values)).astype(values.dtype)


def _coverage(graph: Graph, node: Conv | Linear) -> NDArray[np.float64]:
    """Share of output positions at which a tap lies on the grid, (kh, kw) or 1."""
    if isinstance(node, Linear):
        return np.ones(())
    padding, (_, height, width) = node.padding, graph.shapes[node.inputs[0]]
    _, rows, columns = graph.shapes[node.name]
    sides = (
        (rows, node.weight.shape[2], padding.top, height),
        (columns, node.weight.shape[3], padding.left, width),
    )
    shares = []
    for count, taps, before, size in sides:
        at = np.arange(count)[:, None] * node.stride - before
        at = at + np.arange(taps) * node.dilation
        shares.append(((at >= 0) & (at < size)).mean(axis=0))
    return np.asarray(np.multiply.outer(*shares))
