"""Fold BatchNorm into the convolution or linear layer before it.

    W' = gamma / sqrt(var + eps) * W
    b' = beta + gamma / sqrt(var + eps) * (b - mean)

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2. Preserves the function. The
folded convolution keeps mean beta and standard deviation |gamma| of its result, which
is all that the data-free passes know of the data (DFQ, arXiv:1906.04721, section 4.2).

Where there is no such layer (before a residual branch, say), the BatchNorm becomes a
depthwise convolution of one tap.

The folded node takes the name of the BatchNorm, because it makes that tensor.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, BatchNorm, Conv, Linear
from mobileq.graph.statistics import Statistics


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold every BatchNorm; one that follows something else becomes a convolution."""
    for node in graph.nodes:
        if isinstance(node, BatchNorm):
            graph = _fold_one(graph, node)
    return graph


def _fold_one(graph: Graph, norm: BatchNorm) -> Graph:
    """Fold one BatchNorm."""
    layer = graph[norm.inputs[0]]
    factor = norm.scale / np.sqrt(norm.variance + norm.eps)
    statistics = Statistics(norm.shift, np.abs(norm.scale))
    if (
        not isinstance(layer, Conv | Linear)
        or graph.only_consumer(layer.name) is not graph[norm.name]
        or layer.activation is not Activation.NONE
    ):
        bias = norm.shift - norm.mean * factor
        return graph.replaced(
            {norm.name: _alone(graph, norm, factor, bias, statistics)}
        )
    folded = replace(
        layer,
        name=norm.name,
        weight=layer.weight * factor.reshape(-1, *[1] * (layer.weight.ndim - 1)),
        bias=norm.shift + (layer.bias - norm.mean) * factor,
        statistics=statistics,
    )
    return graph.without([norm.name]).replaced({layer.name: folded})


def _alone(
    graph: Graph,
    norm: BatchNorm,
    factor: NDArray[np.float64],
    bias: NDArray[np.float64],
    statistics: Statistics,
) -> Conv | Linear:
    """A layer that only scales and shifts each channel."""
    if len(graph.shapes[norm.name]) == 1:
        weight = np.diag(factor)
        return Linear(norm.name, norm.inputs, weight, bias, statistics=statistics)
    return Conv(
        norm.name,
        norm.inputs,
        factor[:, None, None, None],
        bias,
        graph.fields(norm.inputs[0]),
        groups=len(factor),
        statistics=statistics,
    )
