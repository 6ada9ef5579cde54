"""Range of every activation tensor from statistics, without data.

A pre-activation of channel c is taken as N(beta_c, gamma_c^2); the tensor's range is
the union over channels of mean +- n sigma, clipped by the activation (DFQ,
arXiv:1906.04721, section 5, uses n = 6). Sums of residual branches add means and
variances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import GraphError
from mobileq.graph.curves import Curve
from mobileq.graph.graph import Graph
from mobileq.graph.moments import propagate
from mobileq.graph.nodes import (
    Activation,
    Add,
    Cap,
    Concat,
    Conv,
    Input,
    Linear,
    Mul,
    Node,
)
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
    before = propagate(graph).before
    ranges: dict[str, Range] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            ranges[node.name] = pixel_range(node)
        elif isinstance(node, Conv | Linear | Add):
            found = _clipped(graph, node, before[node.name], sigmas)
            if isinstance(node, Conv) and is_average(node):
                found = _inside(found, range_of(graph, ranges, node.inputs[0]))
            ranges[node.name] = found
        elif isinstance(node, Concat):
            parts = [range_of(graph, ranges, name) for name in node.inputs]
            ranges[node.name] = union(parts)
        elif isinstance(node, Curve):
            above = range_of(graph, ranges, node.inputs[0])
            low, high = node.at(np.array([above.low, above.high])).tolist()
            ranges[node.name] = Range(low, high, node.kind.value)
        elif isinstance(node, Mul):
            parts = [range_of(graph, ranges, name) for name in node.inputs]
            values = before[node.name]
            low = float((values.mean - sigmas * values.std).min())
            high = float((values.mean + sigmas * values.std).max())
            found = Range(low, high, f"mean +- {sigmas:g} sigma")
            ranges[node.name] = _inside(found, _product(*parts))
    return ranges


def union(parts: Sequence[Range]) -> Range:
    """The smallest range that holds all of several."""
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return Range(low, high, "union of what is joined")


def _product(first: Range, second: Range) -> Range:
    """All products of a value of one range and one of the other."""
    ends = [a * b for a in (first.low, first.high) for b in (second.low, second.high)]
    return Range(min(ends), max(ends), "product")


def own_range(node: Node) -> bool:
    """Whether a node's tensor has a range of its own, which its input's does not tell.

    The input of the network has one too, that of its pixels.
    """
    return isinstance(node, Conv | Linear | Add | Mul | Concat | Curve)


def pixel_range(node: Input) -> Range:
    """What 8-bit pixels can be."""
    zero, scale = node.pixel_zero, node.pixel_scale
    return Range(-zero * scale, (255 - zero) * scale, "8-bit pixel")


def cap_of(graph: Graph, node: Node) -> Cap | None:
    """The Cap that is all that reads a node's tensor, if there is one."""
    reader = graph.only_consumer(node.name)
    return reader if isinstance(reader, Cap) else None


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


def channel_ranges(
    graph: Graph, node: Conv | Linear | Add, values: Statistics, sigmas: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest value of each channel, mean +- sigmas * std, clipped.

    Args:
        graph: The node's.
        node: A node that may have an activation, and a Cap as its only reader.
        values: Statistics of its result before the activation.
        sigmas: Half width in standard deviations.

    Returns:
        (C,) and (C,).
    """
    bottom, top = node.activation.bounds
    cap = cap_of(graph, node)
    highest = top if cap is None else np.minimum(top, cap.high)
    low = np.minimum(np.maximum(values.mean - sigmas * values.std, bottom), highest)
    high = np.minimum(np.maximum(values.mean + sigmas * values.std, bottom), highest)
    return low, high


def _clipped(
    graph: Graph, node: Conv | Linear | Add, values: Statistics, sigmas: float
) -> Range:
    """Union of the ranges of all channels."""
    low, high = channel_ranges(graph, node, values, sigmas)
    source = f"mean +- {sigmas:g} sigma"
    if node.activation is not Activation.NONE:
        source += f", {node.activation.value}"
    return Range(float(low.min()), float(high.max()), source)


def _inside(narrow: Range, wide: Range) -> Range:
    """`narrow`, where it lies in `wide`."""
    low = min(max(narrow.low, wide.low), wide.high)
    high = max(min(narrow.high, wide.high), low)
    return Range(low, high, narrow.source)
