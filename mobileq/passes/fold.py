"""Fold BatchNorm into the convolution before it.

    W' = gamma / sqrt(var + eps) * W
    b' = beta + gamma / sqrt(var + eps) * (b - mean)

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2. Preserves the function. The
folded convolution keeps mean beta and standard deviation |gamma| of its result, which
is all that the data-free passes know of the data (DFQ, arXiv:1906.04721, section 4.2).

The folded node takes the name of the BatchNorm, because it makes that tensor.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mobileq.errors import UnsupportedError
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, BatchNorm, Conv
from mobileq.graph.statistics import Statistics


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold every BatchNorm.

    Raises:
        UnsupportedError: one does not follow a convolution that nothing else reads.
    """
    for node in graph.nodes:
        if isinstance(node, BatchNorm):
            graph = _fold_one(graph, node)
    return graph


def _fold_one(graph: Graph, norm: BatchNorm) -> Graph:
    """Fold one BatchNorm."""
    conv = graph[norm.inputs[0]]
    if (
        not isinstance(conv, Conv)
        or graph.only_consumer(conv.name) is not graph[norm.name]
        or conv.activation is not Activation.NONE
    ):
        raise UnsupportedError(
            f"{norm.name}: BatchNorm after {type(conv).__name__} {conv.name!r}; wanted "
            f"it right after a convolution that nothing else reads"
        )
    factor = norm.scale / np.sqrt(norm.variance + norm.eps)
    folded = replace(
        conv,
        name=norm.name,
        weight=conv.weight * factor[:, None, None, None],
        bias=norm.shift + (conv.bias - norm.mean) * factor,
        statistics=Statistics(norm.shift, np.abs(norm.scale)),
    )
    return graph.without([norm.name]).replaced({conv.name: folded})
