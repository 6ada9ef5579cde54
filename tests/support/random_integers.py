"""Random deployable graphs with hostile integers: every node, stride, border, group.

Scales are stretched and zero points are moved away from where ranges would put them, so
that tensors saturate, activations clip in odd places, and residual inputs differ by
orders of magnitude. A network like this is useless; its arithmetic is well defined.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    Cap,
    Concat,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Mul,
    Node,
    OrbitMax,
    Pad,
    Padding,
    PadMode,
    Relu,
    Relu6,
    SoftMask,
    Upsample,
)
from mobileq.quant.affine import Affine
from mobileq.quant.consistency import PASSES_THROUGH
from mobileq.quant.curves import SIGMOID_OUTPUT
from mobileq.quant.spec import QuantSpec
from support.handmade import handmade_spec, mean_conv, random_conv

KEEPS_AFFINE = (Input, *PASSES_THROUGH)
ACTIVATIONS = tuple(Activation)
PAD_MODES = tuple(PadMode)


def random_deployable(seed: int, *, steps: int = 6) -> Graph:
    """A random chain with residual additions, then mean, Flatten and Linear."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), *map(int, rng.integers(5, 14, 2)))
    source = Input(
        "image",
        (),
        shape,
        trivial_fields(shape[0]),
        pixel_scale=float(rng.uniform(0.002, 0.05)),
        pixel_zero=int(rng.integers(0, 256)),
    )
    graph = Graph((source,), "image")
    for index in range(steps):
        node = _random_node(rng, graph, f"node{index}")
        graph = Graph((*graph.nodes, node), node.name)
        if isinstance(node, Conv | Add) and rng.random() < 0.4:
            bounds = random_bounds(rng, graph.shapes[node.name][0])
            cap = Cap(f"cap{index}", (node.name,), bounds)
            graph = Graph((*graph.nodes, cap), cap.name)
    channels, height, width = graph.shapes[graph.output]
    mask = rng.integers(0, 2, (height, width)).astype(np.uint8)
    mask[height // 2, width // 2] = 1
    logits = Linear(
        "logits",
        ("flat",),
        rng.normal(size=(3, channels)),
        rng.normal(size=3),
        activation=_any(rng, ACTIVATIONS),
    )
    tail = (
        mean_conv("mean", graph.output, mask, channels),
        Flatten("flat", ("mean",)),
        logits,
        Cap("capped", ("logits",), random_bounds(rng, 3)),
    )
    graph = Graph((*graph.nodes, *tail), "capped")
    return graph if rng.random() < 0.5 else graph.without(["capped"])


T = TypeVar("T")


def _any(rng: np.random.Generator, choices: tuple[T, ...]) -> T:
    """One of a few things."""
    return choices[int(rng.integers(len(choices)))]


def _random_node(rng: np.random.Generator, graph: Graph, name: str) -> Node:
    """A node that reads the last tensor."""
    above = graph.output
    channels, height, width = graph.shapes[above]
    peers = [n for n, shape in graph.shapes.items() if shape == graph.shapes[above]]
    match int(rng.integers(15)):
        case 0:
            other = _any(rng, tuple(peers))
            return Add(name, (above, other), _any(rng, ACTIVATIONS))
        case 1:
            mask = rng.integers(0, 2, (height, width)).astype(np.uint8)
            return Mask(name, (above,), mask)
        case 2 if min(height, width) >= 3:
            padding = _random_padding(rng, 1)
            return MaxPool(name, (above,), (3, 2), int(rng.integers(1, 3)), padding)
        case 3 if channels % 2 == 0:
            return OrbitMax(name, (above,), 2)
        case 4:
            return _any(rng, (Relu, Relu6))(name, (above,))
        case 5:
            gates = [
                n for n, shape in graph.shapes.items() if shape == (channels, 1, 1)
            ]
            return Mul(name, (above, _any(rng, (*peers, *gates))))
        case 6:
            like = [n for n, s in graph.shapes.items() if s[1:] == (height, width)]
            others = [_any(rng, tuple(like)) for _ in range(int(rng.integers(1, 3)))]
            return Concat(name, (*others, above))
        case 7:
            return SoftMask(name, (above,), rng.random((height, width)))
        case 8:
            # The reference kernels have no ELU.
            kind = _any(rng, (CurveKind.SIGMOID, CurveKind.LEAKY_RELU))
            leaky = kind is CurveKind.LEAKY_RELU
            return Curve(name, (above,), kind, float(rng.random()) if leaky else 0.0)
        case 9 if max(height, width) <= 10:
            factor = int(rng.integers(1, 4))
            return Upsample(name, (above,), factor, int(rng.integers(0, factor + 1)))
        case 10 if min(height, width) >= 3 and max(height, width) <= 12:
            return Pad(name, (above,), _random_padding(rng, 2), _any(rng, PAD_MODES))
    return _any_conv(rng, graph, name)


def random_bounds(rng: np.random.Generator, channels: int) -> NDArray[np.float64]:
    """(C,) bounds of a Cap, from less than a step to far above values near 1."""
    return 10.0 ** rng.uniform(-3, 3, channels)


def _random_padding(rng: np.random.Generator, largest: int) -> Padding:
    """Four borders, often all the same."""
    if rng.random() < 0.5:
        return Padding.even(int(rng.integers(0, largest + 1)))
    return Padding(*map(int, rng.integers(0, largest + 1, 4)))


def _any_conv(rng: np.random.Generator, graph: Graph, name: str) -> Conv:
    """Full, grouped, depthwise, or depthwise with several outputs per channel."""
    channels, height, width = graph.shapes[graph.output]
    dilation = int(rng.integers(1, 3))
    most = [min(5, (size - 1) // dilation + 1) for size in (height, width)]
    kernel = tuple(int(rng.integers(1, size + 1)) for size in most)
    dividers = tuple(n for n in range(1, channels + 1) if channels % n == 0)
    groups = _any(rng, dividers)
    out = groups * int(rng.integers(1, 3)) * (2 if groups == 1 else 1)
    return random_conv(
        rng,
        name,
        graph.output,
        (out, channels // groups, kernel[0], kernel[1]),
        stride=int(rng.integers(1, 3)),
        dilation=dilation,
        padding=_random_padding(rng, min(kernel) - 1),
        groups=groups,
        activation=_any(rng, ACTIVATIONS),
    )


def hostile_spec(graph: Graph, seed: int, *, per_channel: bool) -> QuantSpec:
    """Ranges from data, then stretched and shifted at random."""
    rng = np.random.default_rng(seed)
    spec = handmade_spec(graph, per_channel=per_channel)
    activations: dict[str, Affine] = {}
    for node in graph.nodes:
        affine = spec.activations[node.name]
        if isinstance(node, KEEPS_AFFINE) and node.inputs:
            affine = activations[node.inputs[0]]
        elif isinstance(node, Curve) and node.kind is CurveKind.SIGMOID:
            affine = SIGMOID_OUTPUT
        elif not isinstance(node, Input):
            scale = float(np.float32(affine.scale * 2 ** rng.uniform(-2, 2)))
            scale = max(scale, _smallest_scale(node, spec, activations))
            moved = int(rng.integers(-128, 128))
            zero_point = affine.zero_point if rng.random() < 0.5 else moved
            affine = Affine(scale, zero_point)
        activations[node.name] = affine
    return replace(spec, activations=activations)


def _smallest_scale(
    node: Node, spec: QuantSpec, activations: dict[str, Affine]
) -> float:
    """Where runtimes refuse a layer: its sums would be scaled up too far."""
    steps = [activations[name].scale for name in node.inputs]
    if node.name in spec.layers:
        steps = [steps[0] * float(spec.layers[node.name].weight_scale.max())]
    if isinstance(node, Mul):
        steps = [steps[0] * steps[1]]
    return float(np.float32(max(max(steps) / 100, 1e-6)))
