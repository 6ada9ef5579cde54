"""ReLU6 as a ReLU and a cap, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs
from mobileq.graph.nodes import Activation, Add, Cap, Conv, Input, Linear, Relu, Relu6
from mobileq.graph.spec import Stage, check
from mobileq.passes.equalize import equalize
from mobileq.passes.pools import pools_to_convolutions
from mobileq.passes.relu6 import (
    cap_relu6,
    drop_idle_caps,
    merge_caps,
    replace_relu6,
)
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import statistical_ranges
from mobileq.quant.simulate import simulate
from support.handmade import random_conv, random_pixels
from support.hostile import hostile_graph, images_of, logits_moved

SEEDS = st.integers(0, 10_000)
IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))


def _has_relu6(graph: Graph) -> bool:
    """Whether any node is a ReLU6 or holds one."""
    return any(
        isinstance(n, Relu6)
        or (isinstance(n, Conv | Linear | Add) and n.activation is Activation.RELU6)
        for n in graph.nodes
    )


def _capped(high: float, *, activation: Activation = Activation.RELU) -> Graph:
    """A convolution of the image, and a Cap."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (2, 3, 1, 1))
    cap = Cap("cap", ("a",), np.full(2, high))
    return Graph((IMAGE, replace(conv, activation=activation), cap), "cap")


@settings(max_examples=8)
@given(seed=SEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_capping_and_merging_change_no_bit(dtype: torch.dtype, seed: int) -> None:
    """min(relu(x), 6) is relu6(x), and what is merged again is the same network."""
    graph = hostile_graph(seed)
    capped = cap_relu6(graph)
    check(capped, Stage.SNAPPED)
    assert not _has_relu6(capped)
    assert set(graph.shapes) <= set(capped.shapes), "every tensor keeps its name"
    merged = merge_caps(capped)
    assert [n.name for n in merged.nodes] == [n.name for n in graph.nodes]
    assert not any(isinstance(n, Cap) for n in merged.nodes)
    assert logits_moved(capped, graph, dtype=dtype) == 0
    assert logits_moved(merged, graph, dtype=dtype) == 0


@settings(max_examples=8)
@given(seed=SEEDS)
def test_replacing_takes_every_bound_away(seed: int) -> None:
    """Only ReLU is left, under the same names, and small values are the same."""
    graph = hostile_graph(seed)
    replaced = replace_relu6(graph)
    assert not _has_relu6(replaced)
    assert not any(isinstance(n, Cap) for n in replaced.nodes)
    assert [n.name for n in replaced.nodes] == [n.name for n in graph.nodes]


@pytest.mark.parametrize(("value", "same"), [(5.9, True), (6.1, False)])
def test_replacing_is_exact_up_to_six(value: float, same: bool) -> None:
    """relu6 and relu agree below 6 and nowhere above."""
    graph = Graph((IMAGE, Relu6("a", ("image",))), "a")
    images = np.full((1, 3, 5, 5), value)
    found = outputs(replace_relu6(graph), images, dtype=torch.float64)
    wanted = outputs(graph, images, dtype=torch.float64)
    assert np.array_equal(found, wanted) is same


def test_only_bounds_of_six_are_merged() -> None:
    """A cap elsewhere, on a linear layer or on a tensor read twice stays."""
    assert not any(isinstance(n, Cap) for n in merge_caps(_capped(6.0)).nodes)
    twice = _capped(6.0)
    twice = Graph((*twice.nodes, Add("sum", ("a", "cap"))), "sum")
    linear = _capped(6.0, activation=Activation.NONE)
    for graph in (_capped(3.0), linear, twice):
        assert merge_caps(graph) is graph


@pytest.mark.parametrize("high", [6.0, 3.0])
def test_a_standalone_cap_reads_a_standalone_relu(high: float) -> None:
    """A ReLU6 that could not be fused comes back as it was, if not rescaled."""
    nodes = (IMAGE, Relu("r", ("image",)), Cap("c", ("r",), np.full(3, high)))
    graph = Graph((*nodes, Add("sum", ("image", "c"))), "sum")
    merged = merge_caps(graph)
    assert isinstance(merged["c"], Relu6 if high == 6 else Cap)
    assert merged["sum"].inputs == ("image", "c")


@settings(max_examples=12)
@given(seed=SEEDS, per_channel=st.booleans())
def test_idle_caps_change_no_integer(seed: int, per_channel: bool) -> None:
    """With and without the caps that are dropped, the simulator agrees on every bit."""
    graph = equalize(cap_relu6(hostile_graph(seed)), per_channel=per_channel)
    graph = pools_to_convolutions(merge_caps(graph))
    ranges = statistical_ranges(graph)
    before = derive_spec(graph, ranges, per_channel=per_channel)
    dropped, kept = drop_idle_caps(graph, ranges, before.activations)
    assert set(kept) <= set(dropped.shapes)
    pixels = random_pixels(graph, 3, seed)
    wanted = simulate(graph, before, pixels)
    spec = derive_spec(dropped, kept, per_channel=per_channel)
    found = simulate(dropped, spec, pixels)
    for name in dropped.shapes:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_a_cap_is_idle_where_its_range_ends() -> None:
    """A bound at the end of the range cuts nothing off; a lower one does."""
    graph = _capped(3.0)
    ranges = statistical_ranges(graph)
    assert ranges["a"].high <= 3.0
    spec = derive_spec(graph, ranges)
    dropped, kept = drop_idle_caps(graph, ranges, spec.activations)
    assert [n.name for n in dropped.nodes] == ["image", "cap"]
    assert kept["cap"] == ranges["a"]
    wide = {**ranges, "a": replace(ranges["a"], high=3.1)}
    same, found = drop_idle_caps(graph, wide, derive_spec(graph, wide).activations)
    assert same is graph
    assert found == wide
    assert outputs(same, images_of(same)).max() <= 3.0
