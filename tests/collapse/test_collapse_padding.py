"""Zeros around a tensor become the padding of what reads it, as torch computes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from escnn import gspaces
from escnn import nn as enn
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobileq.collapse.collapse import collapse
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs
from mobileq.graph.nodes import AveragePool, Conv, MaxPool, Padding
from mobileq.verify.symmetry import asymmetry


def _require_equal(network: nn.Module, shape: tuple[int, int, int]) -> Graph:
    """Collapse a network of one layer and compare; returns the graph."""
    images = torch.randn(2, *shape)
    graph = collapse(network.eval(), shape).graph
    with torch.no_grad():
        wanted = network(images).numpy()
    # One layer in float32, weights of order 0.1.
    np.testing.assert_allclose(
        outputs(graph, images.numpy()), wanted, rtol=1e-6, atol=1e-6
    )
    return graph


SIDES = st.tuples(*[st.integers(0, 3)] * 4)
LAYERS: dict[str, Callable[[tuple[int, int], int, int], nn.Module]] = {
    "convolution": lambda k, s, p: nn.Conv2d(3, 4, k, s, p),
    "depthwise": lambda k, s, p: nn.Conv2d(3, 3, k, s, p, groups=3),
    "average": lambda k, s, p: nn.AvgPool2d(k, s, min(p, min(k) // 2)),
    "maximum": lambda k, s, p: nn.MaxPool2d(k, s, min(p, min(k) // 2)),
}


@pytest.mark.parametrize("kind", LAYERS)
@settings(deadline=None, max_examples=10)
@given(
    sides=SIDES,
    kernel=st.tuples(st.integers(3, 5), st.integers(3, 5)),
    stride=st.integers(1, 3),
    own=st.integers(0, 1),
    function=st.booleans(),
)
def test_zeros_before_a_layer_become_its_padding(
    kind: str,
    sides: tuple[int, int, int, int],
    kernel: tuple[int, int],
    stride: int,
    own: int,
    function: bool,
) -> None:
    """Uneven zeros, by module or function, are added to the layer's own padding."""
    if kind == "maximum":
        # With the pool's own padding, fewer than the smallest kernel has.
        sides = tuple(min(side, 1) for side in sides)  # type: ignore[assignment]

    class Padded(nn.Module):
        """ReLU, zeros, layer."""

        def __init__(self) -> None:
            super().__init__()
            self.pad = nn.ZeroPad2d(sides)
            self.layer = LAYERS[kind](kernel, stride, own)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Pad one way or the other."""
            x = images.relu()
            x = F.pad(x, sides) if function else self.pad(x)
            result: torch.Tensor = self.layer(x)
            return result

    graph = _require_equal(Padded(), (3, 9, 8))
    assert len(graph.nodes) == 3  # image, ReLU, layer: none for the zeros
    node = graph[graph.output]
    assert isinstance(node, Conv | AveragePool | MaxPool)
    left, right, top, bottom = (side + own for side in sides)
    assert node.padding == Padding(top, bottom, left, right)


PADDERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "default mode": lambda x: F.pad(x, (0, 1, 2, 1)),
    "explicit zero": lambda x: F.pad(x, (0, 1, 2, 1), "constant", 0),
    "by keyword": lambda x: F.pad(x, pad=(0, 1, 2, 1), mode="constant", value=0.0),
    "operation": lambda x: torch.constant_pad_nd(x, (0, 1, 2, 1)),
    "one after the other": lambda x: F.pad(F.pad(x, (0, 1)), (0, 0, 2, 1)),
    "other axes not at all": lambda x: F.pad(x, (0, 1, 2, 1, 0, 0)),
    "copied": lambda x: F.pad(x, (0, 1, 2, 1)).clone(),
    "dropout in between": lambda x: F.dropout(F.pad(x, (0, 1, 2, 1)), training=False),
}


@pytest.mark.parametrize("name", PADDERS)
def test_every_way_to_pad_with_zeros(name: str) -> None:
    """All spellings give the same four sides, for each of several readers."""

    class Two(nn.Module):
        """Two convolutions read the padded tensor, a third one what was not padded."""

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, (4, 2))
            self.second = nn.Conv2d(3, 4, (4, 2), bias=False)
            self.third = nn.Conv2d(3, 4, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Sum of three."""
            padded = PADDERS[name](images)
            return self.first(padded) + self.second(padded) + self.third(images)

    graph = _require_equal(Two(), (3, 9, 9))
    found = [node.padding for node in graph.nodes if isinstance(node, Conv)]
    assert found == [Padding(2, 1, 0, 1), Padding(2, 1, 0, 1), Padding()]


@settings(deadline=None, max_examples=10)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    groups=st.sampled_from([1, 3]),
)
# Torch says that an even kernel costs it a copy.
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_padding_by_name(kernel: tuple[int, int], groups: int) -> None:
    """`same` keeps the grid, for even kernels with the odd zero at the end."""
    conv = nn.Conv2d(3, 6, kernel, padding="same", groups=groups)
    graph = _require_equal(nn.Sequential(conv), (3, 7, 8))
    assert graph.shapes[graph.output] == (6, 7, 8)
    valid = nn.Conv2d(3, 6, kernel, 2, padding="valid", groups=groups)
    graph = _require_equal(nn.Sequential(valid), (3, 7, 8))
    (node,) = graph.nodes[1:]
    assert isinstance(node, Conv)
    assert node.padding == Padding()


def test_uneven_zeros_in_an_equivariant_network_break_its_exact_symmetry() -> None:
    """The zeros reach the node, and the check of the geometry names it."""
    space = gspaces.rot2dOnR2(4)
    image = enn.FieldType(space, [space.trivial_repr] * 3)
    hidden = enn.FieldType(space, [space.regular_repr] * 2)

    class Steerable(nn.Module):
        """Zeros, a lifting convolution, and pooling over grid and orbit."""

        def __init__(self, sides: tuple[int, int, int, int]) -> None:
            super().__init__()
            self.sides = sides
            self.lift = enn.R2Conv(image, hidden, 3, stride=2)
            self.mean = enn.PointwiseAdaptiveAvgPool2D(hidden, 1)
            self.orbit = enn.GroupPooling(hidden)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Compute logits."""
            padded = enn.GeometricTensor(F.pad(images, self.sides), image)
            pooled: torch.Tensor = self.orbit(self.mean(self.lift(padded))).tensor
            return pooled.flatten(1)

    even = collapse(Steerable((1, 1, 1, 1)).eval(), (3, 9, 9)).graph
    assert asymmetry(even) is None
    uneven = collapse(Steerable((0, 1, 0, 1)).eval(), (3, 8, 8)).graph
    assert str(asymmetry(uneven)).startswith("Conv 'lift': padding Padding(top=0, ")
