"""Ranges and statistics from images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.collapse.collapse import collapse
from mobileq.errors import DataError, RecipeError
from mobileq.graph.execute import run
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, Cap, Conv, Input, Linear
from mobileq.passes.pipeline import run_pipeline
from mobileq.quant.affine import Affine
from mobileq.quant.derive import derive_spec
from mobileq.quant.histogram import Histogram
from mobileq.quant.observe import Method, observed_ranges
from mobileq.quant.observe_statistics import observed_statistics
from mobileq.quant.ranges import is_average, range_of, statistical_ranges
from support.handmade import handmade_graph, random_conv
from support.networks import (
    moved,
    normalized,
    random_network,
    random_pixels,
    symmetries_of,
)

METHODS: tuple[Method, ...] = ("min-max", "percentile", "mse")
IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))
SEEDS = st.integers(0, 10_000)


def _deployable(seed: int) -> tuple[Graph, NDArray[np.uint8]]:
    """A random network and eight images (N, H, W, C) for it."""
    network, shape = random_network(seed)
    graph = run_pipeline(collapse(network, shape).graph)[-1].graph
    return graph, random_pixels(8, shape, seed + 1)


def _tensors(graph: Graph, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Every tensor of the graph on the images."""
    return dict(run(graph, normalized(pixels).numpy()))


def _squared_error(values: NDArray[Any], low: float, high: float) -> float:
    """Mean squared error of real 8-bit quantization."""
    affine = Affine.from_range(low, high)
    return float(np.square(affine.dequantize(affine.quantize(values)) - values).mean())


@settings(max_examples=6)
@given(seed=SEEDS)
def test_ranges_of_random_networks(seed: int) -> None:
    """Min-max holds every value; percentile lies inside; mse has no larger error."""
    graph, pixels = _deployable(seed)
    widest = observed_ranges(graph, pixels, method="min-max")
    inner = observed_ranges(graph, pixels, method="percentile", percentile=99)
    best = observed_ranges(graph, pixels, method="mse")
    assert list(widest) == list(inner) == list(best) == list(statistical_ranges(graph))
    tensors = _tensors(graph, pixels)
    for name, values in tensors.items():
        found = range_of(graph, widest, name)
        # Eight images at once or not: the same float32 sums, perhaps in another order.
        slack = 1e-5 * (found.high - found.low) + 1e-6
        if isinstance(graph[name], Input | Conv | Linear) or name in widest:
            assert found.low - slack <= values.min(), name
            assert values.max() <= found.high + slack, name
    for name, found in widest.items():
        node, values = graph[name], tensors[name]
        for other in (inner[name], best[name]):
            assert found.low <= other.low <= other.high <= found.high, name
        if isinstance(node, Input) or (isinstance(node, Conv) and is_average(node)):
            continue
        for outside in (values < inner[name].low, values > inner[name].high):
            assert outside.mean() <= 0.01, name
        least = _squared_error(values, best[name].low, best[name].high)
        # Exact but for values within float32 rounding of a threshold.
        assert least <= 1.0001 * _squared_error(values, found.low, found.high), name


@settings(max_examples=15)
@given(
    seed=SEEDS,
    shift=st.floats(-3, 3),
    power=st.floats(0.3, 4),
    count=st.integers(1, 300),
    scale=st.sampled_from([1e-9, 1.0, 1e6]),
    part=st.floats(0.02, 1.5),
)
def test_histogram_never_promises_too_little(
    seed: int, shift: float, power: float, count: int, scale: float, part: float
) -> None:
    """Its error bounds the true one from above, and is exact where nothing is cut."""
    normal = np.random.default_rng(seed).normal(size=count)
    values = scale * (shift + np.sign(normal) * np.abs(normal) ** power)
    low, high = float(values.min()), float(values.max())
    histogram = Histogram(low, high)
    for batch in np.array_split(values, 3):
        histogram.add(batch)
    exact = _squared_error(values, low, high)
    # Float64 sums of squares, each relative to the step.
    slack = 1e-9 * Affine.from_range(low, high).scale ** 2
    assert histogram.error(low, high) == pytest.approx(exact, rel=1e-9, abs=slack)
    promised = histogram.error(part * low, part * high)
    true = _squared_error(values, part * low, part * high)
    assert true <= promised * (1 + 1e-9) + slack
    best = histogram.smallest_error()
    assert low <= best[0] <= best[1] <= high
    assert _squared_error(values, *best) <= exact * (1 + 1e-9) + slack
    assert histogram.percentile(100) == (low, high)


def test_mse_clips_an_outlier() -> None:
    """One value far away is given up where that makes all others more precise."""
    values = np.append(np.random.default_rng(0).normal(size=100_000), 100.0)
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    low, high = histogram.smallest_error()
    clipped = _squared_error(values, low, high)
    assert high < 95
    assert clipped < 0.95 * _squared_error(values, float(values.min()), 100.0)
    grid = np.linspace(5, 100, 60)
    finest = min(_squared_error(values, float(values.min()), h) for h in grid)
    # Candidates are 4 % apart, and the error is flat around the best one.
    assert clipped <= 1.02 * finest


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bias", [0.0, 2.5, -2.5])
@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU])
def test_constant_tensors(method: Method, bias: float, activation: Activation) -> None:
    """A layer that computes one value has a legal range and quantization."""
    dead = Conv(
        "dead",
        ("image",),
        np.zeros((2, 3, 1, 1)),
        np.full(2, bias),
        trivial_fields(2),
        activation=activation,
    )
    rng = np.random.default_rng(0)
    graph = Graph((IMAGE, dead, random_conv(rng, "a", "dead", (2, 2, 1, 1))), "a")
    pixels = random_pixels(2, (3, 5, 5), 0)
    ranges = observed_ranges(graph, pixels, method=method)
    value = max(bias, 0.0) if activation is Activation.RELU else bias
    # The bias itself: a sum of zeros is exact.
    assert (ranges["dead"].low, ranges["dead"].high) == (value, value)
    scale = derive_spec(graph, ranges).activations["dead"].scale
    assert np.isfinite(scale)
    assert scale > 0


@pytest.mark.parametrize("method", METHODS)
def test_one_pixel(method: Method) -> None:
    """A single image of a single pixel, one value in each channel, is enough."""
    image = Input("image", (), (1, 1, 1), trivial_fields(1))
    conv = random_conv(np.random.default_rng(0), "a", "image", (1, 1, 1, 1))
    pixels = np.full((1, 1, 1, 1), 200, np.uint8)
    found = observed_ranges(Graph((image, conv), "a"), pixels, method=method)["a"]
    assert found.low == found.high
    assert found.source.endswith("of 1 image")


def test_dead_channels_of_a_network() -> None:
    """Channels without weights leave no NaN in ranges or statistics."""
    graph = handmade_graph()
    stem = graph["stem"]
    assert isinstance(stem, Conv)
    alive = np.array([0.0, 1.0, 0.0, 1.0])
    weight = stem.weight * alive[:, None, None, None]
    dead = replace(stem, weight=weight, bias=stem.bias * alive)
    graph = graph.replaced({"stem": dead})
    pixels = random_pixels(5, graph.input.shape, 0)
    for method in METHODS:
        observed_ranges(graph, pixels, method=method)
    measured = observed_statistics(graph, pixels)["stem"]
    assert isinstance(measured, Conv)
    assert measured.statistics is not None
    assert (measured.statistics.std[alive == 0] == 0).all()
    assert (measured.statistics.std[alive == 1] > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_capped_layer_is_observed_after_the_cap(method: Method) -> None:
    """What the cap cuts off takes no room, unless somebody else reads it."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (2, 3, 3, 3))
    cap = Cap("cap", ("a",), np.array([0.2, 0.1]))
    pixels = random_pixels(4, (3, 5, 5), 0)
    alone = observed_ranges(Graph((IMAGE, conv, cap), "cap"), pixels, method=method)
    assert list(alone) == ["image", "a"]
    # The largest bound, in float32.
    assert alone["a"].high <= 0.2 + 1e-7
    read = observed_ranges(Graph((IMAGE, conv, cap), "a"), pixels, method=method)
    assert read["a"].high > 0.5


def test_batches_are_put_together() -> None:
    """Forty images have the union of the ranges of their halves."""
    graph = handmade_graph()
    pixels = random_pixels(40, graph.input.shape, 0)
    whole = observed_ranges(graph, pixels, method="min-max")
    parts = [
        observed_ranges(graph, part, method="min-max")
        for part in (pixels[:20], pixels[20:])
    ]
    for name, found in whole.items():
        # The same float32 sums, perhaps in another order.
        slack = 1e-5 * (found.high - found.low)
        assert found.low == pytest.approx(min(p[name].low for p in parts), abs=slack)
        assert found.high == pytest.approx(max(p[name].high for p in parts), abs=slack)


def test_source_names_method_and_images() -> None:
    """The report can say where a range comes from."""
    graph = handmade_graph()
    pixels = random_pixels(3, graph.input.shape, 0)
    for method, source in (
        ("min-max", "min-max of 3 images"),
        ("percentile", "percentile 99.5 of 3 images"),
        ("mse", "mse of 3 images"),
    ):
        found = observed_ranges(graph, pixels, method=method, percentile=99.5)  # type: ignore[arg-type]
        assert found["stem"].source == source
        assert found["image"].source == "8-bit pixel"


@settings(max_examples=5)
@given(seed=SEEDS)
def test_turned_images_have_the_same_ranges(seed: int) -> None:
    """An equivariant network computes the same values for turned images, elsewhere."""
    network, shape = random_network(seed, groups=("C4", "C8", "D4", "C12"))
    graph = run_pipeline(collapse(network, shape).graph)[-1].graph
    pixels = random_pixels(6, shape, seed)
    motion = symmetries_of(network.group)[0]  # type: ignore[arg-type]
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    turned = moved(images, motion).permute(0, 2, 3, 1).contiguous().numpy()
    # Sums in another order: float32 rounding, which may also move a value to the next
    # bin, an eighth of a step, or make the next candidate, 4 % further, the better one.
    for method, tolerance in (("min-max", 1e-4), ("percentile", 5e-3), ("mse", 0.1)):
        first = observed_ranges(graph, pixels, method=method)  # type: ignore[arg-type]
        second = observed_ranges(graph, turned, method=method)  # type: ignore[arg-type]
        for name, found in first.items():
            slack = tolerance * (found.high - min(found.low, 0.0)) + 1e-6
            assert second[name].low == pytest.approx(found.low, abs=slack), name
            assert second[name].high == pytest.approx(found.high, abs=slack), name


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 5, 5, 3), np.float32), r"found float32 of shape \(2, 5, 5, 3\)"),
        (np.full((2, 5, 5, 3), np.nan), r"found float64"),
        (np.zeros((2, 3, 5, 5), np.uint8), r"wanted uint8 of shape \(N, 5, 5, 3\)"),
        (np.zeros((5, 5, 3), np.uint8), r"found uint8 of shape \(5, 5, 3\)"),
        (np.zeros((0, 5, 5, 3), np.uint8), r"N at least 1"),
    ],
)
def test_images_that_do_not_fit(pixels: NDArray[Any], message: str) -> None:
    """Each message shows what was found and what is wanted."""
    graph = Graph(
        (IMAGE, random_conv(np.random.default_rng(0), "a", "image", (2, 3, 3, 3))), "a"
    )
    with pytest.raises(DataError, match=message):
        observed_ranges(graph, pixels, method="min-max")
    with pytest.raises(DataError, match=message):
        observed_statistics(graph, pixels)


def test_values_that_are_not_finite() -> None:
    """The layer that overflows float32 is named."""
    conv = random_conv(np.random.default_rng(0), "huge", "image", (2, 3, 3, 3))
    graph = Graph((IMAGE, replace(conv, weight=conv.weight * 1e39)), "huge")
    pixels = random_pixels(2, (3, 5, 5), 0)
    with pytest.raises(DataError, match="Conv 'huge': NaN or infinity"):
        observed_ranges(graph, pixels, method="mse")
    with pytest.raises(DataError, match="Conv 'huge': NaN or infinity"):
        observed_statistics(graph, pixels)


def test_unknown_options() -> None:
    """A method or percentile that does not exist is an error with a remedy."""
    graph, pixels = handmade_graph(), np.zeros((1, 9, 9, 3), np.uint8)
    with pytest.raises(RecipeError, match="'best'; wanted one of min-max, percentile"):
        observed_ranges(graph, pixels, method="best")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="percentile is 50; wanted above 50"):
        observed_ranges(graph, pixels, method="percentile", percentile=50)
