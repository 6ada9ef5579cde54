"""Folding BatchNorm keeps the function and the statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs
from mobileq.graph.nodes import (
    Add,
    BatchNorm,
    Conv,
    Flatten,
    Input,
    Linear,
    Node,
    Relu,
    SpatialMean,
)
from mobileq.passes.fold import fold_batch_norm
from support.handmade import random_conv
from support.user_networks import WideResidual

IMAGE = Input("image", (), (3, 7, 7), trivial_fields(3))
MASK = np.ones((7, 7), np.uint8)


def _norm(rng: np.random.Generator, name: str, source: str, channels: int) -> BatchNorm:
    """BatchNorm with scales of either sign over five orders of magnitude, some 0."""
    scale = 10 ** rng.uniform(-3, 2, channels) * rng.choice([-1, 0, 1, 1], channels)
    return BatchNorm(
        name,
        (source,),
        scale,
        rng.normal(size=channels),
        rng.normal(size=channels),
        10 ** rng.uniform(-3, 2, channels),
        1e-5,
    )


def _images(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Two images."""
    return rng.normal(size=(2, 3, 7, 7))


def _require_same(graph: Graph, folded: Graph, images: np.ndarray[Any, Any]) -> None:
    """Compare in float64, relative to the largest value of each channel."""
    before, after = (outputs(g, images, dtype=torch.float64) for g in (graph, folded))
    others = tuple(axis for axis in range(before.ndim) if axis != 1)
    size = np.abs(before).max(others, keepdims=True)
    # Three float64 layers, whose scales span five orders of magnitude.
    assert (np.abs(after - before) <= 1e-9 * np.maximum(size, 1e-300)).all()


@given(seed=st.integers(0, 10_000), groups=st.sampled_from([1, 2, 4]))
def test_function_and_statistics_are_kept(seed: int, groups: int) -> None:
    """Conv - BatchNorm - ReLU, twice, with wild scales, gamma zero or negative."""
    rng = np.random.default_rng(seed)
    second = random_conv(rng, "d", "c", (4, 4 // groups, 3, 3), groups=groups)
    nodes = (
        random_conv(rng, "a", "image", (4, 3, 3, 3)),
        _norm(rng, "b", "a", 4),
        Relu("c", ("b",)),
        second,
        _norm(rng, "e", "d", 4),
    )
    graph = Graph((IMAGE, *nodes), "e")
    folded = fold_batch_norm(graph)
    assert [node.name for node in folded.nodes] == ["image", "b", "c", "e"]
    assert folded.output == "e"
    _require_same(graph, folded, _images(rng))
    for name in ("b", "e"):
        conv, norm = folded[name], graph[name]
        assert isinstance(conv, Conv)
        assert isinstance(norm, BatchNorm)
        assert conv.statistics is not None
        np.testing.assert_array_equal(conv.statistics.mean, norm.shift)
        np.testing.assert_array_equal(conv.statistics.std, np.abs(norm.scale))


def test_a_channel_with_gamma_zero_becomes_a_constant() -> None:
    """Its filter is zero and its bias is beta."""
    rng = np.random.default_rng(0)
    ones = np.ones(2)
    norm = BatchNorm("b", ("a",), np.array([0.0, 2.0]), 3 * ones, ones, ones, 1e-5)
    graph = Graph((IMAGE, random_conv(rng, "a", "image", (2, 3, 1, 1)), norm), "b")
    conv = fold_batch_norm(graph)["b"]
    assert isinstance(conv, Conv)
    assert not conv.weight[0].any()
    assert conv.bias[0] == 3.0


def test_two_norms_in_a_row() -> None:
    """Both are folded; the statistics are those of the last one."""
    rng = np.random.default_rng(0)
    conv = random_conv(rng, "a", "image", (4, 3, 3, 3))
    second = _norm(rng, "c", "b", 4)
    graph = Graph((IMAGE, conv, _norm(rng, "b", "a", 4), second), "c")
    folded = fold_batch_norm(graph)
    assert len(folded.nodes) == 2
    _require_same(graph, folded, _images(rng))
    last = folded["c"]
    assert isinstance(last, Conv)
    assert last.statistics is not None
    np.testing.assert_array_equal(last.statistics.mean, second.shift)


@pytest.mark.parametrize("case", ["image", "relu", "shared", "output", "vector"])
def test_a_norm_without_a_layer_of_its_own_becomes_one(case: str) -> None:
    """A depthwise convolution, or a diagonal linear layer, with the same statistics."""
    rng = np.random.default_rng(0)
    conv = random_conv(rng, "a", "image", (3, 3, 1, 1))
    flat = [SpatialMean("m", ("image",), MASK), Flatten("f", ("m",))]
    nodes: dict[str, tuple[list[Node], str]] = {
        "image": ([_norm(rng, "n", "image", 3)], "n"),
        "relu": ([conv, Relu("r", ("a",)), _norm(rng, "n", "r", 3)], "n"),
        "shared": ([conv, _norm(rng, "n", "a", 3), Add("s", ("n", "a"))], "s"),
        "output": ([conv, _norm(rng, "n", "a", 3), Add("s", ("n", "a"))], "a"),
        "vector": ([*flat, _norm(rng, "n", "f", 3)], "n"),
    }
    rest, output = nodes[case]
    graph = Graph((IMAGE, *rest), output)
    folded = fold_batch_norm(graph)
    _require_same(graph, folded, _images(rng))
    made, norm = folded["n"], graph["n"]
    assert isinstance(made, Linear if case == "vector" else Conv)
    assert isinstance(norm, BatchNorm)
    assert isinstance(made, Conv | Linear)
    assert made.statistics is not None
    np.testing.assert_array_equal(made.statistics.mean, norm.shift)
    np.testing.assert_array_equal(made.statistics.std, np.abs(norm.scale))


def test_a_norm_folds_into_a_linear_layer() -> None:
    """One layer is left, with the statistics of the BatchNorm."""
    rng = np.random.default_rng(0)
    layer = Linear("l", ("f",), rng.normal(size=(4, 3)), rng.normal(size=4))
    nodes = (
        IMAGE,
        SpatialMean("m", ("image",), MASK),
        Flatten("f", ("m",)),
        layer,
        _norm(rng, "n", "l", 4),
    )
    graph = Graph(nodes, "n")
    folded = fold_batch_norm(graph)
    _require_same(graph, folded, _images(rng))
    assert len(folded.nodes) == 4
    assert isinstance(folded["n"], Linear)


def test_a_norm_alone_keeps_the_symmetry_of_what_it_reads() -> None:
    """Its channels are permuted as those before it."""
    network = WideResidual().eval()
    graph = fold_batch_norm(collapse(network, (3, 9, 9)).graph)
    norm = graph["block2.norm1"]
    assert isinstance(norm, Conv)
    assert norm.fields.generators
    assert norm.fields.same_as(graph.fields(norm.inputs[0]))
