"""Which channels of which tensors must be scaled by one common factor.

A tensor T may be replaced by T / s (s > 0, per channel) if whatever makes it divides by
s and whatever reads it multiplies by s. A convolution does both with its weights. A
node that acts on each channel alone and satisfies f(s x) = s f(x) (ReLU, Cap, Mask,
pools) only hands the factor on; a sum needs the same factor on both inputs and its
output; an orbit maximum the same factor on all channels of an orbit; a product hands
on none. All channels of a
field block have one factor, because a factor of its own for each would break the
symmetry.

The channels of all tensors are the nodes of an undirected graph whose edges are these
equalities; its connected components are the *classes*. This holds for chains, depthwise
and grouped convolutions and residual joins alike. A class that holds a channel of the
image, of the network's output or of a ReLU6 is fixed: its factor is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mobileq.graph.graph import Graph
from mobileq.graph.moments import activation_of
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Cap,
    Concat,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    Relu,
    SoftMask,
)
from mobileq.graph.pools import Copies

Labels = NDArray[np.int64]

PASSES_ON = (
    *(Add, AveragePool, Cap, Concat, Flatten, Mask, MaxPool, OrbitMax, Relu),
    *(SoftMask, Copies),
)
"""Nodes (SpatialMean is a Mask) whose output has the factors of their inputs."""


@dataclass(frozen=True, eq=False)
class ScaleClasses:
    """Channels that share a factor.

    Attributes:
        of: (C,) class of each channel, by tensor name.
        free: (classes,) whether the class may have another factor than 1.
    """

    of: Mapping[str, Labels]
    free: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.free)


def scale_classes(graph: Graph) -> ScaleClasses:
    """Find the classes of a graph without BatchNorm.

    Args:
        graph: At stage FOLDED or later.
    """
    offsets: dict[str, int] = {}
    total = 0
    for node in graph.nodes:
        offsets[node.name] = total
        total += graph.shapes[node.name][0]
    channel = {
        name: start + np.arange(graph.shapes[name][0])
        for name, start in offsets.items()
    }
    pairs = [pair for node in graph.nodes for pair in _equal(graph, node, channel)]
    left = np.concatenate([np.broadcast_to(a, b.shape) for a, b in pairs])
    right = np.concatenate([b for _, b in pairs])
    edges = coo_array((np.ones(len(left), np.int8), (left, right)), (total, total))
    count, label = connected_components(edges, directed=False)
    of = {name: label[indices].astype(np.int64) for name, indices in channel.items()}
    free = np.ones(count, bool)
    free[of[graph.output]] = False
    for node in graph.nodes:
        for name in _fixed(node):
            free[of[name]] = False
    return ScaleClasses(of, free)


def _equal(
    graph: Graph, node: Node, channel: Mapping[str, Labels]
) -> list[tuple[Labels, Labels]]:
    """Pairs of channels that must have one factor because of one node."""
    own = channel[node.name]
    block = graph.fields(node.name).block
    # Each channel with the first one of its block.
    first = np.unique(block, return_index=True)[1]
    pairs = [(own[first[block]], own)]
    if isinstance(node, Concat):
        sources = np.concatenate([channel[name] for name in node.inputs])
        pairs.append((own, sources))
    elif isinstance(node, PASSES_ON):
        for name in node.inputs:
            # An orbit maximum reads several channels for each that it makes.
            repeats = len(channel[name]) // len(own)
            pairs.append((np.repeat(own, repeats), channel[name]))
    return pairs


def _fixed(node: Node) -> tuple[str, ...]:
    """Tensors that cannot be scaled because of one node."""
    if isinstance(node, Input):
        return (node.name,)
    if activation_of(node) is Activation.RELU6:
        layer = isinstance(node, Conv | Linear)
        return (node.name,) if layer else (node.name, *node.inputs)
    if not isinstance(node, (Conv, Linear, *PASSES_ON)):
        return (node.name, *node.inputs)
    return ()


def scaled(graph: Graph, classes: ScaleClasses, factors: NDArray[np.float64]) -> Graph:
    """Divide every tensor by the factors of its channels.

    Args:
        graph: As given to `scale_classes`.
        classes: Of this graph.
        factors: (classes,), positive, 1 where the class is not free.
    """
    of = {name: factors[labels] for name, labels in classes.of.items()}
    return graph.replaced({n.name: _divided(n, of) for n in graph.nodes})


def _divided(node: Node, of: Mapping[str, NDArray[np.float64]]) -> Node:
    """One node that reads and makes scaled tensors."""
    made = of[node.name]
    if isinstance(node, Cap):
        return replace(node, high=node.high / made)
    if not isinstance(node, Conv | Linear):
        return node
    read = input_columns(node, of[node.inputs[0]])
    shape = (*read.shape, *[1] * (node.weight.ndim - 2))
    weight = node.weight * (read / made[:, None]).reshape(shape)
    statistics = node.statistics
    if statistics is not None:
        statistics = replace(
            statistics, mean=statistics.mean / made, std=statistics.std / made
        )
    return replace(node, weight=weight, bias=node.bias / made, statistics=statistics)


def input_columns(node: Conv | Linear, values: NDArray[np.generic]) -> NDArray[Any]:
    """Spread a value per input channel over the weight's first two axes.

    Args:
        node: The layer, maybe grouped or depthwise.
        values: (I,) one value per channel of its input.

    Returns:
        (O, I / groups): for each output channel the values of the channels it reads.
    """
    if isinstance(node, Linear) or node.groups == 1:
        return np.broadcast_to(values, node.weight.shape[:2])
    per_group = node.weight.shape[1]
    group = np.arange(len(node.weight)) // (len(node.weight) // node.groups)
    return values[group[:, None] * per_group + np.arange(per_group)]
