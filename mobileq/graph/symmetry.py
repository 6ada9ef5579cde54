"""How the exact subgroup acts on the filter of a convolution.

An element g acts on a filter W (OIHW) by

    (g W)[o, i] = turn(W[source_out(o), source_in(i)])

and a convolution commutes with the group if g W = W and its sampling is symmetric.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import SymmetryError
from mobileq.graph.fields import FieldBlocks, Generator
from mobileq.graph.nodes import Conv


def filter_sources(node: Conv, above: FieldBlocks) -> list[NDArray[np.int64]]:
    """For each generator, the flat index that each weight takes its value from.

    Args:
        node: The convolution, whose fields have generators.
        above: Fields of its input.

    Returns:
        One (O * I / groups * kh * kw,) permutation per generator of the output fields.

    Raises:
        SymmetryError: the output claims a symmetry that the input does not have, or an
            element moves a channel out of its convolution group.
    """
    if above.motions != node.fields.motions:
        raise SymmetryError(
            f"Conv {node.name!r}: output fields of {node.fields.group} on input fields "
            f"of {above.group}; wanted the same group"
        )
    pairs = zip(node.fields.generators, above.generators, strict=True)
    return [_sources(node, g_out, g_in) for g_out, g_in in pairs]


def _sources(node: Conv, g_out: Generator, g_in: Generator) -> NDArray[np.int64]:
    """The permutation of one generator."""
    out_channels, per_group = node.weight.shape[:2]
    outputs_per_group = out_channels // node.groups
    group = np.arange(out_channels) // outputs_per_group
    channel = group[:, None] * per_group + np.arange(per_group)
    first = (g_out.source // outputs_per_group) * per_group
    local = g_in.source[channel] - first[:, None]
    if local.min() < 0 or local.max() >= per_group:
        raise SymmetryError(
            f"Conv {node.name!r}: the group moves a channel out of its convolution "
            f"group ({node.groups} groups); wanted whole blocks inside a group"
        )
    indices = np.arange(node.weight.size).reshape(node.weight.shape)
    taken = indices[g_out.source[:, None], local]
    return np.asarray(g_out.move(taken), np.int64).ravel()
