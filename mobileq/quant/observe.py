"""Range of every activation tensor from images, real or synthesised.

min-max      smallest and largest value (white paper, arXiv:2106.08295, eq. 14 and 15)
percentile   leaves a small part of the values outside, on either side
mse          smallest squared error of quantization (eq. 16; see histogram.py)

The images are computed twice where a histogram is needed, which is cheaper than to keep
what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import RecipeError
from mobileq.graph.execute import steps
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Cap, Conv
from mobileq.quant.histogram import Histogram
from mobileq.quant.pixels import batches, not_finite
from mobileq.quant.ranges import Range, is_average, own_range, pixel_range, range_of

Method = Literal["min-max", "percentile", "mse"]

Ends = tuple[float, float]


def observed_ranges(
    graph: Graph,
    pixels: NDArray[np.uint8],
    *,
    method: str,
    percentile: float = 99.99,
) -> dict[str, Range]:
    """Ranges of all tensors that have one of their own.

    A layer that only a Cap reads has the range of what the Cap lets through. The input
    keeps the range of its pixels, whatever the images hold.

    Args:
        graph: Deployable.
        pixels: (N, H, W, C) uint8.
        method: How values are turned into a range.
        percentile: Percentage of the values of a tensor that its upper end must hold,
            and its lower end likewise; above 50, to 100. Only for `percentile`.

    Returns:
        Range by tensor name, for the same tensors as `statistical_ranges`.

    Raises:
        RecipeError: an unknown method or an impossible percentile.
        DataError: images of another type or shape than the input, or none, or some
            with which a tensor becomes NaN or infinite.
    """
    if method not in get_args(Method):
        wanted = ", ".join(get_args(Method))
        raise RecipeError(f"range method is {method!r}; wanted one of {wanted}")
    if not 50 < percentile <= 100:
        raise RecipeError(f"percentile is {percentile}; wanted above 50, at most 100")
    ends = _extremes(graph, pixels)
    source: str = method
    if method == "percentile":
        source = f"percentile {percentile:g}"
    if method != "min-max":
        for name, histogram in _histograms(graph, pixels, ends).items():
            ends[name] = (
                histogram.smallest_error()
                if method == "mse"
                else histogram.percentile(percentile)
            )
    images = "1 image" if len(pixels) == 1 else f"{len(pixels)} images"
    return _ranges(graph, ends, f"{source} of {images}")


def _ranges(graph: Graph, ends: Mapping[str, Ends], source: str) -> dict[str, Range]:
    """Ranges of the ends found; a mean stays inside of what it averages."""
    ranges = {graph.input.name: pixel_range(graph.input)}
    for name, (low, high) in ends.items():
        node = graph[name]
        if isinstance(node, Conv) and is_average(node):
            wide = range_of(graph, ranges, node.inputs[0])
            low, high = np.clip([low, high], wide.low, wide.high).tolist()
        ranges[name] = Range(low, high, source)
    return ranges


def _observe(
    graph: Graph,
    pixels: NDArray[np.uint8],
    take: Callable[[str, NDArray[np.float32]], None],
) -> None:
    """Hand over each tensor with a range of its own, by name, batch after batch.

    Raises:
        DataError: the images do not fit.
    """
    for images in batches(graph, pixels):
        for step in steps(graph, images):
            name = step.node.name
            if isinstance(step.node, Cap) and _capped(graph, step.node.inputs[0]):
                take(step.node.inputs[0], step.after)
            elif own_range(step.node) and not _capped(graph, name):
                take(name, step.after)


def _capped(graph: Graph, name: str) -> bool:
    """Whether only a Cap reads a layer, so that its range is that after the Cap."""
    return own_range(graph[name]) and isinstance(graph.only_consumer(name), Cap)


def _extremes(graph: Graph, pixels: NDArray[np.uint8]) -> dict[str, Ends]:
    """Smallest and largest value of each tensor.

    Raises:
        DataError: the images do not fit, or a value is not finite.
    """
    ends: dict[str, Ends] = {}

    def take(name: str, values: NDArray[np.float32]) -> None:
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise not_finite(graph[name])
        if name in ends:
            low, high = min(low, ends[name][0]), max(high, ends[name][1])
        ends[name] = (low, high)

    _observe(graph, pixels, take)
    return ends


def _histograms(
    graph: Graph, pixels: NDArray[np.uint8], ends: Mapping[str, Ends]
) -> dict[str, Histogram]:
    """Histograms of the tensors that are not constant."""
    histograms = {
        name: Histogram(low, high) for name, (low, high) in ends.items() if low < high
    }

    def take(name: str, values: NDArray[np.float32]) -> None:
        if name in histograms:
            histograms[name].add(values)

    _observe(graph, pixels, take)
    return histograms
