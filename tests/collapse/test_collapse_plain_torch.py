"""Networks without escnn: modules, functions, and modules that are used twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobileq.collapse.collapse import collapse
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs

Forward = Callable[["Network", torch.Tensor], torch.Tensor]


class Network(nn.Module):
    """Some modules, and a forward pass made of them."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.in_place = nn.ReLU(inplace=True)
        self.same_relu = self.relu
        self.relu6 = nn.ReLU6()
        self.square = nn.Conv2d(6, 6, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout()
        self.linear = nn.Linear(6, 3)
        self._forward = forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What the test wants."""
        return self._forward(self, images)


def _require_same(forward: Forward) -> Graph:
    """Collapse and compare; returns the graph."""
    torch.manual_seed(0)
    network = Network(forward)
    images = 3 * torch.randn(4, 3, 7, 7)
    with torch.no_grad():
        network.norm(network.conv(images))
        wanted = network.eval()(images).numpy()
    graph = collapse(network, (3, 7, 7)).graph
    found = outputs(graph, images.numpy())
    # A handful of layers in float32.
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    return graph


def _kinds(graph: Graph) -> list[str]:
    """Kinds of the nodes after the input."""
    return [type(node).__name__ for node in graph.nodes[1:]]


HEADS: dict[str, Callable[[Network, torch.Tensor], torch.Tensor]] = {
    "modules": lambda n, x: n.linear(n.flatten(n.pool(x))),
    "mean": lambda n, x: n.linear(x.mean((2, 3))),
    "negative axes": lambda n, x: n.linear(x.mean([-1, -2])),
    "kept axes": lambda n, x: n.linear(torch.flatten(x.mean((2, 3), keepdim=True), 1)),
    "function": lambda n, x: n.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)),
    "view": lambda n, x: n.linear(n.pool(x).view(len(x), -1)),
    "reshape": lambda n, x: n.linear(n.pool(x).reshape(x.shape[0], -1)),
    "dropout": lambda n, x: n.linear(n.dropout(n.flatten(n.pool(x)))),
}


@pytest.mark.parametrize("name", HEADS)
def test_every_way_to_pool_and_flatten(name: str) -> None:
    """Mean over the grid, then a linear layer, in all usual spellings."""
    graph = _require_same(lambda n, x: HEADS[name](n, n.relu(n.norm(n.conv(x)))))
    wanted = ["Conv", "BatchNorm", "Relu", "SpatialMean", "Flatten", "Linear"]
    assert _kinds(graph) == wanted


RECTIFIERS: dict[str, tuple[Forward, str]] = {
    "module": (lambda n, x: n.relu(x), "Relu"),
    "in place": (lambda n, x: n.in_place(x), "Relu"),
    "function": (lambda n, x: F.relu(x), "Relu"),
    "method": (lambda n, x: x.relu(), "Relu"),
    "ReLU6": (lambda n, x: n.relu6(x), "Relu6"),
    "relu6": (lambda n, x: F.relu6(x), "Relu6"),
    "hardtanh": (lambda n, x: F.hardtanh(x, 0.0, 6.0), "Relu6"),
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_every_rectifier(name: str) -> None:
    """Modules and functions for ReLU and ReLU6."""
    rectify, kind = RECTIFIERS[name]
    graph = _require_same(lambda n, x: HEADS["mean"](n, rectify(n, n.conv(x))))
    assert _kinds(graph)[:2] == ["Conv", kind]


BODIES: dict[str, Forward] = {
    "relu twice": lambda n, x: n.relu(n.square(n.relu(x))),
    "relu under two names": lambda n, x: n.same_relu(n.square(n.relu(x))),
    "convolution twice": lambda n, x: n.square(n.relu(n.square(x))),
    "convolution twice in a row": lambda n, x: n.square(n.square(x)),
    "norm twice in a row": lambda n, x: n.norm(n.norm(x)),
    "in-place sum": lambda n, x: n.square(x).add_(x),
    "sum with what was rectified in place": lambda n, x: x + n.square(n.in_place(x)),
    "copy before rectifying": lambda n, x: x.clone() + n.square(n.in_place(x)),
    "three branches": lambda n, x: n.square(x) + n.relu(x) + n.relu6(x),
}


@pytest.mark.parametrize("name", BODIES)
def test_modules_that_are_used_twice_and_residual_sums(name: str) -> None:
    """Each call is a node of its own, and in-place operations are seen by all."""
    graph = _require_same(lambda n, x: HEADS["mean"](n, BODIES[name](n, n.conv(x))))
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)


def test_a_block_that_is_called_twice() -> None:
    """Every module inside is lowered once for each call."""

    class Twice(nn.Module):
        """Calls one block two times."""

        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Apply the block to its own result."""
            result: torch.Tensor = self.block(self.block(images))
            return result.mean((2, 3))

    torch.manual_seed(0)
    network, images = Twice().eval(), torch.randn(2, 3, 5, 5)
    graph = collapse(network, (3, 5, 5)).graph
    kinds = ["Conv", "Relu", "Conv", "Relu", "SpatialMean", "Flatten"]
    assert _kinds(graph) == kinds
    with torch.no_grad():
        wanted = network(images).numpy()
    # Two layers in float32.
    np.testing.assert_allclose(
        outputs(graph, images.numpy()), wanted, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 6, 3, stride=2, bias=True),
        nn.Conv2d(3, 6, (3, 1), padding=(1, 0)),
        nn.Conv2d(3, 6, 5, groups=3, padding=2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d((3, 2), 2),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 1, 1),
        nn.BatchNorm2d(3, affine=False),
        nn.Identity(),
        nn.Dropout2d(),
    ],
)
def test_options_of_single_layers(layer: nn.Module) -> None:
    """Strides, kernels that are not square, groups, biases and paddings."""
    network = nn.Sequential(layer, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()).eval()
    images = torch.randn(2, 3, 9, 9)
    graph = collapse(network, (3, 9, 9)).graph
    with torch.no_grad():
        wanted = network(images).numpy()
    # One layer in float32.
    np.testing.assert_allclose(
        outputs(graph, images.numpy()), wanted, rtol=1e-5, atol=1e-6
    )
