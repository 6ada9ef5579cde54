"""The reference executor, node by node, against torch's own modules in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs, run
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Cap,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    Padding,
    Relu,
    Relu6,
    SpatialMean,
)
from support.handmade import disc

# The same float64 sums, perhaps in another order.
ROUNDING = 1e-10
CHANNELS, SIZE = 4, 7


def _images(seed: int = 0) -> torch.Tensor:
    """(2, 4, 7, 7) random numbers, some above 6."""
    torch.manual_seed(seed)
    return 4 * torch.randn(2, CHANNELS, SIZE, SIZE, dtype=torch.float64)


def _computed(images: torch.Tensor, *nodes: Node) -> np.ndarray[Any, Any]:
    """Result of the last node."""
    image = Input("x", (), tuple(images.shape[1:]), trivial_fields(CHANNELS))
    graph = Graph((image, *nodes), nodes[-1].name)
    return outputs(graph, images.numpy(), dtype=torch.float64)


def _require(found: np.ndarray[Any, Any], wanted: torch.Tensor) -> None:
    """Compare in float64."""
    assert found.dtype == np.float64
    np.testing.assert_allclose(
        found, wanted.detach().numpy(), rtol=ROUNDING, atol=ROUNDING
    )


@given(
    seed=st.integers(0, 1000),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    groups=st.sampled_from([1, 2, 4]),
    activation=st.sampled_from(list(Activation)),
)
def test_convolution(
    seed: int,
    kernel: int,
    stride: int,
    padding: int,
    groups: int,
    activation: Activation,
) -> None:
    """Conv with every stride, padding, grouping and activation."""
    images = _images(seed)
    conv = nn.Conv2d(
        CHANNELS, 8, kernel, stride=stride, padding=padding, groups=groups
    ).double()
    assert conv.bias is not None
    node = Conv(
        "y",
        ("x",),
        conv.weight.detach().numpy(),
        conv.bias.detach().numpy(),
        trivial_fields(8),
        stride=stride,
        padding=Padding.even(padding),
        groups=groups,
        activation=activation,
    )
    after = {Activation.NONE: nn.Identity, Activation.RELU: nn.ReLU}
    wanted = after.get(activation, nn.ReLU6)()(conv(images))
    _require(_computed(images, node), wanted)


def test_padding_of_four_different_sides() -> None:
    """Convolution and pools pad top, bottom, left and right as told."""
    images = _images()
    weight = torch.randn(3, CHANNELS, 3, 3, dtype=torch.float64)
    sides = Padding(top=0, bottom=1, left=2, right=0)
    padded = F.pad(images, (2, 0, 0, 1))
    conv = Conv(
        "y", ("x",), weight.numpy(), np.zeros(3), trivial_fields(3), padding=sides
    )
    _require(_computed(images, conv), F.conv2d(padded, weight))
    lowest = F.pad(images, (2, 0, 0, 1), value=-torch.inf)
    largest = MaxPool("y", ("x",), (3, 3), 2, sides)
    _require(_computed(images, largest), F.max_pool2d(lowest, 3, 2))
    mean = AveragePool("y", ("x",), (3, 3), 2, sides)
    _require(_computed(images, mean), F.avg_pool2d(padded, 3, 2))


def test_batch_norm() -> None:
    """BatchNorm on feature maps and on flat tensors."""
    images = _images()
    norm = nn.BatchNorm2d(CHANNELS).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(CHANNELS))
        norm(images)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    node = BatchNorm(
        "y",
        ("x",),
        norm.weight.detach().numpy(),
        norm.bias.detach().numpy(),
        norm.running_mean.numpy(),
        norm.running_var.numpy(),
        norm.eps,
    )
    _require(_computed(images, node), norm.eval()(images))


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2])
def test_pools(stride: int, padding: int) -> None:
    """Windows, with padded zeros counted in the mean and never the maximum."""
    images = _images() - 10
    sides = Padding.even(padding)
    mean = AveragePool("y", ("x",), (3, 3), stride, sides)
    _require(_computed(images, mean), nn.AvgPool2d(3, stride, padding)(images))
    largest = MaxPool("y", ("x",), (3, 3), stride, sides)
    _require(_computed(images, largest), nn.MaxPool2d(3, stride, padding)(images))


@pytest.mark.parametrize("activation", list(Activation))
def test_sums_and_linear_layers(activation: Activation) -> None:
    """Add and Linear, with their activations."""
    images = _images()
    after = {Activation.NONE: nn.Identity, Activation.RELU: nn.ReLU}
    active = after.get(activation, nn.ReLU6)()
    doubled = Add("y", ("x", "r"), activation=activation)
    _require(
        _computed(images, Relu("r", ("x",)), doubled),
        active(images + images.relu()),
    )
    linear = nn.Linear(CHANNELS * SIZE * SIZE, 3).double()
    node = Linear(
        "y",
        ("f",),
        linear.weight.detach().numpy(),
        linear.bias.detach().numpy(),
        activation=activation,
    )
    found = _computed(images, Flatten("f", ("x",)), node)
    _require(found, active(linear(images.flatten(1))))


def test_everything_without_weights() -> None:
    """ReLU, ReLU6, caps, masks, masked means, orbit maxima and flattening."""
    images = _images()
    mask = torch.from_numpy(disc(SIZE)).double()
    grid = disc(SIZE)
    mean = (images * mask).sum((2, 3), keepdim=True) / mask.sum()
    orbit = torch.stack([images[:, :2].amax(1), images[:, 2:].amax(1)], 1)
    high = torch.tensor([0.5, 2.0, 6.0, 1e9], dtype=torch.float64)
    repeated = high.repeat_interleave(SIZE * SIZE)
    cases: list[tuple[Node, torch.Tensor]] = [
        (Relu("y", ("x",)), nn.ReLU()(images)),
        (Relu6("y", ("x",)), nn.ReLU6()(images)),
        (Mask("y", ("x",), grid), images * mask),
        (SpatialMean("y", ("x",), grid), mean),
        (OrbitMax("y", ("x",), 2), orbit),
        (Flatten("y", ("x",)), images.flatten(1)),
        (Cap("y", ("x",), high.numpy()), images.minimum(high[:, None, None])),
    ]
    for node, wanted in cases:
        _require(_computed(images, node), wanted)
    flat = Flatten("f", ("x",)), Cap("y", ("f",), repeated.numpy())
    _require(_computed(images, *flat), images.flatten(1).minimum(repeated))


def test_every_tensor_is_returned() -> None:
    """`run` gives each tensor by name, in float32 unless told otherwise."""
    image = Input("x", (), (CHANNELS, SIZE, SIZE), trivial_fields(CHANNELS))
    graph = Graph((image, Relu("a", ("x",)), Relu6("b", ("a",))), "b")
    tensors = run(graph, _images().numpy())
    assert list(tensors) == ["x", "a", "b"]
    assert {t.dtype for t in tensors.values()} == {np.dtype(np.float32)}


def test_images_of_another_shape_are_refused() -> None:
    """The message names the input, the shape found and the shape wanted."""
    image = Input("x", (), (CHANNELS, 5, 5), trivial_fields(CHANNELS))
    graph = Graph((image, Relu("a", ("x",))), "a")
    wanted = r"^Input 'x': images have shape \(4, 7, 7\); wanted \(4, 5, 5\)"
    with pytest.raises(GraphError, match=wanted):
        run(graph, _images().numpy())


def test_an_unknown_node_is_refused() -> None:
    """A node kind without a definition is an error, not a guess."""

    class Strange(Node):
        """Nothing that anyone knows."""

    with pytest.raises(UnsupportedError, match=r"^Strange 'y': cannot be interpreted"):
        _computed(_images(), Strange("y", ("x",)))
