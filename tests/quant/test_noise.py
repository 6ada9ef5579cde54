"""Images of smooth noise: bounded, of mixed grain, the same for the same seed."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Input
from mobileq.quant.noise import _stretch, smooth_images, smooth_noise


def _graph(*shape: int) -> Graph:
    """An input of any shape."""
    return Graph((Input("x", (), shape, trivial_fields(shape[0])),), "x")


@given(size=st.integers(1, 12), wanted=st.integers(1, 40))
def test_stretching_is_bicubic(size: int, wanted: int) -> None:
    """As torch interpolates, along one axis after the other."""
    values = np.random.default_rng(size).normal(size=(size, size))
    found = _stretch(size, wanted) @ values @ _stretch(size, wanted).T
    tensor = torch.tensor(values)[None, None]
    expected = F.interpolate(tensor, (wanted, wanted), mode="bicubic")[0, 0].numpy()
    # The same cubics in float64; torch finds the distances in another way.
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_images_fit_any_input(height: int, width: int, seed: int) -> None:
    """Any grid; pixels differ, and one seed gives one set of images."""
    graph = _graph(3, height, width)
    found = smooth_images(graph, count=4, seed=seed)
    assert (found.dtype, found.shape) == (np.uint8, (4, height, width, 3))
    assert np.array_equal(found, smooth_images(graph, count=4, seed=seed))
    assert found.std() > 5


def test_real_values_stay_in_the_range_of_pixels() -> None:
    """Whatever is drawn."""
    found = smooth_noise(_graph(1, 33, 33), 64, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert found.min() == -1
    assert found.max() == np.float32(127 / 128)
