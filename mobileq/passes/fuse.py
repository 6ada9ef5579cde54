"""Fuse each activation into the layer before it.

    y = relu(W x + b)   as one node

Preserves the function exactly. It is what every runtime does; doing it here means that
the tensor between the two does not exist and needs no range. The fused node takes the
name of the activation, because it makes that tensor.
"""

from __future__ import annotations

from dataclasses import replace

from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, Add, Conv, Linear, Relu, Relu6


def fuse_activations(graph: Graph) -> Graph:
    """Fuse where nothing else reads the layer; leave other activations as they are."""
    for node in graph.nodes:
        if isinstance(node, Relu | Relu6):
            layer = graph[node.inputs[0]]
            if (
                isinstance(layer, Conv | Linear | Add)
                and layer.activation is Activation.NONE
                and graph.only_consumer(layer.name) is graph[node.name]
            ):
                kind = Activation.RELU if isinstance(node, Relu) else Activation.RELU6
                fused = replace(layer, name=node.name, activation=kind)
                graph = graph.without([node.name]).replaced({layer.name: fused})
    return graph
