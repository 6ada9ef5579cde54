"""Whether the geometry of a graph lets its exact symmetry through."""

from __future__ import annotations

import numpy as np

from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    AveragePool,
    Conv,
    Flatten,
    Linear,
    Mask,
    MaxPool,
    Node,
    Pad,
    SoftMask,
)


def asymmetry(graph: Graph) -> str | None:
    """Why turning the image may change the output, or None if it may not.

    Weights are the business of `passes.snap`; this looks at grids, paddings, masks and
    at what is left of the group at the output.
    """
    if not graph.input.fields.generators:
        return f"{graph.input.fields.group} has no rotation or mirror image of the grid"
    if len(set(graph.input.shape[1:])) != 1:
        return f"the input is {graph.input.shape[1:]}, not square"
    for node in graph.nodes:
        reason = _uneven(graph, node)
        if reason is not None:
            return f"{type(node).__name__} {node.name!r}: {reason}"
    fields = graph.fields(graph.output)
    order = np.arange(fields.channels)
    if not fields.generators or any(
        (g.source != order).any() for g in fields.generators
    ):
        return f"the logits of {graph.output!r} are not pooled over the orbit"
    return None


def _uneven(graph: Graph, node: Node) -> str | None:
    """What about one node treats two sides of the grid differently."""
    if isinstance(node, Conv | AveragePool | MaxPool):
        kernel = node.window if isinstance(node, Conv) else node.kernel
        size = graph.shapes[node.inputs[0]][1]
        span = size + node.padding.top + node.padding.bottom - kernel[0]
        if not node.padding.symmetric or kernel[0] != kernel[1]:
            return f"padding {node.padding} and kernel {kernel} are not symmetric"
        if span % node.stride:
            return (
                f"stride {node.stride} on {size} points leaves {span % node.stride} "
                f"over, so the turned grid is sampled elsewhere"
            )
    if isinstance(node, Pad) and not node.padding.symmetric:
        return f"padding {node.padding} is not symmetric"
    if isinstance(node, Mask | SoftMask):
        mask = node.mask
        if not (
            np.array_equal(mask, np.rot90(mask)) and np.array_equal(mask, mask[:, ::-1])
        ):
            return "the mask is not symmetric"
    if isinstance(node, Linear | Flatten) and not graph.fields(node.name).generators:
        return "a linear layer reads channels that the group permutes"
    return None
