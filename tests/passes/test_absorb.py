"""High biases move into the next layer, and only where that is exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.nodes import (
    Activation,
    Add,
    Cap,
    Conv,
    Input,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    Padding,
    SpatialMean,
)
from mobileq.graph.spec import Stage, check
from mobileq.graph.statistics import Statistics
from mobileq.passes.absorb import absorb
from mobileq.passes.relu6 import cap_relu6
from support.handmade import disc, random_conv
from support.hostile import (
    escnn_graph,
    hostile_graph,
    images_of,
    logits_moved,
    require_finite,
)

SEEDS = st.integers(0, 10_000)
IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))
ONES = np.ones(4)
HUGE = 1e6
"""Deviations below the mean at which no rectified channel gives anything away."""


def _maker(
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    activation: Activation = Activation.RELU,
) -> Conv:
    """A layer "a" of the image, with statistics as given."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (len(mean), 3, 1, 1))
    return replace(conv, activation=activation, statistics=Statistics(mean, std))


def _layer(graph: Graph, name: str) -> Conv | Linear:
    """A node that is a layer."""
    node = graph[name]
    assert isinstance(node, Conv | Linear)
    return node


def _reader(source: str, *, kernel: int = 1, padding: int = 0) -> Conv:
    """A layer "z" that reads four channels."""
    rng, even = np.random.default_rng(1), Padding.even(padding)
    return random_conv(rng, "z", source, (2, 4, kernel, kernel), padding=even)


@settings(max_examples=12)
@given(seed=SEEDS, equivariant=st.booleans())
def test_linear_channels_are_absorbed_exactly(seed: int, equivariant: bool) -> None:
    """x = (x - c) + c for any c: the logits stay, and orbits stay tied."""
    graph = cap_relu6(escnn_graph(seed) if equivariant else hostile_graph(seed))
    absorbed = check(absorb(graph, sigmas=HUGE), Stage.SNAPPED)
    require_finite(absorbed)
    # Sums of float64 in another order.
    assert logits_moved(absorbed, graph) < 1e-9


@settings(max_examples=8)
@given(seed=SEEDS, equivariant=st.booleans())
def test_rectified_channels_keep_the_graph_legal(seed: int, equivariant: bool) -> None:
    """Whatever is absorbed, bounds of caps stay positive and orbits tied."""
    graph = cap_relu6(escnn_graph(seed) if equivariant else hostile_graph(seed))
    absorbed = check(absorb(graph, sigmas=0.0), Stage.SNAPPED)
    require_finite(absorbed)
    assert np.isfinite(logits_moved(absorbed, graph))


@settings(max_examples=10)
@given(seed=SEEDS, kernel=st.sampled_from([1, 3]), capped=st.booleans())
def test_what_always_holds_is_absorbed_exactly(
    seed: int, kernel: int, capped: bool
) -> None:
    """relu(x) = relu(x - c) + c where x > c for every pixel that there is."""
    rng = np.random.default_rng(seed)
    maker = _maker(rng.uniform(0, 5, 4), rng.uniform(0, 1, 4))
    statistics = maker.statistics
    assert statistics is not None
    shift = np.maximum(statistics.mean - 3 * statistics.std, 0)
    # Pixels are within -1 to 1, so that no value is below its bias minus this sum.
    reach = np.abs(maker.weight).sum(axis=(1, 2, 3))
    maker = replace(maker, bias=shift + reach * (1 + rng.random(4)))
    nodes: list[Node] = [IMAGE, maker]
    if capped:
        nodes.append(Cap("cap", ("a",), 2 * shift + 1))
    nodes.append(_reader(nodes[-1].name, kernel=kernel))
    graph = Graph(tuple(nodes), "z")
    absorbed = absorb(graph)
    assert _layer(absorbed, "a").bias == pytest.approx(maker.bias - shift, abs=1e-12)
    # Sums of float64 in another order.
    assert logits_moved(absorbed, graph) < 1e-12


def test_statistics_move_with_the_channel() -> None:
    """Mean and tensor are lower by the same amount; deviations stay."""
    mean, std = np.array([9.0, 5.0, 1.0, -2.0]), np.array([1.0, 2.0, 1.0, 1.0])
    graph = Graph((IMAGE, _maker(mean, std), _reader("a")), "z")
    absorbed = absorb(graph)
    statistics = _layer(absorbed, "a").statistics
    assert statistics is not None
    # c = max(0, mean - 3 std), DFQ equation 15: 6, 0, 0 and 0.
    assert statistics.mean.tolist() == [3.0, 5.0, 1.0, -2.0]
    assert statistics.std.tolist() == std.tolist()
    linear = _maker(mean, std, Activation.NONE)
    graph = Graph((IMAGE, linear, _reader("a")), "z")
    absorbed = absorb(graph)
    images = images_of(graph)
    moved = run(graph, images)["a"] - run(absorbed, images)["a"]
    # Differences of float32 numbers of up to 10.
    assert moved.mean((0, 2, 3)) == pytest.approx(mean, abs=1e-5)
    found = _layer(absorbed, "a").statistics
    assert found is not None
    assert not found.mean.any()
    assert absorb(graph, centre=False) is graph


def _only(*between: Node, padding: int = 0) -> Graph:
    """A linear layer of mean 1, some nodes, and a layer that reads the last."""
    nodes = (IMAGE, _maker(ONES, ONES, Activation.NONE), *between)
    kernel = 2 * padding + 1
    tail = _reader(nodes[-1].name, kernel=kernel, padding=padding)
    return Graph((*nodes, tail), "z")


@pytest.mark.parametrize(
    "graph",
    [
        _only(padding=1),
        _only(Mask("m", ("a",), disc(5))),
        _only(MaxPool("m", ("a",), (3, 3), 1, Padding.even(1))),
        _only(Add("m", ("a", "a"), Activation.RELU)),
        _only(Cap("m", ("a",), np.full(4, 0.5))),
        Graph((*_only().nodes, Add("y", ("a", "a"))), "y"),
        Graph(_only().nodes[:-1], "a"),
    ],
    ids=["padding", "mask", "padded pool", "rectified sum", "cap", "output", "last"],
)
def test_nothing_is_moved_where_it_would_not_be_exact(graph: Graph) -> None:
    """One reader that cannot take the shift is enough for all of it to stay."""
    assert absorb(graph) is graph


@pytest.mark.parametrize(
    "between",
    [
        (),
        (MaxPool("m", ("a",), (3, 3), 1),),
        (SpatialMean("m", ("a",), disc(5)),),
        (Add("m", ("a", "a")),),
        (Cap("m", ("a",), np.full(4, 2.5)),),
    ],
    ids=["layer", "pool", "mean", "sum with itself", "cap"],
)
def test_shifts_pass_through_what_only_selects(between: tuple[Node, ...]) -> None:
    """The layer behind takes them, and the logits stay."""
    graph = _only(*between)
    absorbed = absorb(graph)
    assert _layer(absorbed, "a").bias == pytest.approx(_layer(graph, "a").bias - 1)
    # Sums of float64 in another order.
    assert logits_moved(absorbed, graph) < 1e-12


@pytest.mark.parametrize(("means", "moved"), [((1, 1, 3, 3), 1), ((1, 2, 3, 3), 0)])
def test_orbits_are_shifted_as_a_whole_or_not(means: list[float], moved: bool) -> None:
    """A maximum over channels takes a shift that all of them share."""
    maker = _maker(np.array(means, float), ONES, Activation.NONE)
    tail = random_conv(np.random.default_rng(1), "z", "m", (2, 2, 1, 1))
    graph = Graph((IMAGE, maker, OrbitMax("m", ("a",), 2), tail), "z")
    absorbed = absorb(graph)
    assert (absorbed is not graph) == bool(moved)
    # Sums of float64 in another order.
    assert logits_moved(absorbed, graph) < 1e-12
