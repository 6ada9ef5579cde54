"""Images synthesised from statistics, and the executor that gives gradients."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.errors import GraphError, RecipeError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run, steps
from mobileq.graph.nodes import Conv, Input, Linear
from mobileq.graph.statistics import Statistics
from mobileq.passes.pipeline import run_pipeline
from mobileq.quant.observe_statistics import observed_statistics
from mobileq.quant.synthesise import statistics_mismatch, synthesised_images
from support.handmade import handmade_graph, random_conv
from support.images import random_pixels
from support.networks import random_network


def _graph(seed: int) -> Graph:
    """A random network, deployable, with the statistics of BatchNorm."""
    network, shape = random_network(seed)
    return run_pipeline(collapse(network, shape).graph)[-1].graph


@settings(max_examples=4)
@given(seed=st.integers(0, 10_000))
def test_statistics_come_closer(seed: int) -> None:
    """A few steps take away most of the mismatch of the smooth noise at the start."""
    graph = _graph(seed)
    start = synthesised_images(graph, count=8, steps=0, seed=seed)
    images = synthesised_images(graph, count=8, steps=25, seed=seed)
    assert images.dtype == np.uint8
    assert images.shape == (8, *graph.input.shape[1:], graph.input.shape[0])
    before, after = (statistics_mismatch(graph, p) for p in (start, images))
    # Measured: a quarter at most; the statistics are those of noise of another kind,
    # so there is a rest.
    assert after < 0.5 * before


def test_real_statistics_are_reached() -> None:
    """Means and deviations of every layer on images are found again from images."""
    shape = (3, 9, 9)
    graph = observed_statistics(handmade_graph(), random_pixels(64, shape, 0))
    images = synthesised_images(graph, count=16, steps=60)
    found = observed_statistics(graph, images, only_missing=False)
    for name in ("stem", "expand", "depthwise", "project", "head"):
        wanted, layer = graph[name], found[name]
        assert isinstance(wanted, Conv | Linear)
        assert wanted.statistics is not None
        assert isinstance(layer, Conv | Linear)
        assert layer.statistics is not None
        mean, std = wanted.statistics.mean, wanted.statistics.std
        alive = std > 0.01 * std.max()
        away = (layer.statistics.mean - mean)[alive] / std[alive]
        # In deviations. Sixteen images cannot have all moments of sixty-four others.
        assert np.abs(away).max() < 0.3, name
        assert np.abs(layer.statistics.std[alive] / std[alive] - 1).max() < 0.3, name


def test_a_seed_decides_everything() -> None:
    """The same seed gives the same images; another one gives others."""
    graph = _graph(3)
    first, again, other = (
        synthesised_images(graph, count=3, steps=3, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_batches_and_reports() -> None:
    """Twenty images are two batches; every step of both is reported."""
    graph = _graph(5)
    told: list[tuple[int, int]] = []

    def report(done: int, total: int, mismatch: float) -> None:
        assert np.isfinite(mismatch)
        told.append((done, total))

    images = synthesised_images(graph, count=20, steps=2, report=report)
    assert len(images) == 20
    assert len(np.unique(images.reshape(20, -1), axis=0)) == 20
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_dead_channels_do_no_harm() -> None:
    """A channel or a layer without deviation gives no NaN and no wrong pull."""
    rng = np.random.default_rng(0)
    image = Input("image", (), (3, 8, 8), trivial_fields(3))
    alive = np.array([1.0, 0.0])
    first = random_conv(rng, "a", "image", (2, 3, 3, 3))
    first = replace(
        first,
        weight=first.weight * alive[:, None, None, None],
        statistics=Statistics(first.bias, 0.5 * alive),
    )
    dead = replace(
        random_conv(rng, "b", "a", (2, 2, 1, 1)),
        weight=np.zeros((2, 2, 1, 1)),
        bias=np.array([1.0, 0.0]),
        statistics=Statistics(np.array([1.0, 0.0]), np.zeros(2)),
    )
    graph = Graph((image, first, dead), "b")
    images = synthesised_images(graph, count=8, steps=40)
    # One deviation of one channel is all there is to match.
    assert statistics_mismatch(graph, images) < 0.01


def test_pixels_of_another_scale() -> None:
    """Grey levels four times as large, weights a quarter: the same images."""
    graph = observed_statistics(handmade_graph(), random_pixels(8, (3, 9, 9), 0))
    stem = graph["stem"]
    assert isinstance(stem, Conv)
    image = replace(graph.input, pixel_scale=4 * graph.input.pixel_scale)
    changes = {"image": image, "stem": replace(stem, weight=stem.weight / 4)}
    first = synthesised_images(graph, count=4, steps=20)
    second = synthesised_images(graph.replaced(changes), count=4, steps=20)
    # Factors of two are exact; only the constant in Adam's denominator differs.
    assert np.abs(first.astype(int) - second).mean() < 0.5
    assert np.abs(first.astype(int) - 128).mean() > 20


def test_nothing_to_match() -> None:
    """Without statistics the error says what to do."""
    with pytest.raises(GraphError, match="no Conv or Linear has statistics"):
        synthesised_images(handmade_graph())
    with pytest.raises(GraphError, match="calibration images instead"):
        statistics_mismatch(handmade_graph(), random_pixels(1, (3, 9, 9), 0))


@pytest.mark.parametrize("options", [{"count": 0}, {"steps": -1}, {"seed": -1}])
def test_impossible_options(options: dict[str, int]) -> None:
    """The message shows all three."""
    with pytest.raises(RecipeError, match=r"count .* steps .* seed"):
        synthesised_images(handmade_graph(), **options)  # type: ignore[arg-type]


def test_weights_that_overflow() -> None:
    """A mismatch that is not finite ends the search."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (2, 3, 3, 3))
    known = Statistics(np.zeros(2), np.ones(2))
    image = Input("image", (), (3, 5, 5), trivial_fields(3))
    huge = replace(conv, weight=conv.weight * 1e39, statistics=known)
    with pytest.raises(GraphError, match=r"mismatch .* wanted a finite one"):
        synthesised_images(Graph((image, huge), "a"), count=1, steps=1)


def test_steps_are_what_run_computes() -> None:
    """Each step has the tensor of its node; gradients reach the images."""
    graph = handmade_graph()
    images = torch.randn(2, *graph.input.shape, requires_grad=True)
    wanted = run(graph, images.detach().numpy())
    found = list(steps(graph, images))
    for step in found:
        np.testing.assert_array_equal(
            step.after.detach().numpy(), wanted[step.node.name]
        )
    stem = next(step for step in found if step.node.name == "stem")
    assert (stem.before < 0).any()
    assert not (stem.after < 0).any()
    found[-1].before.sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).any()


def test_steps_keep_no_tensor_after_its_last_reader() -> None:
    """Once nobody will read a tensor it is freed."""
    graph = handmade_graph()
    alive: dict[str, weakref.ref[torch.Tensor]] = {}
    with torch.inference_mode():
        for step in steps(graph, torch.randn(2, *graph.input.shape)):
            if step.node.name == "head":
                kept = {name for name, ref in alive.items() if ref() is not None}
                # Its own input, and the image, which belongs to the caller.
                assert "stem" not in kept
                assert kept <= {"image", "largest"}
            alive[step.node.name] = weakref.ref(step.after)
            del step
    assert "head" in alive
