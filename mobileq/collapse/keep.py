"""What is left of the group behind plain torch layers, and where fields do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mobileq.errors import SymmetryError
from mobileq.graph.base import NO_PADDING
from mobileq.graph.fields import NO_GROUP, FieldBlocks, without_action
from mobileq.graph.graph import Graph, after_linear
from mobileq.graph.nodes import Conv
from mobileq.graph.symmetry import filter_sources

_ROUNDING = 1e-6
"""Of a filter that was computed in float32, relative to its largest weight."""


def keep_symmetry(graph: Graph) -> Graph:
    """Give convolutions the fields that they really keep.

    - Plain 1x1 ones behind the orbit pool know nothing of the group, but on channels
      that it leaves alone they need not.
    - Plain depthwise ones whose filter is the same for all channels of an orbit, and
      symmetric, keep the fields of their input: blurs, scales.
    - Behind fields that are no permutations (irreducible ones), nothing is exact.
    """
    for name in [node.name for node in graph.nodes]:
        node = graph[name]
        if isinstance(node, Conv):
            fields = _kept(node, graph.fields(node.inputs[0]))
            if fields is not node.fields:
                graph = graph.replaced({name: replace(node, fields=fields)})
    return graph


def _kept(node: Conv, above: FieldBlocks) -> FieldBlocks:
    """Fields of one convolution's output."""
    if node.fields.group != NO_GROUP:
        fits = node.fields.motions == above.motions
        return node.fields if fits else without_action(node.fields)
    out = len(node.weight)
    pointwise = (node.weight.shape[2:], node.stride) == ((1, 1), 1)
    if pointwise and node.groups == 1 and node.padding == NO_PADDING:
        return after_linear(above, out)
    if node.groups == out == above.channels and _commutes(node, above):
        return above
    return node.fields


def _commutes(node: Conv, above: FieldBlocks) -> bool:
    """Whether a depthwise convolution treats all channels of an orbit alike."""
    claimed = replace(node, fields=above)
    try:
        sources = filter_sources(claimed, above)
    except SymmetryError:
        return False
    flat, bound = node.weight.ravel(), _ROUNDING * np.abs(node.weight).max(initial=0)
    moved = max((np.abs(flat[s] - flat).max() for s in sources), default=0.0)
    # All channels of a block, not only of the exact subgroup's orbits.
    first = np.unique(above.block, return_index=True)[1][above.block]
    alike = np.abs(node.weight - node.weight[first]).max(initial=0) <= bound
    return bool(alike and moved <= bound and (node.bias == node.bias[first]).all())
