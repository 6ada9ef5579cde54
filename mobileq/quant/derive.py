"""From a deployable graph and ranges to a QuantSpec.

Weights are symmetric in [-127, 127], one scale per output channel, tied over the blocks
of the output fields, or one per tensor; biases are int32 with scale s_in * s_w (Jacob
et al. 2018, arXiv:1712.05877; LiteRT 8-bit specification).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    Concat,
    Conv,
    Input,
    Linear,
    Mask,
    MaxPool,
    Mul,
    OrbitMax,
    SoftMask,
)
from mobileq.graph.pools import Copies
from mobileq.graph.spec import Stage, check
from mobileq.quant.affine import QMIN, Affine
from mobileq.quant.curves import SIGMOID_OUTPUT
from mobileq.quant.ranges import Range, own_range
from mobileq.quant.spec import QuantizedLayer, QuantSpec

BIAS_LIMIT = 2.0**30
"""Largest bias in integer steps: int32 with one bit to spare for the sum."""

SMALLEST_RATIO, LARGEST_RATIO = 2.0**-31, 128.0
"""Bounds of s_in * s_w / s_out. XNNPACK takes 2^-32 to 256 and refuses the rest."""


def derive_spec(
    graph: Graph,
    ranges: Mapping[str, Range],
    *,
    per_channel: bool = True,
    bits: int = 8,
) -> QuantSpec:
    """Choose all integers.

    Args:
        graph: Deployable, orbits snapped.
        ranges: Of each Input, Conv, Linear, Add, Mul, Concat and Curve, by name.
        per_channel: One weight scale per output channel, tied per block.
        bits: Of the weights, 2 to 8; fewer than 8 use a part of int8.

    Raises:
        GraphError: the graph is not deployable.
    """
    check(graph, Stage.DEPLOYABLE)
    ranges = _joined(graph, ranges)
    activations: dict[str, Affine] = {}
    layers: dict[str, QuantizedLayer] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            scale = float(np.float32(node.pixel_scale))
            activations[node.name] = Affine(scale, node.pixel_zero + QMIN)
        elif isinstance(node, Conv | Linear):
            above = activations[node.inputs[0]]
            wanted = _affine(ranges[node.name], node.activation, above.scale)
            block = graph.fields(node.name).block
            largest = 2 ** (bits - 1) - 1
            scales = _weight_scales(node, above, wanted, block, per_channel, largest)
            activations[node.name] = _coarsened(
                wanted, above.scale * float(scales.max())
            )
            layers[node.name] = _quantized(node, above, scales, per_channel, largest)
        elif isinstance(node, Add):
            coarsest = max(activations[name].scale for name in node.inputs)
            wanted = _affine(ranges[node.name], node.activation, coarsest)
            activations[node.name] = _coarsened(wanted, coarsest)
        elif isinstance(node, Curve) and node.kind is CurveKind.SIGMOID:
            activations[node.name] = SIGMOID_OUTPUT
        elif isinstance(node, Concat | Mul | Curve):
            parts = [activations[name].scale for name in node.inputs]
            # Of a product, the step of the sums is the product of both steps.
            step = math.prod(parts) if isinstance(node, Mul) else max(parts)
            wanted = _affine(ranges[node.name], Activation.NONE, max(parts))
            activations[node.name] = _coarsened(wanted, step)
        else:
            activations[node.name] = activations[node.inputs[0]]
    return QuantSpec(activations, layers)


def _joined(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges in which tensors that only a Concat reads have the range of the whole.

    Their integers then mean the same before and after, and nothing is rounded twice.
    """
    found = dict(ranges)
    for node in reversed(graph.nodes):
        if not isinstance(node, Concat):
            continue
        for name in node.inputs:
            reader, maker = node.name, graph[name]
            while _alone(graph, maker.name, reader) and isinstance(maker, _COPIES):
                reader, maker = maker.name, graph[maker.inputs[0]]
            if _alone(graph, maker.name, reader) and own_range(maker):
                found[maker.name] = found[node.name]
    return found


def _alone(graph: Graph, name: str, reader: str) -> bool:
    """Whether one node alone reads a tensor."""
    found = graph.only_consumer(name)
    return found is not None and found.name == reader


_COPIES = (Mask, MaxPool, OrbitMax, SoftMask, Copies)
"""Nodes whose values are those of their input, or weighed ones."""


def _affine(wanted: Range, activation: Activation, scale_above: float) -> Affine:
    """Affine map of a range; a rectified tensor's zero is the smallest integer."""
    if wanted.high <= 0 and wanted.low >= 0:
        # The tensor is constantly zero: any scale is right, and its input's is legal.
        return Affine(scale_above, QMIN if activation is not Activation.NONE else 0)
    return Affine.from_range(wanted.low, wanted.high)


def _weight_scales(
    node: Conv | Linear,
    above: Affine,
    output: Affine,
    block: NDArray[np.int64],
    per_channel: bool,
    steps: int,
) -> NDArray[np.float32]:
    """(O,) weight scales, the same for all channels of a block.

    The largest weight becomes `steps`, unless a bias would not fit into int32 or a
    kernel would refuse the ratio of scales; a dead channel gets a legal scale that way.
    """
    flat = np.abs(node.weight.reshape(len(node.weight), -1))
    scales = flat.max(axis=1) / steps
    scales = np.maximum(scales, np.abs(node.bias) / (above.scale * BIAS_LIMIT))
    scales = np.maximum(scales, SMALLEST_RATIO * output.scale / above.scale)
    largest = np.zeros(int(block.max()) + 1)
    np.maximum.at(largest, block, scales)
    tied = largest[block] if per_channel else np.full(len(scales), scales.max())
    return _float32_above(tied)


def _float32_above(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The nearest float32 that is not smaller, so that 127 steps reach the largest."""
    rounded = values.astype(np.float32)
    return np.where(
        rounded.astype(np.float64) < values,
        np.nextafter(rounded, np.float32(np.inf)),
        rounded,
    )


def _coarsened(wanted: Affine, step: float) -> Affine:
    """`wanted`, or a coarser map if the step of the sums were far above its own."""
    smallest = step / LARGEST_RATIO
    if wanted.scale >= smallest:
        return wanted
    return Affine(float(_float32_above(np.array(smallest))), wanted.zero_point)


def _quantized(
    node: Conv | Linear,
    above: Affine,
    scales: NDArray[np.float32],
    per_channel: bool,
    steps: int,
) -> QuantizedLayer:
    """Round weights and bias, halves to even."""
    exact = scales.astype(np.float64)
    shape = (-1, *[1] * (node.weight.ndim - 1))
    weight = np.clip(np.rint(node.weight / exact.reshape(shape)), -steps, steps)
    # Runtimes compute the bias scale in float32.
    bias_scale = (np.float32(above.scale) * scales).astype(np.float64)
    bias = np.rint(node.bias / bias_scale)
    return QuantizedLayer(weight.astype(np.int8), scales, bias, per_channel)
