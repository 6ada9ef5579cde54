"""Write average pooling as a depthwise convolution with constant weights.

    mean over a mask M:   W[c] = M / |M|
    window of k x k:      W[c] = 1 / k^2

Preserves the function. ONNX Runtime's integer average pooling is not exact under
rotation (it rounds partial sums), a convolution is, on every runtime.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.graph import Graph
from mobileq.graph.moments import tensor_statistics
from mobileq.graph.nodes import AveragePool, Conv, Node, Padding, SpatialMean


def pools_to_convolutions(graph: Graph) -> Graph:
    """Rewrite every SpatialMean and AveragePool."""
    statistics = tensor_statistics(graph)
    changes: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node, SpatialMean | AveragePool):
            conv = _as_convolution(graph, node)
            # The mean of values that vary together varies as much as each of them.
            changes[node.name] = replace(conv, statistics=statistics[node.inputs[0]])
    return graph.replaced(changes)


def _as_convolution(graph: Graph, node: SpatialMean | AveragePool) -> Conv:
    """The convolution that computes one pool."""
    channels = graph.shapes[node.inputs[0]][0]
    if isinstance(node, SpatialMean):
        window: NDArray[np.float64] = node.mask / node.mask.sum()
        stride, padding = 1, Padding()
    else:
        window = np.full(node.kernel, 1 / (node.kernel[0] * node.kernel[1]))
        stride, padding = node.stride, node.padding
    return Conv(
        node.name,
        node.inputs,
        np.broadcast_to(window, (channels, 1, *window.shape)),
        np.zeros(channels),
        graph.fields(node.inputs[0]),
        stride=stride,
        padding=padding,
        groups=channels,
    )
