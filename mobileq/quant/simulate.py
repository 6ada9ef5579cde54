"""Integer executor: what TFLite's reference kernels compute, bit for bit.

It holds for every operator that a deployable graph has, and was checked against
LiteRT's interpreter with OpResolverType.BUILTIN_REF, per tensor and per channel, on
every intermediate tensor. Two conditions: accumulators are sums modulo 2^32, as in
the kernels; and the sums themselves are found in float64, which is exact as long as a
layer has fewer than 2^38 inputs per output. XNNPACK and the optimized kernels round
differently; they may be one or two steps away, and nothing here describes them.

Sources, in tensorflow/lite/kernels/internal/reference: integer_ops/conv.h,
integer_ops/depthwise_conv.h, integer_ops/fully_connected.h, integer_ops/mul.h, add.h,
requantize.h; and kernel_util.cc, add.cc, mul.cc, quantize.cc, activations.cc in
tensorflow/lite/kernels for how scales become multipliers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.curves import Curve
from mobileq.graph.graph import Graph
from mobileq.graph.kernels import convolved, padded, window_max
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
    Relu,
    Relu6,
    SoftMask,
)
from mobileq.graph.pools import Copies
from mobileq.quant.affine import QMIN, Affine
from mobileq.quant.consistency import ADD_SHIFT, require_consistent
from mobileq.quant.curves import curve_table
from mobileq.quant.fixed_point import (
    SOFT_STEP,
    Multiplier,
    activation_range,
    cap_bounds,
    round_away,
    soft_mask,
    wrapped,
)
from mobileq.quant.spec import QuantSpec

Int8 = NDArray[np.int8]


def simulate(
    graph: Graph, spec: QuantSpec, pixels: NDArray[np.uint8]
) -> dict[str, Int8]:
    """Compute every tensor of a deployable graph in integers.

    Args:
        graph: A deployable graph.
        spec: Its integers.
        pixels: (B, H, W, C) uint8.

    Returns:
        Tensor by name, int8 in the QuantSpec's signed domain, (B, C, H, W) or (B, F).

    Raises:
        UnsupportedError: a node without an integer counterpart.
        GraphError: graph, spec and pixels do not fit together.
    """
    require_consistent(graph, spec)
    channels, height, width = graph.input.shape
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, channels):
        raise GraphError(
            f"Input {graph.input.name!r}: pixels are {pixels.dtype} "
            f"{pixels.shape[1:]}; wanted uint8 {(height, width, channels)}"
        )
    tensors: dict[str, Int8] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            signed = (pixels.astype(np.int16) - 128).astype(np.int8)
            value = signed.transpose(0, 3, 1, 2)
        else:
            value = _apply(node, [tensors[name] for name in node.inputs], spec)
        tensors[node.name] = np.ascontiguousarray(value)
    return tensors


class SimulatorRunner:
    """The integer executor as a `mobileq.verify.runner.Runner`.

    Args:
        graph: A deployable graph.
        spec: Its integers.
    """

    def __init__(self, graph: Graph, spec: QuantSpec) -> None:
        require_consistent(graph, spec)
        self._graph = graph
        self._spec = spec

    @property
    def name(self) -> str:
        """`simulator int8`."""
        return "simulator int8"

    @property
    def integer(self) -> bool:
        """Always."""
        return True

    def outputs(self, pixels: NDArray[np.uint8]) -> Int8:
        """Logits, (B, F) int8, of (B, H, W, C) pixels."""
        return self.tensors(pixels)[self._graph.output]

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, Int8]:
        """Every tensor by node name."""
        return simulate(self._graph, self._spec, pixels)

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """A function that runs one inference on (1, H, W, C)."""

        def once() -> None:
            simulate(self._graph, self._spec, pixels)

        return once


def _apply(node: Node, inputs: list[Int8], spec: QuantSpec) -> Int8:
    """Compute one node."""
    x, source = inputs[0], spec.activations[node.inputs[0]]
    match node:
        case Conv():
            return _conv(node, x, spec)
        case Linear():
            return _linear(node, x, spec)
        case Add():
            return _add(node, inputs, spec)
        case Mul():
            return _mul(node, inputs, spec)
        case Concat():
            return _concat(node, inputs, spec)
        case SoftMask():
            weights = soft_mask(node).astype(np.int64)
            products = weights * (x.astype(np.int64) - source.zero_point)
            return _rescaled(products, source.scale, SOFT_STEP, source)
        case Curve():
            table = curve_table(node, source, spec.activations[node.name])
            return np.asarray(table[x.astype(np.int64) - QMIN])
        case Copies():
            rows, columns = node.sources(*x.shape[2:])
            return x[:, :, rows][:, :, :, columns]
        case Mask():
            zero = np.int8(source.zero_point)
            return np.where(node.mask.astype(bool), x, zero)
        case MaxPool():
            lowest = padded(x, node.padding, QMIN)
            return window_max(lowest, node.kernel, node.stride)
        case OrbitMax():
            apart = x.reshape(len(x), -1, node.block, *x.shape[2:])
            return np.asarray(apart.max(axis=2))
        case Flatten():
            return x.reshape(len(x), -1)
        case Relu():
            return np.clip(x, *activation_range(Activation.RELU, source))
        case Relu6():
            return np.clip(x, *activation_range(Activation.RELU6, source))
        case Cap():
            top = cap_bounds(node, source).reshape(-1, *[1] * (x.ndim - 2))
            return np.minimum(x, top)
    raise UnsupportedError(
        f"{type(node).__name__} {node.name!r}: has no integer counterpart"
    )


def _conv(node: Conv, x: Int8, spec: QuantSpec) -> Int8:
    """Accumulate (x - zero_point) * w, add the bias, scale down."""
    source, result = spec.activations[node.inputs[0]], spec.activations[node.name]
    layer = spec.layers[node.name]
    centred = padded(x.astype(np.float64) - source.zero_point, node.padding)
    sums = convolved(
        centred,
        layer.weight,
        stride=node.stride,
        groups=node.groups,
        dilation=node.dilation,
    )
    # PopulateConvolutionQuantizationParams multiplies and divides in double, per
    # channel; a single scale is repeated.
    scales = layer.weight_scale.astype(np.float64)
    factors = source.scale * scales / result.scale
    multiplier = Multiplier.of(factors[:, None, None])
    accumulators = _wrapped(sums + layer.bias[:, None, None])
    return _clipped(multiplier.apply(accumulators), node.activation, result)


def _linear(node: Linear, x: Int8, spec: QuantSpec) -> Int8:
    """Fully connected layer."""
    source, result = spec.activations[node.inputs[0]], spec.activations[node.name]
    layer = spec.layers[node.name]
    centred = x.astype(np.float64) - source.zero_point
    sums = centred @ layer.weight.T.astype(np.float64)
    # Measured on LiteRT 2.3 (and TensorFlow 2.21): unlike all others, this kernel does
    # without fixed point. It multiplies in double and rounds once, as C's round does.
    factors = source.scale * layer.weight_scale.astype(np.float64) / result.scale
    scaled = round_away(_wrapped(sums + layer.bias) * factors)
    return _clipped(scaled, node.activation, result)


def _add(node: Add, inputs: list[Int8], spec: QuantSpec) -> Int8:
    """Bring both inputs to one scale with 20 extra bits, add, scale down."""
    maps = [spec.activations[name] for name in node.inputs]
    result = spec.activations[node.name]
    twice = 2 * max(affine.scale for affine in maps)
    total = np.zeros(inputs[0].shape, np.int64)
    for x, affine in zip(inputs, maps, strict=True):
        shifted = (x.astype(np.int64) - affine.zero_point) << ADD_SHIFT
        total += Multiplier.of(affine.scale / twice).apply(shifted)
    multiplier = Multiplier.of(twice / (2.0**ADD_SHIFT * result.scale))
    return _clipped(multiplier.apply(total), node.activation, result)


def _mul(node: Mul, inputs: list[Int8], spec: QuantSpec) -> Int8:
    """Multiply what stands for two real numbers, scale down once."""
    first, second = (spec.activations[name] for name in node.inputs)
    products = (inputs[0].astype(np.int64) - first.zero_point) * (
        inputs[1].astype(np.int64) - second.zero_point
    )
    result = spec.activations[node.name]
    return _rescaled(products, first.scale, second.scale, result)


def _rescaled(
    products: NDArray[np.int64], first: float, second: float, result: Affine
) -> Int8:
    """Products of integers of two scales, as integers of a third one (mul.h)."""
    # mul.cc multiplies and divides the scales in float32.
    scale = np.float32(first) * np.float32(second) / np.float32(result.scale)
    scaled = Multiplier.of(float(scale)).apply(products)
    return _clipped(scaled, Activation.NONE, result)


def _concat(node: Concat, inputs: list[Int8], spec: QuantSpec) -> Int8:
    """Channels side by side, brought to one scale first (requantize.h)."""
    result, parts = spec.activations[node.name], []
    for x, name in zip(inputs, node.inputs, strict=True):
        affine = spec.activations[name]
        if affine != result:
            multiplier = Multiplier.of(affine.scale / result.scale)
            moved = multiplier.apply(x.astype(np.int64) - affine.zero_point)
            x = _clipped(moved, Activation.NONE, result)
        parts.append(x)
    return np.concatenate(parts, axis=1)


def _clipped(scaled: NDArray[np.int64], activation: Activation, result: Affine) -> Int8:
    """Shift by the zero point, and clip to int8 and to the activation."""
    low, high = activation_range(activation, result)
    return np.clip(scaled + result.zero_point, low, high).astype(np.int8)


def _wrapped(sums: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sums modulo 2^32."""
    return wrapped(sums.astype(np.int64))
