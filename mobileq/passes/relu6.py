"""Make ReLU6 scale with its channels, or take its upper bound away.

    relu6(x) = min(relu(x), 6)

Equalization needs f(s x) = s f(x) for s > 0 (DFQ, arXiv:1906.04721, section 4.1). ReLU
has it, ReLU6 does not, because 6 stays where it is. Two remedies:

    cap       relu6(x) = cap(relu(x), 6), where the cap is a bound per channel that an
              equalization by s_i moves to 6 / s_i. Preserves the function exactly.
    replace   relu6(x) -> relu(x), as the DFQ paper does. Does not preserve the function
              where a pre-activation exceeds 6; saves one operator per layer.

`merge_caps` is the way back: where no channel was rescaled, ReLU and cap are a ReLU6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, Add, Cap, Conv, Linear, Node, Relu, Relu6
from mobileq.quant.affine import QMAX, Affine
from mobileq.quant.fixed_point import cap_bounds
from mobileq.quant.ranges import Range

SIX = Activation.RELU6.bounds[1]

Rewrite = Callable[[Graph, Node], tuple[Node, ...]]


def cap_relu6(graph: Graph) -> Graph:
    """Write every ReLU6, fused or not, as a ReLU and a Cap at 6.

    The Cap takes the name of the node, because it makes that tensor.
    """

    def apart(graph: Graph, node: Node) -> tuple[Node, ...]:
        rectified = _rectified(node)
        if rectified is None:
            return (node,)
        inner = replace(rectified, name=f"{node.name}.uncapped")
        channels = graph.shapes[node.name][0]
        return inner, Cap(node.name, (inner.name,), np.full(channels, SIX))

    return _rewritten(graph, apart)


def replace_relu6(graph: Graph) -> Graph:
    """Write every ReLU6, fused or not, as a ReLU."""
    return _rewritten(graph, lambda _, node: (_rectified(node) or node,))


def merge_caps(graph: Graph) -> Graph:
    """Write every rectified layer and its Cap as one ReLU6 where all bounds are 6."""
    for cap in graph.nodes:
        if not isinstance(cap, Cap) or (cap.high != SIX).any():
            continue
        layer = graph[cap.inputs[0]]
        if graph.only_consumer(layer.name) is not graph[cap.name]:
            continue
        merged: Node | None = None
        if isinstance(layer, Conv | Linear | Add):
            if layer.activation is Activation.RELU:
                merged = replace(layer, name=cap.name, activation=Activation.RELU6)
        elif isinstance(layer, Relu):
            merged = Relu6(cap.name, layer.inputs)
        if merged is not None:
            graph = graph.without([cap.name]).replaced({layer.name: merged})
    return graph


def drop_idle_caps(
    graph: Graph, ranges: Mapping[str, Range], activations: Mapping[str, Affine]
) -> tuple[Graph, dict[str, Range]]:
    """Drop every Cap that no integer exceeds, because 8 bit saturates before.

    Args:
        graph: Deployable.
        ranges: Of each Conv, Linear and Add, by name.
        activations: Affine maps of all tensors.

    Returns:
        The graph and its ranges; a layer takes the name of the Cap that it lost.
    """
    kept = dict(ranges)
    for cap in graph.nodes:
        if not isinstance(cap, Cap):
            continue
        layer = graph[cap.inputs[0]]
        idle = (cap_bounds(cap, activations[cap.name]) == QMAX).all()
        alone = graph.only_consumer(layer.name) is graph[cap.name]
        if idle and alone and layer.name in kept:
            graph = graph.without([cap.name])
            graph = graph.replaced({layer.name: replace(layer, name=cap.name)})
            kept[cap.name] = kept.pop(layer.name)
    return graph, kept


def _rectified(node: Node) -> Node | None:
    """The node with a ReLU in place of its ReLU6; None if it has no ReLU6."""
    if isinstance(node, Relu6):
        return Relu(node.name, node.inputs)
    if isinstance(node, Conv | Linear | Add) and node.activation is Activation.RELU6:
        return replace(node, activation=Activation.RELU)
    return None


def _rewritten(graph: Graph, rewrite: Rewrite) -> Graph:
    """The graph with each node exchanged for some nodes, the last of its name."""
    nodes = tuple(new for node in graph.nodes for new in rewrite(graph, node))
    changed = any(new is not graph[new.name] for new in nodes if new.name in graph)
    return Graph(nodes, graph.output) if changed else graph
