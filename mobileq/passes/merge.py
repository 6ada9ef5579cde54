"""Merge two pointwise convolutions that have nothing between them.

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)

The tensor between them disappears, and with it its rounding. In MobileNetV2 that is the
first bottleneck, whose few channels at the second finest grid cost more accuracy than
any other tensor of 8 bit. Preserves the function: it is the distributive law.

A product of thin matrices is larger than both, so a merge must not add more than a
small share of the network's multiply-adds. Orbits of the product are tied again, since
their sums were taken in another order.
"""

from __future__ import annotations

from dataclasses import replace

from mobileq.graph.base import NO_PADDING
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, Conv, Node
from mobileq.passes.snap import snap_orbits

LARGEST_COST = 0.05
"""Most multiply-adds that one merge may add, as a share of the network's."""


def merge_pointwise(graph: Graph) -> Graph:
    """Merge every linear pointwise convolution into the one that alone reads it.

    Args:
        graph: Without BatchNorm, orbits snapped, activations fused.
    """
    allowed = LARGEST_COST * graph.multiply_adds
    merged = graph
    for node in graph.nodes:
        reader = merged.only_consumer(node.name) if node.name in merged else None
        if reader is None or not _linear_pointwise(merged[node.name]):
            continue
        first = merged[node.name]
        assert isinstance(first, Conv)
        if isinstance(reader, Conv) and _pointwise(reader):
            product = _product(first, reader)
            changed = merged.replaced({reader.name: product}).without([first.name])
            if changed.multiply_adds - merged.multiply_adds <= allowed:
                merged = changed
    return snap_orbits(merged) if merged is not graph else graph


def _pointwise(node: Node) -> bool:
    """Whether a node is a dense 1x1 convolution at every point of the grid."""
    return (
        isinstance(node, Conv)
        and node.weight.shape[2:] == (1, 1)
        and node.groups == 1
        and node.stride == 1
        and node.padding == NO_PADDING
    )


def _linear_pointwise(node: Node) -> bool:
    """The same, without activation."""
    return (
        isinstance(node, Conv)
        and _pointwise(node)
        and node.activation is Activation.NONE
    )


def _product(first: Conv, second: Conv) -> Conv:
    """One convolution that does what both do; its result's statistics stay."""
    left, right = second.weight[:, :, 0, 0], first.weight[:, :, 0, 0]
    return replace(
        second,
        inputs=first.inputs,
        weight=(left @ right)[:, :, None, None],
        bias=left @ first.bias + second.bias,
    )
