"""Fusing activations and writing pools as convolutions keep the function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs, run
from mobileq.graph.moments import tensor_statistics
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Conv,
    Input,
    Node,
    Padding,
    Relu,
    Relu6,
    SpatialMean,
)
from mobileq.passes.fuse import fuse_activations
from mobileq.passes.pools import pools_to_convolutions
from support.handmade import disc, random_conv

RNG = np.random.default_rng(0)
IMAGE = Input("image", (), (3, 7, 7), trivial_fields(3))
ONE = Padding.even(1)


def _graph(*nodes: Node) -> Graph:
    """An image, then `nodes`."""
    return Graph((IMAGE, *nodes), nodes[-1].name)


def _computed(graph: Graph) -> np.ndarray[Any, Any]:
    """Result for two images with values far above 6."""
    images = np.random.default_rng(1).normal(scale=8, size=(2, 3, 7, 7))
    return outputs(graph, images, dtype=torch.float64)


def _conv(name: str, source: str = "image") -> Conv:
    """Three channels to three."""
    return random_conv(RNG, name, source, (3, 3, 3, 3), padding=ONE)


@pytest.mark.parametrize(
    ("kind", "activation"), [(Relu, Activation.RELU), (Relu6, Activation.RELU6)]
)
def test_layers_and_sums_take_their_activation(
    kind: type[Node], activation: Activation
) -> None:
    """Conv - ReLU and Add - ReLU become one node each, named after the ReLU."""
    graph = _graph(
        _conv("a"),
        kind("b", ("a",)),
        _conv("c", "b"),
        Add("d", ("b", "c")),
        kind("e", ("d",)),
    )
    fused = fuse_activations(graph)
    assert [node.name for node in fused.nodes] == ["image", "b", "c", "e"]
    for name in ("b", "e"):
        node = fused[name]
        assert isinstance(node, Conv | Add)
        assert node.activation is activation
    np.testing.assert_array_equal(_computed(fused), _computed(graph))


@pytest.mark.parametrize("case", ["shared", "image", "pool", "twice"])
def test_what_is_not_fused(case: str) -> None:
    """A ReLU stays where its layer has another reader, or is no layer."""
    conv, relu = _conv("a"), Relu("b", ("a",))
    graphs = {
        "shared": (_graph(conv, relu, Add("c", ("a", "b"))), ["image", "a", "b", "c"]),
        "image": (_graph(Relu("b", ("image",))), ["image", "b"]),
        "pool": (
            _graph(AveragePool("a", ("image",), (3, 3), 1), relu),
            ["image", "a", "b"],
        ),
        "twice": (_graph(conv, relu, Relu6("c", ("b",))), ["image", "b", "c"]),
    }
    graph, wanted = graphs[case]
    fused = fuse_activations(graph)
    assert [node.name for node in fused.nodes] == wanted
    np.testing.assert_array_equal(_computed(fused), _computed(graph))


def test_an_output_before_its_activation_is_kept() -> None:
    """The graph's own output is not fused away."""
    graph = Graph((IMAGE, _conv("a"), Relu("b", ("a",))), "a")
    assert fuse_activations(graph).output == "a"
    np.testing.assert_array_equal(_computed(fuse_activations(graph)), _computed(graph))


@given(
    kernel=st.sampled_from([(2, 2), (3, 3), (3, 1)]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
)
def test_windows_become_constant_filters(
    kernel: tuple[int, int], stride: int, padding: int
) -> None:
    """AveragePool as a depthwise convolution, padded zeros counted."""
    pool = AveragePool("p", ("a",), kernel, stride, Padding.even(padding))
    graph = _graph(_conv("a"), pool)
    rewritten = pools_to_convolutions(graph)
    conv = rewritten["p"]
    assert isinstance(conv, Conv)
    assert conv.depthwise
    # A mean of up to nine float64 values in another order.
    np.testing.assert_allclose(
        _computed(rewritten), _computed(graph), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("mask", [disc(7), np.ones((7, 7), np.uint8)])
def test_masked_means_become_one_large_filter(mask: np.ndarray[Any, Any]) -> None:
    """SpatialMean as a depthwise convolution; the statistics are its input's."""
    graph = _graph(_conv("a"), Relu("b", ("a",)), SpatialMean("m", ("b",), mask))
    rewritten = pools_to_convolutions(graph)
    conv = rewritten["m"]
    assert isinstance(conv, Conv)
    assert conv.weight.shape == (3, 1, 7, 7)
    assert len(np.unique(conv.weight[mask[None, None].repeat(3, 0) == 1])) == 1
    # A mean of 37 to 49 float64 values in another order.
    np.testing.assert_allclose(
        _computed(rewritten), _computed(graph), rtol=1e-12, atol=1e-12
    )
    assert conv.statistics is not None
    before = tensor_statistics(graph)["b"]
    np.testing.assert_array_equal(conv.statistics.mean, before.mean)
    np.testing.assert_array_equal(conv.statistics.std, before.std)


def test_graphs_without_pools_stay_as_they_are() -> None:
    """Every tensor is the same."""
    graph = _graph(_conv("a"), Relu("b", ("a",)))
    images = RNG.normal(size=(1, 3, 7, 7))
    before, after = run(graph, images), run(pools_to_convolutions(graph), images)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
