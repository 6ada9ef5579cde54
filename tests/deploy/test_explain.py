"""An explanation: right numbers, the bad layer found, sound files."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from mobileq.collapse.collapse import collapse
from mobileq.deploy.explain import DATA, PICTURE, ChannelRanges, Explanation, explain
from mobileq.deploy.explain.advice import advice
from mobileq.deploy.explain.files import explanation_files
from mobileq.deploy.explain.moves import absorbed_shifts, channel_factors
from mobileq.deploy.files import Deployment, deploy
from mobileq.errors import BundleError, InputError
from mobileq.graph.execute import run
from mobileq.graph.nodes import Conv
from mobileq.passes.absorb import absorb
from mobileq.passes.scaling import scale_classes, scaled
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import Range
from mobileq.quant.simulate import simulate
from mobileq.recipe import Recipe
from mobileq.verify.metrics import sqnr_db
from support.handmade import normalized
from support.hostile import escnn_graph, hostile_graph, random_factors
from support.images import random_pixels
from support.networks import random_network

SEED = 5
RECIPE = Recipe(passes=("cap-relu6", "equalize", "correct-bias"))


@cache
def _deployed() -> Deployment:
    """A random network in integers."""
    network, shape = random_network(SEED)
    return deploy(collapse(network, shape), recipe=RECIPE, formats=("tflite",))


@cache
def _pixels() -> np.ndarray:
    """Four images of its size."""
    return random_pixels(4, _deployed().graph.input.shape, 0)


@cache
def _explained() -> Explanation:
    """Its explanation."""
    return explain(_deployed(), RECIPE, _pixels(), network="random")


def test_noise_of_tensors_and_weights_is_measured() -> None:
    """Both SQNRs are those of an independent computation."""
    quantized = _deployed().quantized
    assert quantized is not None
    integers = simulate(quantized.graph, quantized.spec, _pixels())
    floats = run(quantized.graph, normalized(quantized.graph, _pixels()))
    name = quantized.graph.output
    found = quantized.spec.activations[name].dequantize(integers[name])
    # The same float32 computation twice.
    assert _explained().logits_db == pytest.approx(
        sqnr_db(found, floats[name]), rel=1e-6
    )
    layer = next(x for x in _explained().layers if x.weight_sqnr_db is not None)
    node = quantized.graph[layer.name]
    assert isinstance(node, Conv)
    wanted = sqnr_db(quantized.spec.layers[layer.name].dequantized, node.weight)
    assert layer.weight_sqnr_db == pytest.approx(wanted, rel=1e-9)


def test_a_spoilt_range_is_found() -> None:
    """A tensor whose range is a thousand times too wide is the one that costs most."""
    made = _deployed()
    quantized = made.quantized
    assert quantized is not None
    victim = next(n.name for n in quantized.graph.nodes if isinstance(n, Conv))
    old = quantized.ranges[victim]
    wide = Range(1000 * old.low, 1000 * old.high, "planted")
    ranges = {**quantized.ranges, victim: wide}
    spec = derive_spec(quantized.corrected, ranges)
    spoilt = replace(made, quantized=replace(quantized, ranges=ranges, spec=spec))
    found = explain(spoilt, RECIPE, _pixels())
    assert found.worst.name == victim
    assert victim in found.headline
    assert "narrow it" in found.advice


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_factors_are_read_off_the_graphs(seed: int) -> None:
    """Known factors are found again wherever a channel is not dead."""
    graph = escnn_graph(seed)
    classes = scale_classes(graph)
    factors = random_factors(classes, seed)
    found = channel_factors(graph, scaled(graph, classes, factors))
    for node in graph.nodes:
        wanted = factors[classes.of[node.name]]
        alive = np.isfinite(found[node.name])
        assert alive.any()
        # Quotients of float64.
        np.testing.assert_allclose(found[node.name][alive], wanted[alive], rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_absorbed_shifts_are_read_off_the_graphs(seed: int) -> None:
    """What was absorbed is how far the known means of a layer moved."""
    graph = hostile_graph(seed)
    after = absorb(graph)
    found = absorbed_shifts(graph, after)
    for node in graph.nodes:
        new = after[node.name]
        if isinstance(node, Conv) and isinstance(new, Conv):
            if node.statistics is None or new.statistics is None:
                # Nothing is known of it, so nothing was absorbed.
                assert not found[node.name].any()
                continue
            wanted = node.statistics.mean - new.statistics.mean
            # Differences of biases that are up to 10^6 times as large.
            size = 1 + np.abs(node.bias).max() + np.abs(wanted).max()
            np.testing.assert_allclose(found[node.name], wanted, atol=1e-6 * size)


def test_plain_values_and_back() -> None:
    """JSON holds an explanation whole; another version is refused."""
    text = explanation_files(_explained())[DATA]
    values = json.loads(text)
    assert Explanation.from_dict(values) == _explained()
    with pytest.raises(BundleError, match="export again with --explain"):
        Explanation.from_dict({**values, "version": 0})


def test_the_picture_is_sound_and_the_same_each_time() -> None:
    """An SVG that names the worst layer, equal bytes for equal numbers."""
    first, second = (explanation_files(_explained())[PICTURE] for _ in range(2))
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.tag.endswith("svg")
    assert _explained().worst.name in "".join(root.itertext())


def test_a_float_export_has_nothing_to_explain() -> None:
    """It is refused with the option that is missing."""
    made = replace(_deployed(), quantized=None)
    with pytest.raises(InputError, match="--int8"):
        explain(made, RECIPE, _pixels())


@cache
def _uneven() -> Explanation:
    """A chain whose channels were scaled by up to a thousand, equalized as in DFQ."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3)
    factors = torch.logspace(-1.5, 1.5, 8)
    with torch.no_grad():
        first.weight *= factors.reshape(-1, 1, 1, 1)
        first.bias *= factors  # type: ignore[operator]
        second.weight /= factors.reshape(1, -1, 1, 1)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)]
    network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), *head)
    recipe = Recipe(
        passes=("equalize", "correct-bias"),
        activation_weight=0.0,
        granularity="per-tensor",
    )
    shape = (3, 9, 9)
    made = deploy(collapse(network, shape), recipe=recipe, formats=("tflite",))
    return explain(made, recipe, random_pixels(4, shape, 0))


def test_equalized_channels_are_closer() -> None:
    """The paper's figure: ranges a thousand apart come within a few of each other."""
    layer = _uneven().widest
    assert layer is not None
    assert layer.weights_before is not None
    assert layer.weights_after is not None
    assert layer.weights_before.spread > 500
    # What two random 3x3 filters of 27 weights differ by, with room.
    assert layer.weights_after.spread < 3
    assert layer.factors[1] / layer.factors[0] > 300


def test_a_range_that_is_too_narrow_is_told_from_one_that_is_too_wide() -> None:
    """Beyond one end is cut off, even where the width would have been enough."""
    seen = ChannelRanges((-1.0, 0.0), (0.5, 1.0))
    exact = replace(_explained().worst, tensor_after=seen, low=-1.0, high=1.0)
    assert exact.cut_off == 0
    assert exact.filled == pytest.approx(1)
    moved = replace(exact, low=-3.0, high=0.0, cost_db=10.0)
    assert moved.filled == pytest.approx(2 / 3)
    assert moved.cut_off == pytest.approx(1 / 3)
    said = advice(moved, RECIPE, weights_alone_db=50.0, tensor_alone_db=10.0)
    assert "widen it" in said
    weights = advice(moved, RECIPE, weights_alone_db=10.0, tensor_alone_db=50.0)
    assert "Its weights are the cause" in weights
