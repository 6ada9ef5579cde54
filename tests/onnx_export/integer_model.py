"""What the integers of an INT8 file have to be, and graphs that are hard to write."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
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
)
from mobileq.quant.affine import Affine
from mobileq.quant.spec import QuantSpec
from support.handmade import disc, handmade_spec, mean_conv, random_conv
from support.random_integers import random_bounds


def awkward_graph(seed: int) -> Graph:
    """(3, 11, 9) to 3 logits, with everything that real networks avoid.

    Grouped and asymmetrically padded Conv, standalone activations, activations and caps
    after Conv, Add and Linear, a strided MaxPool with uneven padding, an orbit maximum
    over a grid, and names that the files need for themselves.
    """
    rng = np.random.default_rng(seed)
    uneven = Padding(top=0, bottom=1, left=2, right=0)
    relu, relu6 = Activation.RELU, Activation.RELU6
    nodes = (
        Input("pixels", (), (3, 11, 9), trivial_fields(3), 0.02, 131),
        random_conv(rng, "input", "pixels", (6, 3, 3, 3), stride=2, padding=uneven),
        Relu("logits", ("input",)),
        random_conv(rng, "grouped", "logits", (6, 3, 3, 3), padding=uneven, groups=2),
        Relu6("capped", ("grouped",)),
        MaxPool("pooled", ("capped",), (3, 2), 2, Padding(0, 1, 1, 0)),
        random_conv(rng, "left", "pooled", (6, 6, 1, 1), activation=relu6),
        random_conv(rng, "right", "pooled", (6, 1, 1, 1), groups=6, activation=relu),
        Cap("bounded", ("right",), random_bounds(rng, 6)),
        Add("sum", ("left", "bounded"), relu6),
        Cap("bounded sum", ("sum",), random_bounds(rng, 6)),
        OrbitMax("orbit", ("bounded sum",), 2),
    )
    spatial = Graph(nodes, "orbit").shapes["orbit"]
    mask = np.ones(spatial[1:], np.uint8)
    tail = (
        mean_conv("mean", "orbit", mask, spatial[0]),
        Flatten("flat", ("mean",)),
        Linear("hidden", ("flat",), rng.normal(size=(4, 3)), np.ones(4), relu6),
        Cap("bounded hidden", ("hidden",), random_bounds(rng, 4)),
        Linear("end", ("bounded hidden",), rng.normal(size=(3, 4)), np.zeros(3)),
    )
    return Graph((*nodes, *tail), "end")


def random_spec(graph: Graph, seed: int, *, per_channel: bool) -> QuantSpec:
    """QuantSpec with any zero points, and scales up to 4 times too small or large."""
    rng = np.random.default_rng(seed)
    usual = handmade_spec(graph, per_channel=per_channel)
    activations: dict[str, Affine] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            activations[node.name] = usual.activations[node.name]
        elif isinstance(node, Conv | Linear | Add):
            scale = usual.activations[node.name].scale * 4.0 ** rng.uniform(-1, 1)
            zero_point = int(rng.integers(-128, 128))
            activations[node.name] = Affine(float(np.float32(scale)), zero_point)
        else:
            activations[node.name] = activations[node.inputs[0]]
    return QuantSpec(activations, usual.layers)


def blob_graph(size: int, channels: int) -> Graph:
    """A mean over a large disc: sums far beyond 2^24 where weights are all 127."""
    nodes = (
        Input("image", (), (channels, size, size), trivial_fields(channels)),
        mean_conv("mean", "image", disc(size), channels),
        Flatten("flat", ("mean",)),
    )
    return Graph(nodes, "flat")


def expected(
    node: Node, spec: QuantSpec, inputs: list[NDArray[np.int8]]
) -> NDArray[np.int8]:
    """The integers that a node makes, signed domain, (B, C, H, W) or (B, F).

    Sums are exact. What follows is float32, as the runtime documents its kernels:
    sum * (input scale * weight scale / output scale), rounded to nearest, halves to
    even, plus the zero point, clipped.
    """
    affine = spec.activations[node.name]
    match node:
        case Conv() | Linear():
            steps = _requantized(node, spec, inputs[0])
        case Add():
            steps = np.zeros(inputs[0].shape)
            for name, values in zip(node.inputs, inputs, strict=True):
                steps += spec.activations[name].dequantize(values)
            steps /= affine.scale
        case Relu() | Relu6():
            activation = (
                Activation.RELU6 if isinstance(node, Relu6) else Activation.RELU
            )
            return np.clip(inputs[0], *_bounds(affine, activation))
        case Cap():
            highest = affine.quantize(node.high)
            return np.minimum(
                inputs[0], highest.reshape(-1, *[1] * (inputs[0].ndim - 2))
            )
        case Mask():
            return np.where(node.mask == 1, inputs[0], np.int8(affine.zero_point))
        case MaxPool():
            p = node.padding
            sides = (p.left, p.right, p.top, p.bottom)
            padded = F.pad(torch.tensor(inputs[0]).float(), sides, value=-128.0)
            pooled = F.max_pool2d(padded, node.kernel, node.stride)
            return pooled.numpy().astype(np.int8)
        case OrbitMax():
            batch, channels, *grid = inputs[0].shape
            blocks = inputs[0].reshape(batch, channels // node.block, -1, *grid)
            return np.asarray(blocks.max(axis=2))
        case _:
            return inputs[0].reshape(len(inputs[0]), -1)
    quantized = np.rint(steps).astype(np.float64) + affine.zero_point
    return np.clip(quantized, *_bounds(affine, node.activation)).astype(np.int8)


def _requantized(
    node: Conv | Linear, spec: QuantSpec, values: NDArray[np.int8]
) -> NDArray[np.float32]:
    """Exact sums of a layer, in steps of its output."""
    layer, source = spec.layers[node.name], spec.activations[node.inputs[0]]
    # Integers below 2^53 are exact in float64, and so are their sums.
    x = torch.tensor(values.astype(np.float64) - source.zero_point)
    weight, bias = (torch.tensor(np.float64(v)) for v in (layer.weight, layer.bias))
    if isinstance(node, Conv):
        p = node.padding
        x = F.pad(x, (p.left, p.right, p.top, p.bottom))
        sums = F.conv2d(x, weight, bias, stride=node.stride, groups=node.groups)
    else:
        sums = F.linear(x, weight, bias)
    factor = np.float32(source.scale) * layer.weight_scale
    factor = factor / np.float32(spec.activations[node.name].scale)
    shaped = factor.reshape(-1, *[1] * (sums.ndim - 2))
    return sums.numpy().astype(np.float32) * shaped


def _bounds(affine: Affine, activation: Activation) -> tuple[int, int]:
    """Smallest and largest integer after an activation; a tie of 6.0 is improbable."""
    low, high = affine.quantize(np.array(activation.bounds))
    return int(low), int(high)


def largest_difference(
    graph: Graph, spec: QuantSpec, tensors: Mapping[str, NDArray[np.int8]], kind: type
) -> int:
    """Largest difference at any node of a kind, given the inputs that it really got."""
    found = 0
    for node in graph.nodes:
        if isinstance(node, kind) and not isinstance(node, Input):
            wanted = expected(node, spec, [tensors[name] for name in node.inputs])
            difference = wanted.astype(int) - tensors[node.name]
            found = max(found, int(np.abs(difference).max()))
    return found
