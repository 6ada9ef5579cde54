"""How much noise in each channel of each tensor disturbs what reads it.

With w2[o, i] the sum over taps of W[o, i]^2, noise of variance n_i in channel i of a
layer's input makes noise of variance sum_i w2[o, i] n_i in its output channel o. The
importance of a channel is that noise, as a share of the variance that the layer's
outputs have anyway, each weighted with its own importance:

    g_o = importance_o / sum_o importance_o var_o,   importance_i = sum_o g_o w2[o, i]

and the sum of it over all readers. Starting at the logits, whose channels count alike,
it is found from the last node to the first. Channels are taken as independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.graph import Graph
from mobileq.graph.moments import Moments
from mobileq.graph.nodes import Concat, Conv, Linear, Mul, OrbitMax
from mobileq.passes.scaling import input_columns

TINY = 1e-30
"""In place of a variance of zero."""


@dataclass(frozen=True, eq=False)
class Importance:
    """Weights of noise variances.

    Attributes:
        of: (C,) importance of each channel, by tensor name.
        share: (O,) g_o of each Conv and Linear, by name: noise of variance n in its
            output channel o counts g_o n.
    """

    of: Mapping[str, NDArray[np.float64]]
    share: Mapping[str, NDArray[np.float64]]


def importance(graph: Graph, moments: Moments) -> Importance:
    """Importance of all channels of a graph.

    Args:
        graph: Without BatchNorm.
        moments: Its statistics.
    """
    of = {n.name: np.zeros(graph.shapes[n.name][0]) for n in graph.nodes}
    of[graph.output] += 1.0
    share: dict[str, NDArray[np.float64]] = {}
    for node in reversed(graph.nodes):
        own = of[node.name]
        if isinstance(node, Conv | Linear):
            variance = moments.before[node.name].std ** 2
            share[node.name] = own / max(float((own * variance).sum()), TINY)
            of[node.inputs[0]] += _passed_up(graph, node, share[node.name])
            continue
        for name in node.inputs:
            if isinstance(node, Concat):
                of[name] += own[: len(of[name])]
                own = own[len(of[name]) :]
            elif isinstance(node, OrbitMax):
                # One channel of the orbit is the largest, each as often as another.
                of[name] += np.repeat(own, node.block) / node.block
            elif isinstance(node, Mul):
                first, second = node.inputs
                other = moments.after[second if name == first else first]
                of[name] += own * (other.mean**2 + other.std**2)
            else:
                of[name] += own
    return Importance(of, share)


def _passed_up(
    graph: Graph, node: Conv | Linear, share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(I,) importance of a layer's input channels."""
    squares = node.weight.reshape(*node.weight.shape[:2], -1) ** 2
    parts = squares.sum(axis=2) * share[:, None]
    channels = graph.shapes[node.inputs[0]][0]
    if parts.shape[1] == channels:
        return np.asarray(parts.sum(axis=0))
    read = input_columns(node, np.arange(channels))
    sums = np.bincount(read.ravel(), parts.ravel(), channels)
    return np.asarray(sums, np.float64)
