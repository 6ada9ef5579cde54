"""Merging pointwise convolutions: the function stays, thin products do not explode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.graph.base import Padding
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, Add, Conv, Input, Linear, Node, SpatialMean
from mobileq.graph.pools import Flatten
from mobileq.graph.spec import Stage, check
from mobileq.passes.merge import merge_pointwise
from support.hostile import escnn_graph, hostile_graph, logits_moved

SEEDS = st.integers(0, 10**6)


def _conv(name: str, source: str, out: int, given: int, seed: int, size: int) -> Conv:
    """A random convolution of size x size."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(out, given, size, size))
    return Conv(name, (source,), weight, rng.normal(size=out), trivial_fields(out))


def _chain(**changes: object) -> Graph:
    """A costly stem, a bottleneck of 2 channels, its reader, a head."""
    image = Input("image", (), (3, 9, 9), trivial_fields(3))
    second = replace(_conv("b", "a", 4, 2, 2, 1), **changes)  # type: ignore[arg-type]
    nodes: tuple[Node, ...] = (
        image,
        _conv("stem", "image", 6, 3, 0, 5),
        _conv("a", "stem", 2, 6, 1, 1),
        second,
    )
    grid = Graph(nodes, "b").shapes["b"][1:]
    return Graph(
        (
            *nodes,
            SpatialMean("mean", ("b",), np.ones(grid, np.uint8)),
            Flatten("flat", ("mean",)),
            Linear("logits", ("flat",), np.ones((2, 4)), np.zeros(2)),
        ),
        "logits",
    )


def test_a_bottleneck_disappears() -> None:
    """Two pointwise convolutions become one that computes the same."""
    graph = _chain()
    merged = merge_pointwise(graph)
    assert "a" not in merged
    assert merged["b"].inputs == ("stem",)
    # Sums of float64 in another order.
    assert logits_moved(merged, graph) < 1e-12


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"padding": Padding.even(1)},
        {"groups": 2, "weight": np.ones((4, 1, 1, 1))},
        {"weight": np.ones((4, 2, 3, 3))},
    ],
)
def test_other_readers_stay(changes: dict[str, object]) -> None:
    """A reader with a stride, borders, groups or taps is left alone."""
    graph = _chain(**changes)
    assert merge_pointwise(graph) is graph


def test_an_activation_or_a_second_reader_is_in_the_way() -> None:
    """What is rectified, or read twice, cannot be merged."""
    graph = _chain()
    first = graph["a"]
    assert isinstance(first, Conv)
    rectified = graph.replaced({"a": replace(first, activation=Activation.RELU)})
    assert merge_pointwise(rectified) is rectified
    image = Input("image", (), (3, 9, 9), trivial_fields(3))
    joined = Graph(
        (
            image,
            _conv("a", "image", 3, 3, 0, 1),
            _conv("b", "a", 3, 3, 1, 1),
            Add("sum", ("a", "b")),
        ),
        "sum",
    )
    assert merge_pointwise(joined) is joined


def test_a_merge_that_costs_much_is_left() -> None:
    """Without the costly stem, the product is too large a part of the network."""
    image = Input("image", (), (8, 9, 9), trivial_fields(8))
    thin = (image, _conv("a", "image", 1, 8, 0, 1), _conv("b", "a", 8, 1, 1, 1))
    graph = Graph(thin, "b")
    assert merge_pointwise(graph) is graph


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, equivariant=st.booleans())
def test_random_networks_stay_what_they_are(seed: int, equivariant: bool) -> None:
    """The logits stay, and so do ties of orbits."""
    graph = escnn_graph(seed) if equivariant else hostile_graph(seed)
    merged = check(merge_pointwise(graph), Stage.SNAPPED)
    # Snapping moves equal sums of float64 by their last bits.
    assert logits_moved(merged, graph) < 1e-5
