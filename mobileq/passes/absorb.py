"""High-bias absorption: move what a channel always holds into the layer after it.

    b1' = b1 - c,   b2' = b2 + W2 c,   c_i = max(0, beta_i - 3 gamma_i)

DFQ (arXiv:1906.04721), section 4.1.3, equations 12 to 15. For x > c > 0 is relu(x) =
relu(x - c) + c; under N(beta, gamma^2) that fails for 0.13 % of the values, so the pass
preserves the function nearly, not exactly. It takes away the large biases that
equalization leaves behind, and with them the range of activations.

Where a tensor has no activation, x = (x - c) + c for any c, and the function is
preserved exactly. With `centre`, such channels are moved by their whole mean: the range
of the tensor, a union over its channels, becomes as narrow as their deviations allow.

Zero padding: a padded zero stays zero where the tensor around it moved by c, so at the
border W2 c is wrong. Therefore nothing is absorbed by a convolution that pads, nor
through a Mask. A shift goes through pools without padding, orbit maxima and sums up to
every convolution that reads it; if one of these cannot take it, none of it is moved.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.base import NO_PADDING
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Cap,
    Conv,
    Flatten,
    Linear,
    MaxPool,
    Node,
    OrbitMax,
    SpatialMean,
)
from mobileq.graph.pools import Copies
from mobileq.passes.scaling import input_columns
from mobileq.passes.snap import with_bias

Shift = NDArray[np.float64]

SHARE_OF_CAP = 0.999
"""Most of a Cap's bound that may be absorbed; the bound moves down with the channel and
must stay positive."""


def absorb(graph: Graph, *, sigmas: float = 3.0, centre: bool = True) -> Graph:
    """Absorb high biases wherever every reader can take them.

    Args:
        graph: Without BatchNorm, orbits snapped. Layers without statistics stay.
        sigmas: A rectified channel gives away its mean less so many deviations.
        centre: Whether channels without activation give away their whole mean.
    """
    for name in [node.name for node in graph.nodes]:
        node = graph[name]
        if isinstance(node, Conv | Linear) and node.statistics is not None:
            shift = _wanted(graph, node, sigmas, centre)
            if shift.any():
                graph = _moved(graph, node, shift)
    return graph


def _wanted(graph: Graph, node: Conv | Linear, sigmas: float, centre: bool) -> Shift:
    """(C,) what a layer would give away."""
    statistics = node.statistics
    assert statistics is not None
    if node.activation is Activation.NONE:
        return statistics.mean if centre else np.zeros_like(statistics.mean)
    if node.activation is not Activation.RELU:
        return np.zeros_like(statistics.mean)
    shift = np.maximum(statistics.mean - sigmas * statistics.std, 0.0)
    for reader in graph.consumers(node.name):
        if isinstance(reader, Cap):
            shift = np.minimum(shift, SHARE_OF_CAP * reader.high)
    return shift


def _moved(graph: Graph, node: Conv | Linear, shift: Shift) -> Graph:
    """The graph with one layer's shift moved to its readers; itself if that fails."""
    shifts: dict[str, Shift] = {node.name: shift}
    changes: dict[str, Node] = {node.name: _lowered(node, shift)}
    for reader in graph.nodes:
        arriving = [shifts[name] for name in reader.inputs if name in shifts]
        if not arriving:
            continue
        if isinstance(reader, Conv | Linear) and reader.name != node.name:
            if isinstance(reader, Conv) and reader.padding != NO_PADDING:
                return graph
            changes[reader.name] = _raised(reader, arriving[0])
            continue
        passed = _passed(reader, arriving)
        if passed is None:
            return graph
        shifts[reader.name] = passed
        if isinstance(reader, Cap):
            changes[reader.name] = replace(reader, high=reader.high - passed)
    if graph.output in shifts:
        return graph
    return graph.replaced(changes)


def _lowered(node: Conv | Linear, shift: Shift) -> Node:
    """The layer that makes x - shift."""
    assert node.statistics is not None
    statistics = replace(node.statistics, mean=node.statistics.mean - shift)
    return replace(node, bias=node.bias - shift, statistics=statistics)


def _raised(node: Conv | Linear, shift: Shift) -> Node:
    """The layer that reads x - shift and makes the same as before."""
    taps = node.weight.reshape(*node.weight.shape[:2], -1).sum(axis=2)
    return with_bias(node, node.bias + (taps * input_columns(node, shift)).sum(axis=1))


def _passed(node: Node, arriving: list[Shift]) -> Shift | None:
    """How a shift leaves a node without weights; None if it cannot pass."""
    match node:
        case Add(activation=Activation.NONE):
            return np.asarray(sum(arriving))
        case MaxPool() | AveragePool() if node.padding == NO_PADDING:
            return arriving[0]
        case OrbitMax():
            # A maximum is shifted only by what all of an orbit are shifted by.
            orbits = arriving[0].reshape(-1, node.block)
            return orbits[:, 0] if (orbits == orbits[:, :1]).all() else None
        case Cap() if (arriving[0] < node.high).all():
            return arriving[0]
        case SpatialMean() | Flatten() | Copies():
            return arriving[0]
    return None
