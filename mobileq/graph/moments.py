"""Mean and deviation of every tensor, from BatchNorm statistics alone.

Pre-activations are taken as normal and independent (DFQ, arXiv:1906.04721, section
4.2). Where a convolution carries statistics they are used; elsewhere moments are
propagated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from mobileq.graph.curves import Curve
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Cap,
    Concat,
    Conv,
    Input,
    Linear,
    Mul,
    Node,
    OrbitMax,
    Relu,
    Relu6,
)
from mobileq.graph.statistics import Statistics


def pre_activation(node: Conv | Linear, above: Statistics) -> Statistics:
    """Statistics of a layer's result before its activation.

    Args:
        node: The layer; its own statistics win.
        above: Statistics of its input.
    """
    if node.statistics is not None:
        return node.statistics
    weight = node.weight.reshape(len(node.weight), -1)
    mean, variance = above.mean, above.std**2
    if isinstance(node, Conv):
        # One row per output channel: the input channels that it sees, once per tap.
        taps = int(np.prod(node.weight.shape[2:]))
        per_group = node.weight.shape[1]
        group = np.arange(len(weight)) // (len(weight) // node.groups)
        seen = group[:, None] * per_group + np.arange(per_group)
        mean, variance = (np.repeat(v[seen], taps, axis=1) for v in (mean, variance))
    return Statistics(
        (weight * mean).sum(1) + node.bias, np.sqrt((weight**2 * variance).sum(1))
    )


def activated(statistics: Statistics, activation: Activation) -> Statistics:
    """Statistics after an activation."""
    if activation is Activation.NONE:
        return statistics
    return statistics.clipped(*activation.bounds)


@dataclass(frozen=True, eq=False)
class Moments:
    """Statistics of every tensor, by name.

    Attributes:
        before: Before the node's activation; the same as `after` where it has none.
        after: Of the tensor itself.
    """

    before: Mapping[str, Statistics]
    after: Mapping[str, Statistics]


def propagate(graph: Graph) -> Moments:
    """Statistics of every tensor before and after its activation."""
    before: dict[str, Statistics] = {}
    after: dict[str, Statistics] = {}
    for node in graph.nodes:
        if isinstance(node, Cap):
            before[node.name] = before[node.inputs[0]]
            after[node.name] = _capped(graph, node, before[node.inputs[0]])
            continue
        values = _statistics(node, [after[name] for name in node.inputs])
        before[node.name] = values
        after[node.name] = activated(values, activation_of(node))
    return Moments(before, after)


def tensor_statistics(graph: Graph) -> Mapping[str, Statistics]:
    """Statistics of every tensor, after its activation, by name."""
    return propagate(graph).after


def has_statistics(graph: Graph) -> bool:
    """Whether any layer knows the statistics of its result from BatchNorm."""
    layers = (node for node in graph.nodes if isinstance(node, Conv | Linear))
    return any(node.statistics is not None for node in layers)


def activation_of(node: Node) -> Activation:
    """What is applied to a node's result; a Relu node is nothing else."""
    match node:
        case Conv() | Linear() | Add():
            return node.activation
        case Relu():
            return Activation.RELU
        case Relu6():
            return Activation.RELU6
    return Activation.NONE


def _capped(graph: Graph, node: Cap, before: Statistics) -> Statistics:
    """Statistics of min(x, high), where x may have been rectified or capped before."""
    high, source = node.high, graph[node.inputs[0]]
    while isinstance(source, Cap):
        high, source = np.minimum(high, source.high), graph[source.inputs[0]]
    bottom, top = activation_of(source).bounds
    # Nothing is cut off 40 deviations below the mean.
    low = max(bottom, float((before.mean - 40 * before.std).min()))
    return before.clipped(low, np.minimum(high, top))


def _statistics(node: Node, above: list[Statistics]) -> Statistics:
    """Statistics of one node's tensor before its activation."""
    match node:
        case Input():
            # Any grey level is as likely as another.
            ones = np.ones(node.shape[0])
            middle = (127.5 - node.pixel_zero) * node.pixel_scale
            return Statistics(ones * middle, ones * 256 * node.pixel_scale / 12**0.5)
        case Conv() | Linear():
            return pre_activation(node, above[0])
        case Add():
            return Statistics(
                above[0].mean + above[1].mean, np.hypot(above[0].std, above[1].std)
            )
        case Mul():
            first, second = above
            square = (first.std**2 + first.mean**2) * (second.std**2 + second.mean**2)
            mean = first.mean * second.mean
            return Statistics(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))
        case Concat():
            return Statistics(
                np.concatenate([part.mean for part in above]),
                np.concatenate([part.std for part in above]),
            )
        case Curve():
            return node.moments(above[0])
        case BatchNorm():
            return Statistics(node.shift, np.abs(node.scale))
        case OrbitMax():
            mean = above[0].mean.reshape(-1, node.block).mean(1)
            std = above[0].std.reshape(-1, node.block).mean(1)
            return Statistics(mean + std * expected_maximum(node.block), std)
    return above[0]


def expected_maximum(count: int) -> float:
    """Mean of the largest of `count` independent standard normal values."""
    x = np.linspace(-8, 12, 4001)
    # scipy.stats has both, and takes a second to import.
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    height = x * count * density * ndtr(x) ** (count - 1)
    # By trapezoids; numpy's own function has another name from 2.0 on.
    return float((np.diff(x) * (height[1:] + height[:-1]) / 2).sum())
