"""Range of every activation tensor from statistics, without data.

A pre-activation of channel c is taken as N(beta_c, gamma_c^2); the tensor's range is
the union over channels of mean +- n sigma, clipped by the activation (DFQ,
arXiv:1906.04721, section 5, uses n = 6). Sums of residual branches add means and
variances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mobileq.errors import GraphError
from mobileq.graph.graph import Graph
from mobileq.graph.moments import pre_activation, tensor_statistics
from mobileq.graph.nodes import Activation, Add, Conv, Input, Linear, Node
from mobileq.graph.statistics import Statistics


@dataclass(frozen=True)
class Range:
    """Real values that a tensor should be able to hold.

    Attributes:
        low: Smallest one.
        high: Largest one.
        source: How it was found, for the report.
    """

    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        """Check.

        Raises:
            GraphError: not finite, or low above high.
        """
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            raise GraphError(f"range is [{self.low}, {self.high}]; wanted finite ends")
        if self.low > self.high:
            raise GraphError(f"range is [{self.low}, {self.high}]; wanted low <= high")


def statistical_ranges(graph: Graph, *, sigmas: float = 6.0) -> dict[str, Range]:
    """Ranges of all tensors that have one of their own.

    Args:
        graph: Deployable.
        sigmas: Half width in standard deviations.

    Returns:
        Range by tensor name; Mask, pools, OrbitMax and Flatten share their input's and
        are left out.
    """
    statistics = tensor_statistics(graph)
    ranges: dict[str, Range] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            zero, scale = node.pixel_zero, node.pixel_scale
            ranges[node.name] = Range(
                -zero * scale, (255 - zero) * scale, "8-bit pixel"
            )
        elif isinstance(node, Conv | Linear | Add):
            above = [statistics[name] for name in node.inputs]
            ranges[node.name] = _clipped(node, _before(node, above), sigmas)
            if isinstance(node, Conv) and is_average(node):
                ranges[node.name] = _inside(
                    ranges[node.name], range_of(graph, ranges, node.inputs[0])
                )
    return ranges


def range_of(graph: Graph, ranges: Mapping[str, Range], name: str) -> Range:
    """Range of a tensor, which may be that of the tensor it was made from."""
    while name not in ranges:
        name = graph[name].inputs[0]
    return ranges[name]


def is_average(node: Conv) -> bool:
    """Whether each result is a weighted mean of inputs, and so inside their range."""
    rows = node.weight.sum(axis=(1, 2, 3))
    return bool(
        (node.weight >= 0).all()
        and np.allclose(rows, 1.0, rtol=1e-9, atol=0.0)
        and not node.bias.any()
    )


def _before(node: Node, above: list[Statistics]) -> Statistics:
    """Statistics before the activation."""
    if isinstance(node, Conv | Linear):
        return pre_activation(node, above[0])
    return Statistics(
        above[0].mean + above[1].mean, np.hypot(above[0].std, above[1].std)
    )


def _clipped(node: Conv | Linear | Add, values: Statistics, sigmas: float) -> Range:
    """Union over channels of mean +- sigmas * std, clipped by the activation."""
    low = float((values.mean - sigmas * values.std).min())
    high = float((values.mean + sigmas * values.std).max())
    source = f"mean +- {sigmas:g} sigma"
    if node.activation is not Activation.NONE:
        bottom, top = node.activation.bounds
        low, high = np.clip((low, high), bottom, top).tolist()
        source += f", {node.activation.value}"
    return Range(low, high, source)


def _inside(narrow: Range, wide: Range) -> Range:
    """`narrow`, where it lies in `wide`."""
    low = min(max(narrow.low, wide.low), wide.high)
    high = max(min(narrow.high, wide.high), low)
    return Range(low, high, narrow.source)
