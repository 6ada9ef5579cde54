"""Equalization and balancing: what they keep, and what they make equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs
from mobileq.graph.nodes import Activation, Add, Conv, Input, Linear
from mobileq.graph.spec import Stage, check
from mobileq.passes.balance import balance
from mobileq.passes.equalize import equalize
from mobileq.passes.pools import pools_to_convolutions
from mobileq.passes.relu6 import cap_relu6, merge_caps
from mobileq.passes.scaling import scale_classes, scaled
from mobileq.quant.consistency import require_consistent
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import statistical_ranges
from mobileq.quant.simulate import simulate
from mobileq.quant.spec import QuantSpec
from mobileq.verify.metrics import relative_error, sqnr_db
from support.handmade import random_conv, random_pixels
from support.hostile import (
    escnn_graph,
    hostile_graph,
    images_of,
    logits_moved,
    random_factors,
    require_finite,
)

SEEDS = st.integers(0, 10_000)
IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))

Rescale = Callable[[Graph], Graph]

PASSES: dict[str, Rescale] = {
    "per tensor": equalize,
    "per tensor, activations": partial(equalize, activation_weight=0.5),
    "per channel": partial(equalize, per_channel=True),
    "per channel, activations": partial(
        equalize, per_channel=True, activation_weight=0.5
    ),
    "balance per tensor": balance,
    "balance per channel": partial(balance, per_channel=True),
}


def _graph(seed: int, equivariant: bool) -> Graph:
    """A random graph without ReLU6."""
    return cap_relu6(escnn_graph(seed) if equivariant else hostile_graph(seed))


def _integers(graph: Graph, *, per_channel: bool) -> tuple[Graph, QuantSpec]:
    """The deployable graph and its integers, which must be legal."""
    deployable = pools_to_convolutions(merge_caps(graph))
    ranges = statistical_ranges(deployable)
    spec = derive_spec(deployable, ranges, per_channel=per_channel)
    require_consistent(deployable, spec)
    require_finite(deployable, spec)
    return deployable, spec


def _precisions(graph: Graph, layer: str, axis: int) -> NDArray[np.float64]:
    """Largest weight per channel over the layer's largest (DFQ, equation 9)."""
    node = graph[layer]
    assert isinstance(node, Conv | Linear)
    flat = np.abs(node.weight.reshape(*node.weight.shape[:2], -1)).max(axis=2)
    ranges = flat.max(axis=1 - axis)
    return np.asarray(ranges / ranges.max())


@pytest.mark.parametrize("name", PASSES)
@settings(max_examples=5)
@given(seed=SEEDS, equivariant=st.booleans())
def test_the_function_is_preserved(name: str, seed: int, equivariant: bool) -> None:
    """Logits stay in float64 and float32, orbits tied, integers legal."""
    graph = _graph(seed, equivariant)
    changed = check(PASSES[name](graph), Stage.SNAPPED)
    require_finite(changed)
    # Each weight is multiplied once; rounding is some 1e-13 where channels differ by
    # five orders of magnitude.
    assert logits_moved(changed, graph) < 1e-5
    images = images_of(graph)
    exact = outputs(graph, images, dtype=torch.float64)
    # What float32 costs the network as it was; BatchNorms of a tiny variance magnify.
    noise = relative_error(outputs(graph, images), exact)
    assert logits_moved(changed, graph, dtype=torch.float32) < 1e-4 + 10 * noise
    _integers(changed, per_channel="per channel" in name)


@settings(max_examples=10)
@given(seed=SEEDS, first=st.integers(2, 6), grouped=st.booleans())
def test_one_maker_and_one_reader_get_equal_precisions(
    seed: int, first: int, grouped: bool
) -> None:
    """r1_i / max r1 = r2_i / max r2 for each channel (DFQ, equations 9 to 11)."""
    rng = np.random.default_rng(seed)
    a = random_conv(rng, "a", "image", (first, 3, 3, 3), activation=Activation.RELU)
    shape = (first, 1, 3, 3) if grouped else (4, first, 1, 1)
    b = random_conv(rng, "b", "a", shape, groups=first if grouped else 1)
    graph = Graph((IMAGE, a, b), "b")
    factors = random_factors(scale_classes(graph), seed, decades=2)
    graph = equalize(scaled(graph, scale_classes(graph), factors))
    # Solved up to the 1e-4 at which the sweeps end.
    assert _precisions(graph, "a", 0) == pytest.approx(
        _precisions(graph, "b", 0 if grouped else 1), rel=1e-3
    )


@settings(max_examples=8)
@given(seed=SEEDS, equivariant=st.booleans(), per_channel=st.booleans())
def test_equalizing_twice_changes_nothing_more(
    seed: int, equivariant: bool, per_channel: bool
) -> None:
    """Precisions of all layers stay where they are."""
    once = equalize(_graph(seed, equivariant), per_channel=per_channel)
    twice = equalize(once, per_channel=per_channel)
    for node in once.nodes:
        if isinstance(node, Conv | Linear) and node.weight.any():
            # The last sweep moved by at most 1e-4; those before it halved the rest.
            assert _precisions(twice, node.name, 0) == pytest.approx(
                _precisions(once, node.name, 0), rel=2e-3
            )


def test_readers_that_disagree_do_not_drive_a_tensor_away() -> None:
    """Each reader has another largest channel: no step is shared by all channels."""
    rng = np.random.default_rng(0)
    a = random_conv(rng, "a", "image", (2, 3, 1, 1))
    b, c = (random_conv(rng, name, "a", (2, 2, 1, 1)) for name in "bc")
    weights = {"b": np.array([8.0, 1.0]), "c": np.array([1.0, 8.0])}
    changed = [_with_columns(node, weights[node.name]) for node in (b, c)]
    total = random_conv(rng, "z", "b", (2, 2, 1, 1))
    joined = (IMAGE, a, *changed, total, Add("sum", ("z", "c")))
    before = Graph(joined, "sum")
    after = equalize(before)
    sizes = [np.abs(_conv(g, "a").weight).max() for g in (before, after)]
    # Channels trade places, but not by more than what divides them.
    assert 1 / 8 < sizes[1] / sizes[0] < 8


def _conv(graph: Graph, name: str) -> Conv:
    """A node that is a convolution."""
    node = graph[name]
    assert isinstance(node, Conv)
    return node


def _with_columns(node: Conv, sizes: NDArray[np.float64]) -> Conv:
    """A pointwise convolution whose input channels have given ranges."""
    weight = np.sign(node.weight) * sizes[None, :, None, None]
    return replace(node, weight=weight)


@settings(max_examples=8)
@given(seed=SEEDS)
def test_random_scales_leave_no_trace(seed: int) -> None:
    """However the channels were scaled, the equalized weights are the same."""
    graph = cap_relu6(escnn_graph(seed))
    classes = scale_classes(graph)
    wild = scaled(graph, classes, random_factors(classes, seed))
    _, wanted = _integers(equalize(graph), per_channel=False)
    _, found = _integers(equalize(wild), per_channel=False)
    for name, layer in wanted.layers.items():
        moved = layer.weight.astype(int) - found.layers[name].weight
        # Equal up to the 1e-4 at which the sweeps end; a few lie at half a step.
        assert np.abs(moved).max() <= 1, name
        assert (moved != 0).mean() <= 0.1, name


@pytest.mark.parametrize("rescale", [equalize, balance])
@pytest.mark.parametrize("seed", [1, 4])
def test_wild_channels_can_be_quantized_per_tensor(rescale: Rescale, seed: int) -> None:
    """What one weight scale per layer loses to scaled channels is won back."""
    graph = cap_relu6(escnn_graph(seed))
    classes = scale_classes(graph)
    wild = scaled(graph, classes, random_factors(classes, seed))
    pixels = random_pixels(graph, 8, seed)
    wanted = outputs(graph, images_of(graph, 8, seed))

    def sqnr(changed: Graph) -> float:
        deployable, spec = _integers(changed, per_channel=False)
        logits = simulate(deployable, spec, pixels)[deployable.output]
        real = spec.activations[deployable.output].dequantize(logits)
        return sqnr_db(real, wanted)

    # Two decades of scales cost more than the factor of three that 10 dB are.
    assert sqnr(rescale(wild)) > sqnr(wild) + 10


def test_nothing_to_rescale() -> None:
    """One layer between image and logits has no channel of its own."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (2, 3, 1, 1))
    graph = Graph((IMAGE, conv), "a")
    for rescale in PASSES.values():
        assert logits_moved(rescale(graph), graph) == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_balance_works_where_gradients_are_off(mode: Callable[[], Any]) -> None:
    """It searches with gradients of its own, whatever its caller has switched off."""
    graph = _graph(1, equivariant=True)
    wanted = balance(graph)
    with mode():
        found = balance(graph)
    for node in wanted.nodes:
        if isinstance(node, Conv):
            same = found[node.name]
            assert isinstance(same, Conv)
            np.testing.assert_array_equal(same.weight, node.weight)
