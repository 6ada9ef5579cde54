"""What a network's own forward pass may call besides modules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from mobileq.collapse.collapse import collapse
from mobileq.errors import UnsupportedError
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs
from mobileq.graph.nodes import Concat, Mul
from mobileq.passes.fold import fold_batch_norm

SHAPE = (4, 6, 6)
ROUNDING = 1e-6
"""A handful of float32 operations, relative to the largest value."""


class Forward(nn.Module):
    """A forward pass in functions, with a buffer and a parameter."""

    scales: Tensor

    def __init__(self, forward: Callable[[Forward, Tensor], Tensor]) -> None:
        super().__init__()
        self._forward = forward
        self.register_buffer("scales", torch.linspace(-1, 1, 4).reshape(4, 1, 1))
        self.shift = nn.Parameter(torch.linspace(0, 1, 4))
        self.filters = nn.Parameter(torch.linspace(-1, 1, 144).reshape(4, 4, 3, 3))

    def forward(self, images: Tensor) -> Tensor:
        """What the test wants."""
        return self._forward(self, images)


def require_equal(network: nn.Module) -> Graph:
    """Compare with the graph, as it is collapsed and folded; returns the first."""
    images = torch.randn(3, *SHAPE)
    with torch.no_grad():
        wanted = network.eval()(images).numpy()
    graph = collapse(network, SHAPE).graph
    for stage in (graph, fold_batch_norm(graph)):
        found = outputs(stage, images.numpy())
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= ROUNDING * np.abs(wanted).max()
    return graph


Body = Callable[[Forward, Tensor], Tensor]
BODIES: dict[str, Body] = {
    "number added": lambda m, x: x + 1.5,
    "number first": lambda m, x: 2 + x,
    "number taken away": lambda m, x: x - 0.25,
    "buffer times": lambda m, x: m.scales * x,
    "parameter, reshaped": lambda m, x: x + m.shift.view(1, -1, 1, 1) * 2,
    "times a share": lambda m, x: torch.add(x, m.scales, alpha=0.5),
    "twice the same": lambda m, x: x + x,
    "nothing left": lambda m, x: x + (x.relu() - x.relu()),
    "scaled sum": lambda m, x: torch.add(x, x.relu(), alpha=2),
    "difference": lambda m, x: x.relu() - x,
    "taken from a number": lambda m, x: 1 - x,
    "taken from a buffer": lambda m, x: m.scales - x,
    "negative": lambda m, x: -x,
    "divided": lambda m, x: x / 3,
    "divided by a parameter": lambda m, x: x / (1 + m.shift.view(1, -1, 1, 1)),
    "square": lambda m, x: x * x,
    "product": lambda m, x: x * x.relu(),
    "gate": lambda m, x: x * x.mean((2, 3), keepdim=True),
    "joined, one twice": lambda m, x: torch.cat([x.relu(), x, x.relu()], dim=1),
    "joined on the last but two": lambda m, x: torch.cat([x, x.relu()], dim=-3),
    "joined vectors": lambda m, x: torch.cat(
        [x.mean((2, 3)), x.relu().mean((2, 3))], dim=1
    ),
    "sigmoid": lambda m, x: torch.sigmoid(x),
    "silu": lambda m, x: F.silu(x),
    "elu": lambda m, x: F.elu(x),
    "leaky relu": lambda m, x: F.leaky_relu(x, 0.3),
    "leaky relu as usual": lambda m, x: F.leaky_relu(x),
    "leaky relu of slope 0": lambda m, x: F.leaky_relu(x, 0.0),
    "hard sigmoid": lambda m, x: F.hardsigmoid(4 * x),
    "hard swish": lambda m, x: F.hardswish(4 * x),
    "clamped below": lambda m, x: x.clamp(min=0),
    "clamped": lambda m, x: torch.clamp(4 * x, 0, 6),
    "maximum over the grid": lambda m, x: x.amax((2, 3)),
    "maximum and mean, kept": lambda m, x: (
        x.amax((-2, -1), keepdim=True) + x.mean((2, 3), keepdim=True)
    ),
    "squeezed at once": lambda m, x: F.adaptive_avg_pool2d(x, 1).squeeze(),
    "squeezed twice": lambda m, x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "maximum pool": lambda m, x: F.max_pool2d(x, 2),
    "maximum pool with options": lambda m, x: F.max_pool2d(x, 3, 1, padding=1),
    "average pool": lambda m, x: F.avg_pool2d(x, (3, 2), stride=1),
    "convolution": lambda m, x: F.conv2d(
        x, m.filters, m.shift, stride=2, padding=1, dilation=2
    ),
    "convolution by groups": lambda m, x: F.conv2d(x, m.filters[:, :1], groups=4),
    "convolution of the same size": lambda m, x: F.conv2d(x, m.filters, padding="same"),
    "convolution between zeros": lambda m, x: F.conv2d(
        F.pad(x, (1, 0, 2, 1)), m.filters
    ),
    "linear": lambda m, x: F.linear(x.mean((2, 3)), m.filters[:, :, 0, 0]),
    "mirror image around it": lambda m, x: F.pad(x, (1, 0, 2, 1), mode="reflect"),
    "border around it": lambda m, x: F.pad(x, (3, 1, 0, 7), mode="replicate"),
    "other side around it": lambda m, x: F.pad(x, (6, 1, 2, 1), mode="circular"),
    "global maximum": lambda m, x: F.adaptive_max_pool2d(x, 1),
    "pool to a grid": lambda m, x: F.adaptive_avg_pool2d(x, (3, 3)),
    "nearest": lambda m, x: F.interpolate(x, scale_factor=2.0),
    "bilinear": lambda m, x: F.interpolate(x, size=(18, 18), mode="bilinear"),
    "dropout of channels": lambda m, x: F.dropout2d(x, 0.5, m.training).relu(),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_function_is_lowered_to_the_same_values(name: str) -> None:
    """Constants, joins, gates, activations and pools between modules."""
    require_equal(Forward(BODIES[name]))


@settings(deadline=None, max_examples=10)
@given(order=st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_joined_tensors_keep_their_order(order: list[int]) -> None:
    """Also where one of them occurs more than once."""

    def join(module: Forward, images: Tensor) -> Tensor:
        parts = [images, images.relu(), images.sigmoid()]
        return torch.cat([parts[index] for index in order], dim=1)

    graph = require_equal(Forward(join))
    (joined,) = (node for node in graph.nodes if isinstance(node, Concat))
    assert len(joined.inputs) == len(order)


MODULES: dict[str, nn.Module] = {
    "SiLU": nn.SiLU(),
    "Sigmoid": nn.Sigmoid(),
    "ELU": nn.ELU(),
    "LeakyReLU": nn.LeakyReLU(0.2),
    "PReLU": nn.PReLU(init=0.4),
    "Hardsigmoid": nn.Hardsigmoid(),
    "Hardswish": nn.Hardswish(),
    "normalization of an image": nn.BatchNorm2d(4),
    "normalization of a pool": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)),
    "normalization of a vector": nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.BatchNorm1d(5)
    ),
    "normalization of pooled values": nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2)
    ),
    "maximum pool to a grid": nn.AdaptiveMaxPool2d(2),
    "upsampling": nn.Upsample(scale_factor=3),
    "dilated": nn.Conv2d(4, 4, 3, dilation=2, padding="same"),
    "mirror image": nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(4, 4, 3)),
    "even kernel in a circle": nn.Conv2d(
        4, 4, 2, padding="same", padding_mode="circular"
    ),
    "weights that are normalized": weight_norm(nn.Conv2d(4, 4, 3)),
    "flattened grid": nn.Sequential(
        nn.Flatten(), nn.Linear(144, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_plain_module_is_lowered_to_the_same_values(name: str) -> None:
    """Smooth activations, and BatchNorm that follows anything."""
    network = nn.Sequential(MODULES[name])
    network.train()(torch.randn(8, *SHAPE))
    require_equal(network)


def test_places_of_maxima_are_refused() -> None:
    """A second result would silently be taken for the first one."""

    def places(module: Forward, images: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(images, 1, return_indices=True)[1]

    with pytest.raises(UnsupportedError, match=r"^model: result 1 of an operation"):
        collapse(Forward(places), SHAPE)


def test_a_gate_is_one_product() -> None:
    """Nothing is spread out over the grid for it."""
    graph = require_equal(Forward(BODIES["gate"]))
    (product,) = (node for node in graph.nodes if isinstance(node, Mul))
    assert [graph.shapes[name] for name in product.inputs] == [SHAPE, (4, 1, 1)]
