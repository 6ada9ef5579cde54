"""Statistics of clipped normal values, and their way through a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.errors import GraphError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.moments import (
    expected_maximum,
    pre_activation,
    propagate,
    tensor_statistics,
)
from mobileq.graph.nodes import Activation, Add, Cap, Input, Linear
from mobileq.graph.statistics import Statistics
from support.handmade import handmade_graph, random_conv

SAMPLES = 200_000


@given(
    mean=st.floats(-8, 8),
    std=st.floats(0.01, 5),
    high=st.sampled_from([6.0, 1.0, float("inf")]),
    seed=st.integers(0, 1000),
)
def test_clipping_against_monte_carlo(
    mean: float, std: float, high: float, seed: int
) -> None:
    """Mean and deviation of clipped normal values, as a large sample has them."""
    values = np.random.default_rng(seed).normal(mean, std, SAMPLES).clip(0.0, high)
    found = Statistics(np.array([mean]), np.array([std])).clipped(0.0, high)
    # A sample mean errs by std / sqrt(n), a sample deviation by at most about as much
    # again for the heavy tail that clipping leaves; six times that is never reached
    # but for a handful of values in the tail, which weigh std * 1 / n each.
    error = 6 * std / np.sqrt(SAMPLES)
    assert abs(float(found.mean[0]) - values.mean()) <= error
    # The deviation of a nearly constant value is a root of a small sample moment.
    second = float(found.std[0]) ** 2 - values.var()
    assert abs(second) <= 6 * std * (std + abs(mean)) / np.sqrt(SAMPLES)


@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU])
def test_a_cap_against_monte_carlo(activation: Activation) -> None:
    """Channels with bounds below, inside and above what they hold, and a dead one."""
    rng = np.random.default_rng(0)
    high = np.array([0.5, 6.0, 1e4, 0.1, 3.0])
    own = Statistics(np.array([2.0, 5.0, -1.0, 9.0, 4.0]), np.array([1, 2, 3, 0.5, 0]))
    image = Input("image", (), (5, 1, 1), trivial_fields(5))
    conv = random_conv(rng, "conv", "image", (5, 5, 1, 1), activation=activation)
    capped = Cap("capped", ("conv",), high)
    graph = Graph((image, replace(conv, statistics=own), capped), "capped")
    moments = propagate(graph)
    values = rng.normal(own.mean, own.std, (SAMPLES, 5))
    values = np.minimum(values.clip(*activation.bounds), high)
    found = moments.after["capped"]
    # Six standard errors of a mean; a deviation errs by no more, as it is smaller.
    error = 6 * own.std / np.sqrt(SAMPLES) + 1e-9
    assert (np.abs(found.mean - values.mean(0)) <= error).all()
    assert (np.abs(found.std - values.std(0)) <= error).all()
    assert moments.before["capped"] is moments.before["conv"]
    alone = own.clipped(0.0, high)
    for channel, bound in enumerate(high):
        one = Statistics(own.mean[[channel]], own.std[[channel]]).clipped(0.0, bound)
        assert (one.mean, one.std) == (alone.mean[channel], alone.std[channel])


@given(mean=st.floats(-1e6, 1e6), std=st.floats(0, 1e3))
def test_clipping_leaves_what_is_inside(mean: float, std: float) -> None:
    """Moments are finite, inside the bounds, and the deviation does not grow."""
    found = Statistics(np.array([mean]), np.array([std])).clipped(0.0, 6.0)
    # Cancellation of squares of up to 1e6 in float64.
    assert -1e-9 <= found.mean[0] <= 6 + 1e-9
    assert found.std[0] <= std * (1 + 1e-9) + 1e-4


@pytest.mark.parametrize("mean", [-3.0, 0.0, 2.0, 9.0, 1e9, -1e9])
def test_constants_are_clipped_like_numbers(mean: float) -> None:
    """A channel that never varies (gamma = 0) is clipped to one number."""
    found = Statistics(np.array([mean]), np.zeros(1)).clipped(0.0, 6.0)
    # A deviation of zero is computed as 1e-100, to divide by it.
    assert found.mean[0] == pytest.approx(min(max(mean, 0.0), 6.0), abs=1e-99)
    assert found.std[0] <= 1e-99


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (np.zeros(2), np.ones(3), r"mean has shape \(2,\), std \(3,\); wanted"),
        (np.array([np.nan]), np.ones(1), "NaN or infinity found; wanted finite"),
        (np.zeros(1), np.array([np.inf]), "NaN or infinity found; wanted finite"),
        (np.zeros(1), np.array([-1.0]), "std is -1.0; wanted no negative value"),
    ],
)
def test_impossible_statistics(
    mean: NDArray[np.float64], std: NDArray[np.float64], message: str
) -> None:
    """Wrong shapes, negative and non-finite values are refused."""
    with pytest.raises(GraphError, match=message):
        Statistics(mean, std)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_moments_of_a_convolution(groups: int) -> None:
    """Mean and deviation of independent normal inputs, against a sample."""
    rng = np.random.default_rng(groups)
    node = random_conv(rng, "a", "x", (4, 4 // groups, 3, 3), groups=groups)
    above = Statistics(rng.normal(size=4), rng.uniform(0.5, 2, 4))
    found = pre_activation(node, above)
    x = rng.normal(size=(SAMPLES // 10, 4, 9)) * above.std[:, None]
    x += above.mean[:, None]
    per_group = 4 // groups
    for channel in range(4):
        first = channel // (4 // groups) * per_group
        weight = node.weight[channel].reshape(per_group, 9)
        taken = x[:, first : first + per_group]
        values = (taken * weight).sum((1, 2)) + node.bias[channel]
        # Six standard errors of a mean, and of the deviation of a normal sample.
        error = 6 * found.std[channel] / np.sqrt(len(values))
        assert abs(found.mean[channel] - values.mean()) <= error
        assert abs(found.std[channel] - values.std()) <= error


def test_own_statistics_win() -> None:
    """Where BatchNorm told the statistics, nothing is propagated."""
    own = Statistics(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    node = Linear("a", ("x",), np.ones((2, 2)), np.ones(2), statistics=own)
    assert pre_activation(node, Statistics(np.zeros(2), np.ones(2))) is own


def test_sums_add_means_and_variances() -> None:
    """A residual sum of two independent tensors."""
    rng = np.random.default_rng(0)
    image = Input("image", (), (3, 5, 5), trivial_fields(3))
    left = random_conv(rng, "l", "image", (2, 3, 1, 1))
    right = random_conv(rng, "r", "image", (2, 3, 1, 1))
    graph = Graph((image, left, right, Add("s", ("l", "r"))), "s")
    found = tensor_statistics(graph)
    # The same formula, computed here in another order.
    np.testing.assert_allclose(
        found["s"].mean, found["l"].mean + found["r"].mean, rtol=1e-12
    )
    variance = found["l"].std ** 2 + found["r"].std ** 2
    np.testing.assert_allclose(found["s"].std ** 2, variance, rtol=1e-12)


def test_every_tensor_has_statistics_of_its_channels() -> None:
    """One mean and one deviation per channel, for every kind of node."""
    graph = handmade_graph()
    found = tensor_statistics(graph)
    assert {name: s.mean.shape for name, s in found.items()} == {
        name: shape[:1] for name, shape in graph.shapes.items()
    }


@pytest.mark.parametrize("count", [1, 2, 4, 12])
def test_expected_maximum_against_monte_carlo(count: int) -> None:
    """Mean of the largest of some normal values."""
    rng = np.random.default_rng(0)
    largest = rng.normal(size=(SAMPLES // 10, count)).max(1)
    # Six standard errors; the largest of several values varies less than one of them.
    error = 6 / np.sqrt(len(largest))
    assert abs(expected_maximum(count) - largest.mean()) <= error
