"""A small deployable graph written by hand, and a QuantSpec from min/max ranges.

It has one of everything that the writers must handle, and none of the symmetry that
the real networks have; what it computes means nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.nodes import (
    Activation,
    Add,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    OrbitMax,
    Padding,
)
from mobileq.quant.affine import Affine
from mobileq.quant.consistency import PASSES_THROUGH
from mobileq.quant.curves import SIGMOID_OUTPUT
from mobileq.quant.spec import QuantizedLayer, QuantSpec


def random_conv(
    rng: np.random.Generator,
    name: str,
    source: str,
    shape: tuple[int, int, int, int],
    *,
    stride: int = 1,
    padding: Padding | None = None,
    groups: int = 1,
    dilation: int = 1,
    activation: Activation = Activation.NONE,
) -> Conv:
    """A Conv node with random OIHW weights of `shape`, scaled to keep the variance."""
    weight = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return Conv(
        name,
        (source,),
        weight,
        rng.normal(scale=0.2, size=shape[0]),
        trivial_fields(shape[0]),
        stride=stride,
        padding=Padding() if padding is None else padding,
        groups=groups,
        dilation=dilation,
        activation=activation,
    )


def disc(size: int) -> NDArray[np.uint8]:
    """(size, size) mask of the points inside the largest circle."""
    twice = np.arange(size) * 2 - (size - 1)
    inside = twice[:, None] ** 2 + twice[None, :] ** 2 <= (size - 1) ** 2
    return inside.astype(np.uint8)


def mean_conv(name: str, source: str, mask: NDArray[np.uint8], channels: int) -> Conv:
    """Masked global mean of (C, H, W) as a depthwise Conv with constant weights."""
    weight = np.broadcast_to(mask / mask.sum(), (channels, 1, *mask.shape))
    return Conv(
        name,
        (source,),
        weight,
        np.zeros(channels),
        trivial_fields(channels),
        groups=channels,
    )


def handmade_graph(seed: int = 0, *, size: int = 9, channels: int = 4) -> Graph:
    """A deployable graph: (3, size, size) to 2 logits.

    Mask, Conv with stride 2, inverted residual (pointwise, depthwise, pointwise, Add),
    MaxPool, pointwise Conv, masked mean as a depthwise Conv, OrbitMax over blocks of
    `channels`, Flatten and Linear.

    Args:
        seed: Of all weights.
        size: Height and width of the image; odd.
        channels: Of the stem, and of one block of the final orbit maximum.
    """
    rng = np.random.default_rng(seed)
    relu, relu6 = Activation.RELU, Activation.RELU6
    c, wide, last = channels, 2 * channels, 3 * channels
    one = Padding.even(1)
    grid = (size + 1) // 2
    nodes = (
        Input("image", (), (3, size, size), trivial_fields(3)),
        Mask("masked", ("image",), disc(size)),
        random_conv(
            rng, "stem", "masked", (c, 3, 3, 3), stride=2, padding=one, activation=relu
        ),
        random_conv(rng, "expand", "stem", (wide, c, 1, 1), activation=relu),
        random_conv(
            rng,
            "depthwise",
            "expand",
            (wide, 1, 3, 3),
            padding=one,
            groups=wide,
            activation=relu6,
        ),
        random_conv(rng, "project", "depthwise", (c, wide, 1, 1)),
        Add("residual", ("stem", "project")),
        MaxPool("largest", ("residual",), (3, 3), 1, one),
        random_conv(rng, "head", "largest", (last, c, 1, 1), activation=relu),
        mean_conv("mean", "head", disc(grid), last),
        OrbitMax("orbit", ("mean",), channels),
        Flatten("flat", ("orbit",)),
        Linear(
            "logits",
            ("flat",),
            rng.normal(size=(2, last // channels)),
            rng.normal(scale=0.2, size=2),
        ),
    )
    return Graph(nodes, "logits")


def random_pixels(graph: Graph, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """(count, H, W, C) uint8 noise of the graph's input size."""
    channels, height, width = graph.input.shape
    shape = (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def normalized(graph: Graph, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(B, H, W, C) uint8 pixels as the (B, C, H, W) float32 the graph reads."""
    source = graph.input
    real = (pixels.astype(np.float32) - source.pixel_zero) * source.pixel_scale
    return np.ascontiguousarray(real.transpose(0, 3, 1, 2), np.float32)


def handmade_spec(graph: Graph, *, per_channel: bool = True) -> QuantSpec:
    """QuantSpec from the ranges seen on a few random images.

    Weights take max|w| / 127, per output channel or over the tensor.

    Args:
        graph: Any deployable graph.
        per_channel: One weight scale per output channel.
    """
    tensors = run(graph, normalized(graph, random_pixels(graph, 4, seed=1)))
    activations: dict[str, Affine] = {}
    layers: dict[str, QuantizedLayer] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            scale = float(np.float32(node.pixel_scale))
            activations[node.name] = Affine(scale, node.pixel_zero - 128)
        elif isinstance(node, PASSES_THROUGH):
            activations[node.name] = activations[node.inputs[0]]
        elif isinstance(node, Curve) and node.kind is CurveKind.SIGMOID:
            activations[node.name] = SIGMOID_OUTPUT
        else:
            values = tensors[node.name]
            low, high = float(values.min()), float(values.max())
            activations[node.name] = Affine.from_range(low, high)
        if isinstance(node, Conv | Linear):
            scale = activations[node.inputs[0]].scale
            layers[node.name] = _layer(node, scale, per_channel)
    return QuantSpec(activations, layers)


def _layer(
    node: Conv | Linear, input_scale: float, per_channel: bool
) -> QuantizedLayer:
    """Symmetric int8 weights and the int32 bias that goes with them."""
    rows = np.abs(node.weight).reshape(len(node.weight), -1).max(axis=1)
    largest = rows if per_channel else np.full_like(rows, rows.max())
    scale = (np.maximum(largest, 1e-9) / 127).astype(np.float32)
    step = scale.astype(np.float64)
    shaped = step.reshape(-1, *[1] * (node.weight.ndim - 1))
    weight = np.clip(np.rint(node.weight / shaped), -127, 127)
    bias = np.clip(np.rint(node.bias / (input_scale * step)), -(2**31), 2**31 - 1)
    return QuantizedLayer(
        weight.astype(np.int8), scale, bias.astype(np.int32), per_channel
    )
