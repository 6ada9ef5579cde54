"""A linear layer that reads a flattened grid is a convolution as large as the grid.

    W flatten(x) + b  =  flatten(conv(x, W seen as (O, C, H, W)) + b)

TFLite flattens (H, W, C), torch (C, H, W); a convolution has no such order. It also
keeps what is known of the channels before it.
"""

from __future__ import annotations

from mobileq.errors import UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv, Flatten, Linear, Node


def without_flattened_grids(graph: Graph) -> Graph:
    """Replace linear layers behind the `Flatten` of a grid.

    Raises:
        UnsupportedError: something else than a linear layer reads one.
    """
    flat = {
        node.name: node
        for node in graph.nodes
        if isinstance(node, Flatten) and graph.shapes[node.inputs[0]][1:] != (1, 1)
    }
    nodes: list[Node] = []
    for node in graph.nodes:
        above = next((name for name in node.inputs if name in flat), None)
        if above is not None and isinstance(node, Linear):
            nodes += _convolved(graph, flat[above], node)
        elif above is not None:
            raise _cannot(graph, flat[above], f"{type(node).__name__} {node.name!r}")
        elif node.name not in flat:
            nodes.append(node)
    if graph.output in flat:
        raise _cannot(graph, flat[graph.output], "the output")
    return Graph(tuple(nodes), graph.output)


def _convolved(graph: Graph, flat: Flatten, node: Linear) -> tuple[Conv, Flatten]:
    """A convolution without padding, and the flattening of its only pixel."""
    out = len(node.weight)
    conv = Conv(
        f"{node.name}.grid",
        flat.inputs,
        node.weight.reshape(out, *graph.shapes[flat.inputs[0]]),
        node.bias,
        trivial_fields(out),
    )
    return conv, Flatten(node.name, (conv.name,))


def _cannot(graph: Graph, flat: Flatten, reader: str) -> UnsupportedError:
    """The error for another reader."""
    return UnsupportedError(
        f"{flat.name}: flattens {graph.shapes[flat.inputs[0]]} for {reader}; wanted a "
        f"Linear layer right behind it, or a pool over the grid before it"
    )
