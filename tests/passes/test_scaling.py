"""Channels that must be scaled together, and scaling them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.nodes import (
    Activation,
    Add,
    Conv,
    Input,
    Linear,
    Mask,
    Relu6,
    SpatialMean,
)
from mobileq.graph.spec import Stage, check
from mobileq.passes.relu6 import cap_relu6
from mobileq.passes.scaling import input_columns, scale_classes, scaled
from support.handmade import disc, random_conv
from support.hostile import (
    escnn_graph,
    hostile_graph,
    images_of,
    logits_moved,
    random_factors,
    require_finite,
)

SEEDS = st.integers(0, 10_000)
IMAGE = Input("image", (), (2, 5, 5), trivial_fields(2))


@settings(max_examples=12)
@given(seed=SEEDS, equivariant=st.booleans())
def test_any_factors_preserve_the_function(seed: int, equivariant: bool) -> None:
    """Every tensor is divided by its factors, and the logits stay where they are."""
    graph = escnn_graph(seed) if equivariant else hostile_graph(seed)
    graph = cap_relu6(graph)
    classes = scale_classes(graph)
    factors = random_factors(classes, seed)
    changed = check(scaled(graph, classes, factors), Stage.SNAPPED)
    require_finite(changed)
    # Products of float64 numbers, each rounded once per factor.
    assert logits_moved(changed, graph) < 1e-9
    images = images_of(graph, 2)
    before, after = (run(g, images.astype(np.float64)) for g in (graph, changed))
    for name, values in before.items():
        own = factors[classes.of[name]].reshape(-1, *[1] * (values.ndim - 2))
        difference = np.abs(after[name] * own - values).max()
        # float32 through layers whose channels lie five decades apart.
        assert difference <= 1e-2 * np.abs(values).max() + 1e-6, name


@settings(max_examples=8)
@given(seed=SEEDS)
def test_image_and_logits_keep_their_scale(seed: int) -> None:
    """No class of theirs is free, and every block of fields is one class."""
    graph = escnn_graph(seed)
    classes = scale_classes(graph)
    for name in (graph.input.name, graph.output):
        assert not classes.free[classes.of[name]].any()
    for name in graph.shapes:
        block, label = graph.fields(name).block, classes.of[name]
        for number in np.unique(block):
            assert len(np.unique(label[block == number])) == 1, name


def test_a_join_ties_everything_that_meets_in_it() -> None:
    """Both inputs of a sum, the sum, and what masks and averages it, are one class."""
    rng = np.random.default_rng(0)
    nodes = (
        IMAGE,
        random_conv(rng, "a", "image", (3, 2, 1, 1)),
        random_conv(rng, "b", "a", (4, 3, 1, 1), activation=Activation.RELU),
        random_conv(rng, "c", "b", (3, 4, 1, 1)),
        Add("sum", ("a", "c"), Activation.RELU),
        Mask("masked", ("sum",), disc(5)),
        SpatialMean("mean", ("masked",), disc(5)),
        random_conv(rng, "d", "mean", (2, 3, 1, 1)),
    )
    classes = scale_classes(Graph(nodes, "d"))
    joined = [classes.of[n].tolist() for n in ("a", "c", "sum", "masked", "mean")]
    assert all(labels == joined[0] for labels in joined)
    assert len(set(joined[0])) == 3
    assert classes.free[joined[0]].all()
    assert not set(joined[0]) & set(classes.of["b"].tolist())
    assert not classes.free[classes.of["d"]].any()


@pytest.mark.parametrize("kind", ["fused", "standalone", "sum"])
def test_nothing_crosses_a_relu6(kind: str) -> None:
    """6 stays where it is, and so do the tensors on which it acts."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (2, 2, 1, 1))
    tail = random_conv(np.random.default_rng(1), "z", "y", (2, 2, 1, 1))
    clipped = {
        "fused": (replace(conv, name="y", activation=Activation.RELU6),),
        "standalone": (conv, Relu6("y", ("a",))),
        "sum": (conv, Add("y", ("a", "a"), Activation.RELU6)),
    }[kind]
    graph = Graph((IMAGE, *clipped, tail), "z")
    classes = scale_classes(graph)
    assert not any(classes.free[classes.of[n.name]].any() for n in graph.nodes)
    free = scale_classes(cap_relu6(graph))
    assert free.free[free.of["y"]].all()


@given(
    groups=st.sampled_from([1, 2, 3, 6]),
    per_group=st.integers(1, 3),
    repeat=st.integers(1, 2),
)
def test_columns_are_the_channels_that_each_row_reads(
    groups: int, per_group: int, repeat: int
) -> None:
    """Against the definition of a grouped convolution, channel by channel."""
    out, channels = groups * repeat, groups * per_group
    weight = np.ones((out, per_group, 1, 1))
    conv = Conv("a", ("x",), weight, np.zeros(out), trivial_fields(out), groups=groups)
    values = np.arange(channels) + 10
    found = input_columns(conv, values)
    for row in range(out):
        first = row // repeat * per_group
        assert found[row].tolist() == values[first : first + per_group].tolist()


def test_columns_of_a_linear_layer() -> None:
    """Every row reads every feature."""
    linear = Linear("a", ("x",), np.ones((2, 3)), np.zeros(2))
    assert input_columns(linear, np.arange(3)).tolist() == [[0, 1, 2]] * 2
