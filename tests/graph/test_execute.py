"""The executor without torch computes what the one with torch defines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mobileq.collapse.collapse import collapse
from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph import execute, interpret
from mobileq.graph.base import Node, Padding
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.kernels import convolved, padded, window_max, window_mean
from mobileq.graph.nodes import Input
from mobileq.passes.pipeline import DEPLOY, run_pipeline
from support.every_node import everything
from support.networks import random_network

# Both sum the same float64 products, perhaps in another order.
EXACT = 1e-12
# The same in float32: some ten layers of sums of up to some hundred products.
SINGLE = 1e-4
ROOT = Path(__file__).resolve().parents[2]

dimension = st.integers(1, 3)


def _normal(seed: int, *shape: int) -> Any:
    """Random numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def _require_equal(found: Any, wanted: Any, tolerance: float) -> None:
    """Every tensor of one executor is that of the other."""
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].shape == values.shape, name
        largest = np.abs(values).max()
        assert np.abs(found[name] - values).max() <= tolerance * largest, name


@given(seed=st.integers(0, 1000))
def test_every_kind_of_node(seed: int) -> None:
    """All tensors of a graph that has all kinds of nodes."""
    graph = everything(3 * seed)
    images = _normal(seed, 2, *graph.input.shape)
    wanted = interpret.run(graph, images, dtype=torch.float64)
    _require_equal(execute.run(graph, images, dtype=np.float64), wanted, EXACT)


@given(seed=st.integers(0, 1000))
def test_random_networks(seed: int) -> None:
    """Networks of every family, as collapsed and as deployed, in float32."""
    network, shape = random_network(seed)
    collapsed = collapse(network, shape).graph
    for graph in (collapsed, run_pipeline(collapsed, DEPLOY)[-1].graph):
        images = _normal(seed, 2, *shape)
        wanted = interpret.run(graph, images)
        _require_equal(execute.run(graph, images), wanted, SINGLE)
        found = execute.outputs(graph, images)
        assert np.array_equal(found, execute.run(graph, images)[graph.output])


@given(
    seed=st.integers(0, 1000),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=dimension,
    dilation=dimension,
    groups=st.sampled_from([1, 2, 4]),
    out=st.sampled_from([4, 8]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_convolution(
    seed: int,
    kernel: tuple[int, int],
    stride: int,
    dilation: int,
    groups: int,
    out: int,
    dtype: str,
) -> None:
    """Any kernel, stride, dilation and grouping, against torch."""
    x = _normal(seed, 2, 4, 12, 11).astype(dtype)
    weight = _normal(seed + 1, out, 4 // groups, *kernel)
    found = convolved(x, weight, stride=stride, groups=groups, dilation=dilation)
    constant = torch.tensor(weight.astype(dtype))
    wanted = F.conv2d(
        torch.tensor(x), constant, stride=stride, dilation=dilation, groups=groups
    )
    assert found.dtype == dtype
    # At most 64 products of numbers around 1.
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=tolerance)


@given(
    seed=st.integers(0, 1000),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=dimension,
    sides=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_windows(
    seed: int, kernel: tuple[int, int], stride: int, sides: tuple[int, ...]
) -> None:
    """Maxima and means of windows on a padded grid, against torch."""
    x = _normal(seed, 2, 3, 7, 9)
    border = padded(x, Padding(*sides), -1.0)
    top, bottom, left, right = sides
    wanted = F.pad(torch.tensor(x), (left, right, top, bottom), value=-1.0)
    assert np.array_equal(border, wanted.numpy())
    largest = window_max(border, kernel, stride)
    assert np.array_equal(largest, F.max_pool2d(wanted, kernel, stride).numpy())
    mean = F.avg_pool2d(wanted, kernel, stride).numpy()
    np.testing.assert_allclose(window_mean(border, kernel, stride), mean, atol=EXACT)


@given(seed=st.integers(0, 1000), groups=st.sampled_from([1, 4]))
def test_sums_of_integers_are_exact(seed: int, groups: int) -> None:
    """As the integer simulator needs it: 8-bit values in float64, in any order."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-255, 256, (1, 4, 6, 6))
    weight = rng.integers(-128, 128, (4, 4 // groups, 3, 3))
    found = convolved(x.astype(np.float64), weight, groups=groups)
    wanted = F.conv2d(torch.tensor(x), torch.tensor(weight), groups=groups)
    assert np.array_equal(found, wanted.numpy())


def test_images_of_another_shape_are_refused() -> None:
    """The message names the input, the shape found and the shape wanted."""
    graph = everything(0)
    wanted = r"^Input 'image': images have shape \(4, 7, 7\); wanted \(3, 9, 9\)"
    with pytest.raises(GraphError, match=wanted):
        execute.run(graph, np.zeros((2, 4, 7, 7)))


class _Strange(Node):
    """Nothing that anyone knows."""


def test_what_it_does_not_know_is_refused() -> None:
    """A node kind without a definition is an error, not a guess."""
    image = Input("x", (), (1, 2, 2), trivial_fields(1))
    graph = Graph((image, _Strange("y", ("x",))), "y")
    with pytest.raises(UnsupportedError, match=r"^_Strange 'y': cannot be computed"):
        execute.run(graph, np.zeros((1, 1, 2, 2)))


def test_it_is_imported_without_torch() -> None:
    """Nor do the passes, the simulator and quantization import it."""
    modules = (
        "mobileq.graph.execute, mobileq.quant.simulate, mobileq.passes.pipeline, "
        "mobileq.deploy"
    )
    code = (
        f"import sys, {modules}; print('torch' in sys.modules, 'escnn' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == ["False", "False"]
