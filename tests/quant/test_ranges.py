"""Ranges from statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.errors import GraphError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.moments import tensor_statistics
from mobileq.graph.nodes import (
    Activation,
    Add,
    Cap,
    Conv,
    Input,
    Linear,
    Relu,
    SpatialMean,
)
from mobileq.graph.statistics import Statistics
from mobileq.passes.pipeline import run_pipeline
from mobileq.passes.pools import pools_to_convolutions
from mobileq.passes.relu6 import cap_relu6
from mobileq.quant.ranges import Range, is_average, range_of, statistical_ranges
from support.handmade import disc, handmade_graph, random_conv
from support.hostile import hostile_graph
from support.networks import normalized, random_network, random_pixels

IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))


def _conv(activation: Activation, statistics: Statistics | None = None) -> Graph:
    """One convolution of two channels."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (2, 3, 3, 3))
    conv = replace(conv, activation=activation, statistics=statistics)
    return Graph((IMAGE, conv), "a")


@given(
    mean=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    std=st.tuples(st.floats(0, 3), st.floats(0, 3)),
    sigmas=st.floats(1, 8),
    activation=st.sampled_from(list(Activation)),
)
def test_union_over_channels_clipped_by_the_activation(
    mean: tuple[float, float],
    std: tuple[float, float],
    sigmas: float,
    activation: Activation,
) -> None:
    """The range is that of the widest channels, as far as the activation lets it."""
    statistics = Statistics(np.array(mean), np.array(std))
    graph = _conv(activation, statistics)
    found = statistical_ranges(graph, sigmas=sigmas)["a"]
    low, high = activation.bounds
    ends = [m + s * sigmas * d for m, d in zip(mean, std, strict=True) for s in (-1, 1)]
    # The same float64 products.
    assert found.low == pytest.approx(float(np.clip(min(ends), low, high)), abs=1e-12)
    assert found.high == pytest.approx(float(np.clip(max(ends), low, high)), abs=1e-12)
    assert f"{sigmas:g} sigma" in found.source


@given(
    mean=st.floats(-3, 8),
    std=st.floats(0, 3),
    high=st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)),
    activation=st.sampled_from([Activation.NONE, Activation.RELU]),
)
def test_a_cap_bounds_each_channel_of_its_layer(
    mean: float, std: float, high: tuple[float, float], activation: Activation
) -> None:
    """The union of channels that are each cut off at their own bound."""
    graph = _conv(activation, Statistics(np.full(2, mean), np.full(2, std)))
    capped = Graph((*graph.nodes, Cap("c", ("a",), np.array(high))), "c")
    found = statistical_ranges(capped)
    # A tensor that something else reads too is not cut off.
    twice = statistical_ranges(Graph((*capped.nodes, Add("s", ("a", "c"))), "s"))
    plain = statistical_ranges(graph)["a"]
    assert set(found) == {"image", "a"}
    # The same float64 numbers.
    assert found["a"].high == pytest.approx(min(plain.high, max(high)))
    assert found["a"].low == pytest.approx(min(plain.low, min(high)))
    assert (twice["a"].low, twice["a"].high) == (plain.low, plain.high)
    assert twice["s"].high >= plain.low


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), sigmas=st.floats(0.5, 10))
def test_ranges_of_hostile_graphs_are_legal(seed: int, sigmas: float) -> None:
    """Every layer and sum has one, with the bounds of its activation."""
    graph = pools_to_convolutions(cap_relu6(hostile_graph(seed)))
    ranges = statistical_ranges(graph, sigmas=sigmas)
    layers = [n for n in graph.nodes if isinstance(n, Conv | Linear | Add)]
    assert set(ranges) == {graph.input.name, *(n.name for n in layers)}
    for node in layers:
        low, high = node.activation.bounds
        found = ranges[node.name]
        assert low <= found.low <= found.high <= high


def test_sums_and_linear_layers_are_wide_enough() -> None:
    """The range of a sum holds mean +- n sigma of the sum of its branches."""
    graph = handmade_graph()
    ranges = statistical_ranges(graph, sigmas=6)
    statistics = tensor_statistics(graph)
    for node in graph.nodes:
        if isinstance(node, Add | Linear) or (
            isinstance(node, Conv) and node.activation is Activation.NONE
        ):
            if isinstance(node, Conv) and is_average(node):
                continue
            found, values = ranges[node.name], statistics[node.name]
            # The same sums in float64.
            slack = 1e-9 * (found.high - found.low)
            assert found.low <= (values.mean - 6 * values.std).min() + slack
            assert found.high >= (values.mean + 6 * values.std).max() - slack


def test_pixels_have_their_own_range() -> None:
    """The input holds all grey levels and nothing else."""
    image = replace(IMAGE, pixel_scale=0.5, pixel_zero=100)
    graph = Graph((image, Relu("a", ("image",))), "a")
    found = statistical_ranges(graph)
    assert (found["image"].low, found["image"].high) == (-50.0, 77.5)
    assert range_of(graph, found, "a") is found["image"]


def test_means_stay_inside_their_input() -> None:
    """A weighted mean cannot leave the range of what it averages."""
    narrow = Statistics(np.array([0.5, 0.5]), np.array([0.1, 3.0]))
    conv = _conv(Activation.RELU6, narrow)["a"]
    pool = SpatialMean("m", ("a",), disc(3))
    graph = pools_to_convolutions(Graph((IMAGE, conv, pool), "m"))
    ranges = statistical_ranges(graph)
    assert ranges["a"].low <= ranges["m"].low <= ranges["m"].high <= ranges["a"].high


def test_what_counts_as_a_mean() -> None:
    """Positive weights that sum to one, without a bias."""
    ones = np.full((2, 1, 3, 3), 1 / 9)
    mean = Conv("a", ("x",), ones, np.zeros(2), trivial_fields(2), groups=2)
    assert is_average(mean)
    assert not is_average(replace(mean, bias=np.ones(2)))
    assert not is_average(replace(mean, weight=ones * 1.001))
    signed = ones.copy()
    signed[:, :, 0, 0], signed[:, :, 0, 1] = -1 / 9, 3 / 9
    assert not is_average(replace(mean, weight=signed))


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_ranges_hold_what_random_networks_compute(seed: int) -> None:
    """Six sigma hold almost all values of images like those of the statistics."""
    network, shape = random_network(seed)
    graph = run_pipeline(collapse(network, shape).graph)[-1].graph
    ranges = statistical_ranges(graph)
    tensors = run(graph, normalized(random_pixels(4, shape, seed)).numpy())
    for name, values in tensors.items():
        found = range_of(graph, ranges, name)
        outside = (values < found.low) | (values > found.high)
        # Not normal, but within six deviations all the same, but for sums of branches
        # that vary together, and layers behind a pool, whose moments are guesses.
        assert outside.mean() < 0.02, f"{name}: {found}"


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (1.0, 0.0, r"range is \[1.0, 0.0\]; wanted low <= high"),
        (float("nan"), 0.0, r"range is \[nan, 0.0\]; wanted finite ends"),
        (0.0, float("inf"), r"range is \[0.0, inf\]; wanted finite ends"),
    ],
)
def test_impossible_ranges(low: float, high: float, message: str) -> None:
    """Each message shows both ends."""
    with pytest.raises(GraphError, match=message):
        Range(low, high, "by hand")
