"""What is legal at each stage of a graph.

COLLAPSED    as lowered: BatchNorm and activations are nodes of their own
FOLDED       no BatchNorm
SNAPPED      also: weights of an orbit are bit-identical
DEPLOYABLE   also: activations fused, pools over windows written as convolutions;
what the writers and the simulator take
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from mobileq.errors import GraphError
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    Node,
    SpatialMean,
)
from mobileq.graph.symmetry import filter_sources


class Stage(IntEnum):
    """Stages in the order in which a graph passes through them."""

    COLLAPSED = 0
    FOLDED = 1
    SNAPPED = 2
    DEPLOYABLE = 3


def check(graph: Graph, stage: Stage) -> Graph:
    """Return `graph` if it is legal at `stage`.

    Raises:
        GraphError: naming the first node that is not.
        SymmetryError: the fields of a convolution do not fit those of its input.
    """
    for node in graph.nodes:
        if isinstance(node, Conv | Linear):
            _check_finite(node)
        if stage >= Stage.FOLDED and isinstance(node, BatchNorm):
            raise GraphError(
                f"BatchNorm {node.name!r} at stage {stage.name}; wanted it folded into "
                f"a convolution before it"
            )
        if stage >= Stage.SNAPPED and isinstance(node, Conv):
            _check_snapped(graph, node)
        if stage >= Stage.DEPLOYABLE and isinstance(node, SpatialMean | AveragePool):
            raise GraphError(
                f"{type(node).__name__} {node.name!r} at stage {stage.name}; wanted a "
                f"convolution with constant weights"
            )
        if isinstance(node, Flatten) and graph.shapes[node.inputs[0]][1:] != (1, 1):
            raise GraphError(
                f"Flatten {node.name!r} of {graph.shapes[node.inputs[0]]}; wanted "
                f"(C, 1, 1) (pool over the grid first)"
            )
    return graph


def _check_snapped(graph: Graph, node: Conv) -> None:
    """Check that the weights of every orbit are bit-identical.

    Raises:
        GraphError: two of them differ.
    """
    if not node.fields.generators:
        return
    sources = filter_sources(node, graph.fields(node.inputs[0]))
    flat = node.weight.ravel()
    for generator, source in zip(node.fields.generators, sources, strict=True):
        turned = np.array_equal(flat[source], flat)
        if not (turned and np.array_equal(node.bias[generator.source], node.bias)):
            raise GraphError(
                f"Conv {node.name!r}: weights of an orbit of {node.fields.group} "
                f"differ; wanted them bit-identical (snap the orbits first)"
            )


def _check_finite(node: Node) -> None:
    """Check weights and bias.

    Raises:
        GraphError: NaN or infinity.
    """
    for name in ("weight", "bias"):
        values = getattr(node, name)
        if not np.isfinite(values).all():
            raise GraphError(
                f"{type(node).__name__} {node.name!r}: {name} holds NaN or infinity; "
                f"wanted finite values"
            )
