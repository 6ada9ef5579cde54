"""Statistics from images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.collapse.collapse import collapse
from mobileq.graph.execute import run
from mobileq.graph.fields import FieldBlocks, trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, Conv, Input, Linear
from mobileq.graph.statistics import Statistics
from mobileq.passes.pipeline import run_pipeline
from mobileq.quant.observe_statistics import observed_statistics
from support.handmade import random_conv
from support.networks import (
    normalized,
    random_network,
    random_pixels,
)

IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))
SEEDS = st.integers(0, 10_000)


def _deployable(seed: int) -> tuple[Graph, NDArray[np.uint8]]:
    """A random network and eight images (N, H, W, C) for it."""
    network, shape = random_network(seed)
    graph = run_pipeline(collapse(network, shape).graph)[-1].graph
    return graph, random_pixels(8, shape, seed + 1)


def _tensors(graph: Graph, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Every tensor of the graph on the images."""
    return dict(run(graph, normalized(pixels).numpy()))


@settings(max_examples=6)
@given(seed=SEEDS)
def test_statistics_are_those_of_the_images(seed: int) -> None:
    """Mean and deviation of each block over images and grid, with equal bits."""
    graph, _ = _deployable(seed)
    pixels = random_pixels(37, graph.input.shape, seed)  # two batches
    measured = observed_statistics(graph, pixels, only_missing=False)
    before = {
        node.name: replace(node, activation=Activation.NONE)
        for node in graph.nodes
        if isinstance(node, Conv | Linear)
    }
    tensors = _tensors(graph, pixels)
    for name, node in before.items():
        found = measured[name]
        assert isinstance(found, Conv | Linear)
        assert found.statistics is not None
        block = graph.fields(name).block
        source = graph.shapes[node.inputs[0]]
        above = Input("above", (), source, trivial_fields(source[0]))
        if len(source) != 3:
            continue
        alone = Graph((above, replace(node, inputs=("above",))), name)
        values = run(alone, tensors[node.inputs[0]])[name].astype(np.float64)
        for index in np.unique(block):
            own = values[:, block == index]
            mean, std = (v[block == index] for v in _both(found.statistics))
            assert len(set(mean)) == len(set(std)) == 1, name
            # The same float32 values but for the order of sums; float64 from there.
            slack = 1e-5 * (abs(own).max() + own.std())
            assert mean[0] == pytest.approx(own.mean(), abs=slack), name
            assert std[0] == pytest.approx(own.std(), abs=slack), name


def _both(statistics: Statistics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation."""
    return statistics.mean, statistics.std


def test_known_statistics_are_kept() -> None:
    """Those of BatchNorm are better, unless they are asked to go."""
    known = Statistics(np.array([7.0, 8.0]), np.array([1.0, 2.0]))
    rng = np.random.default_rng(0)
    first = replace(random_conv(rng, "a", "image", (2, 3, 3, 3)), statistics=known)
    graph = Graph((IMAGE, first, random_conv(rng, "b", "a", (2, 2, 1, 1))), "b")
    pixels = random_pixels(3, (3, 5, 5), 0)
    kept, new = observed_statistics(graph, pixels)["a"], graph["b"]
    assert isinstance(kept, Conv)
    assert kept.statistics is known
    assert isinstance(new, Conv)
    assert new.statistics is None
    new = observed_statistics(graph, pixels)["b"]
    assert isinstance(new, Conv)
    assert new.statistics is not None
    gone = observed_statistics(graph, pixels, only_missing=False)["a"]
    assert isinstance(gone, Conv)
    assert gone.statistics is not None
    assert gone.statistics.mean[0] != 7.0


def test_statistics_of_a_block_are_tied() -> None:
    """Channels of one block share mean and second moment, whatever they hold."""
    fields = FieldBlocks("C2", np.array([0, 0]))
    conv = random_conv(np.random.default_rng(0), "a", "image", (2, 3, 3, 3))
    graph = Graph((IMAGE, replace(conv, fields=fields)), "a")
    pixels = random_pixels(3, (3, 5, 5), 0)
    found = observed_statistics(graph, pixels)["a"]
    assert isinstance(found, Conv)
    assert found.statistics is not None
    values = _tensors(graph, pixels)["a"].astype(np.float64)
    # Float64 from the same float32 values.
    np.testing.assert_allclose(found.statistics.mean, values.mean(), atol=1e-6)
    np.testing.assert_allclose(found.statistics.std, values.std(), atol=1e-6)
