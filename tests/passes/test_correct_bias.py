"""The mean error of rounded weights goes out of the biases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs
from mobileq.graph.nodes import Activation, Cap, Conv, Input, Linear, Node, Padding
from mobileq.graph.spec import Stage, check
from mobileq.graph.statistics import Statistics
from mobileq.passes.correct_bias import correct_bias, correct_bias_on_images
from mobileq.passes.pools import pools_to_convolutions
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import statistical_ranges
from mobileq.quant.simulate import simulate
from mobileq.quant.spec import QuantizedLayer, QuantSpec
from support.handmade import random_conv, random_pixels
from support.hostile import escnn_graph, hostile_graph, normalized

SEEDS = st.integers(0, 10_000)
CHANNELS = 4


def _spec(graph: Graph, bits: int = 4) -> QuantSpec:
    """Integers; few bits make errors that are easy to see."""
    return derive_spec(graph, statistical_ranges(graph), bits=bits)


def _rounded(graph: Graph, layers: dict[str, QuantizedLayer]) -> Graph:
    """The graph with the real values of integer weights, its biases as they are."""
    changes: dict[str, Node] = {}
    for name, layer in layers.items():
        node = graph[name]
        assert isinstance(node, Conv | Linear)
        changes[name] = replace(node, weight=layer.dequantized)
    return graph.replaced(changes)


def _normal_input(
    rng: np.random.Generator, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> Graph:
    """A layer that copies the image, which is as its statistics say, and a ReLU."""
    image = Input("image", (), (CHANNELS, 6, 5), trivial_fields(CHANNELS))
    copy = Conv(
        "copy",
        ("image",),
        np.eye(CHANNELS)[:, :, None, None],
        np.zeros(CHANNELS),
        trivial_fields(CHANNELS),
        activation=Activation.RELU,
        statistics=Statistics(mean, std),
    )
    return Graph((image, copy), "copy")


def _random_reader(rng: np.random.Generator, source: str) -> Conv:
    """A convolution with any kernel, stride, groups and borders."""
    kernel = tuple(rng.integers(1, 4, 2).tolist())
    groups = int(rng.choice([1, 2, 4]))
    sides = [int(rng.integers(0, kernel[i // 2])) for i in range(4)]
    return random_conv(
        rng,
        "z",
        source,
        (4, CHANNELS // groups, *kernel),  # type: ignore[arg-type]
        stride=int(rng.integers(1, 3)),
        padding=Padding(*sides),
        groups=groups,
    )


@settings(max_examples=15)
@given(seed=SEEDS)
def test_borders_are_counted_exactly(seed: int) -> None:
    """On a constant input the mean error over the grid is zero, whatever the border."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(-1, 3, CHANNELS)
    graph = _normal_input(rng, mean, np.zeros(CHANNELS))
    graph = Graph((*graph.nodes, _random_reader(rng, "copy")), "z")
    layers = {"z": _spec(graph).layers["z"]}
    exact = _spec(graph).layers["copy"]
    corrected = correct_bias(graph, {**layers, "copy": exact})
    images = np.broadcast_to(mean[:, None, None], (1, *graph.input.shape)).copy()
    # The copying layer is not rounded here.
    tail = replace(corrected["z"], weight=layers["z"].dequantized)  # type: ignore[call-arg]
    rounded = graph.replaced({"z": tail})
    error = outputs(rounded, images, dtype=torch.float64)
    error = error - outputs(graph, images, dtype=torch.float64)
    # Sums of some dozen float64 products.
    assert np.abs(error.mean((0, 2, 3))).max() < 1e-12


@settings(max_examples=6)
@given(seed=SEEDS, capped=st.booleans())
def test_the_mean_error_vanishes_on_normal_inputs(seed: int, capped: bool) -> None:
    """Float minus rounded has mean zero, as far as a sample can tell."""
    rng = np.random.default_rng(seed)
    mean, std = rng.uniform(-1, 2, CHANNELS), rng.uniform(0.3, 1, CHANNELS)
    graph = _normal_input(rng, mean, std)
    if capped:
        cap = Cap("cap", ("copy",), rng.uniform(0.5, 2, CHANNELS))
        graph = Graph((*graph.nodes, cap), "cap")
    graph = Graph((*graph.nodes, _random_reader(rng, graph.output)), "z")
    spec = _spec(graph, bits=3)
    corrected = correct_bias(graph, spec.layers)
    tail = replace(corrected["z"], weight=spec.layers["z"].dequantized)  # type: ignore[call-arg]
    shape = (4000, *graph.input.shape)
    images = rng.normal(size=shape) * std[:, None, None] + mean[:, None, None]
    error = outputs(graph.replaced({"z": tail}), images, dtype=torch.float64)
    error = error - outputs(graph, images, dtype=torch.float64)
    per_image = error.mean((2, 3))
    deviation = per_image.std(axis=0) / np.sqrt(len(images))
    # Five standard errors of four channels: once in a million.
    assert (np.abs(per_image.mean(axis=0)) <= 5 * deviation + 1e-12).all()


@settings(max_examples=6)
@given(seed=SEEDS, equivariant=st.booleans())
def test_orbits_stay_tied_and_exact_weights_are_left_alone(
    seed: int, equivariant: bool
) -> None:
    """Corrected graphs are legal; without rounding there is nothing to correct."""
    graph = escnn_graph(seed) if equivariant else hostile_graph(seed)
    graph = pools_to_convolutions(graph)
    layers = dict(_spec(graph).layers)
    corrected = check(correct_bias(graph, layers), Stage.DEPLOYABLE)
    exact = _rounded(graph, layers)
    same = correct_bias(exact, layers)
    for node in exact.nodes:
        if isinstance(node, Conv | Linear):
            after = same[node.name]
            assert isinstance(after, Conv | Linear)
            # A tied bias is the mean of equal ones.
            assert after.bias == pytest.approx(node.bias, rel=1e-12, abs=1e-12)
    check(correct_bias_on_images(graph, _spec(graph), _pixels(graph)), Stage.DEPLOYABLE)
    assert corrected.output == graph.output


def _pixels(graph: Graph, count: int = 16) -> NDArray[np.uint8]:
    """Noise, darker towards one side: no symmetry of the grid leaves it as it is."""
    pixels = random_pixels(graph, count, seed=3)
    shade = np.linspace(0, 1, pixels.shape[2])[:, None]
    return (pixels * shade).astype(np.uint8)


def _mean_error(graph: Graph, corrected: Graph) -> NDArray[np.float64]:
    """(classes,) mean error of the integers of a graph, in steps of the logits."""
    ranges = statistical_ranges(graph)
    spec = derive_spec(corrected, ranges, bits=4)
    pixels = _pixels(graph)
    wanted = outputs(graph, normalized(graph, pixels))
    affine = spec.activations[graph.output]
    found = affine.dequantize(simulate(corrected, spec, pixels)[graph.output])
    inside = np.clip(wanted, *affine.range)
    return np.asarray((found - inside).mean(axis=0) / affine.scale)


@pytest.mark.parametrize("seed", [5, 8, 11, 18])
def test_on_images_the_mean_error_of_the_logits_vanishes(seed: int) -> None:
    """Also for equivariant networks, whose orbits err differently on these images."""
    graph = pools_to_convolutions(escnn_graph(seed))
    spec = derive_spec(graph, statistical_ranges(graph), bits=4)
    corrected = correct_bias_on_images(graph, spec, _pixels(graph))
    before, after = _mean_error(graph, graph), _mean_error(graph, corrected)
    # Rounding to whole steps errs by 0.3 on average; integer kernels round twice.
    assert np.abs(after).max() < 0.5
    assert np.abs(before).max() > 1.0


def test_images_are_chosen_evenly() -> None:
    """Of many images, equal ones give what one gives."""
    graph = pools_to_convolutions(hostile_graph(3))
    spec = _spec(graph)
    pixels = _pixels(graph, 1)
    one = correct_bias_on_images(graph, spec, pixels)
    many = correct_bias_on_images(graph, spec, np.repeat(pixels, 70, axis=0))
    for node in one.nodes:
        if isinstance(node, Conv | Linear):
            other = many[node.name]
            assert isinstance(other, Conv | Linear)
            # Means of equal float32 numbers, summed in another order.
            assert other.bias == pytest.approx(node.bias, rel=1e-4, abs=1e-4)
