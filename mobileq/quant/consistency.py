"""Whether a QuantSpec says everything that a deployable graph needs, and fits it."""

from __future__ import annotations

import math

import numpy as np

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.curves import Curve, CurveKind
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
    Relu,
    Relu6,
    SoftMask,
    SpatialMean,
)
from mobileq.graph.pools import Copies
from mobileq.quant.affine import Affine
from mobileq.quant.curves import SIGMOID_OUTPUT
from mobileq.quant.spec import QuantSpec

ADD_SHIFT = 20
"""Bits by which ADD scales its int8 inputs up before it adds them (add.cc)."""

SMALLEST_RELU6_SCALE = 6 / 2**31
"""TFLite refuses a RELU6 whose 6 is no 32-bit integer in its output's scale."""

LARGEST_FACTOR = 256
"""XNNPACK refuses a whole file for a layer whose input scale * weight scale / output
scale is this or more (convolution-nhwc.c, fully-connected-nc.c)."""

PASSES_THROUGH = (
    *(Mask, SoftMask, MaxPool, OrbitMax, Copies, Flatten),
    *(Relu, Relu6, Cap),
)
"""Nodes whose output has the affine map of their input: they select, clip or weigh."""


def require_consistent(graph: Graph, spec: QuantSpec) -> None:
    """Check a QuantSpec against the deployable graph that it is for.

    Args:
        graph: A graph of the last stage.
        spec: Its integers.

    Raises:
        UnsupportedError: a node that does not occur in a deployable graph.
        GraphError: an entry is missing, or does not fit its node.
    """
    for node in graph.nodes:
        _require_deployable(node, graph)
        if node.name not in spec.activations:
            raise GraphError(
                f"{_label(node)}: no scale and zero point; wanted an entry in "
                f"QuantSpec.activations"
            )
        _require_relu6(node, spec)
        if isinstance(node, Conv | Linear):
            _require_layer(node, spec)
        elif isinstance(node, PASSES_THROUGH):
            _require_equal(node, spec, spec.activations[node.inputs[0]])
        elif isinstance(node, Add):
            _require_close(node, spec)
        elif isinstance(node, Curve) and node.kind is CurveKind.SIGMOID:
            _require_equal(node, spec, SIGMOID_OUTPUT)
        elif isinstance(node, Mul | Concat | Curve):
            _require_finer(node, spec)
        elif isinstance(node, Input):
            scale, zero = float(np.float32(node.pixel_scale)), node.pixel_zero - 128
            _require_equal(node, spec, Affine(scale, zero))


def _require_deployable(node: Node, graph: Graph) -> None:
    """Refuse what a pass should have rewritten."""
    kinds = (Input, Conv, Linear, Add, Mul, Concat, Curve, *PASSES_THROUGH)
    if not isinstance(node, kinds) or isinstance(node, SpatialMean):
        raise UnsupportedError(
            f"{_label(node)}: has no integer counterpart; wanted a deployable graph "
            f"(fold BatchNorm and turn pools into Conv first)"
        )
    if isinstance(node, Flatten) and graph.shapes[node.inputs[0]][1:] != (1, 1):
        raise UnsupportedError(
            f"{_label(node)}: found {graph.shapes[node.inputs[0]]}; wanted (C, 1, 1) "
            f"(pool over the grid first)"
        )


def _require_layer(node: Conv | Linear, spec: QuantSpec) -> None:
    """Compare the shape of integer and real weights."""
    if node.name not in spec.layers:
        raise GraphError(f"{_label(node)}: no integer weights in QuantSpec.layers")
    found = spec.layers[node.name].weight.shape
    if found != node.weight.shape:
        raise GraphError(
            f"{_label(node)}: integer weights {found}; wanted {node.weight.shape}"
        )
    finest = spec.activations[node.name].scale
    coarsest = float(spec.layers[node.name].weight_scale.max())
    factor = spec.activations[node.inputs[0]].scale * coarsest / finest
    if factor >= LARGEST_FACTOR:
        raise GraphError(
            f"{_label(node)}: its sums are multiplied by {factor:.3g}; wanted less "
            f"than {LARGEST_FACTOR}, the limit of XNNPACK (give its output, which is "
            f"nearly constant, a larger scale than {finest:.3g})"
        )


def _require_equal(node: Node, spec: QuantSpec, wanted: Affine) -> None:
    """Compare the affine map of a node's tensor with the only one that is exact."""
    found = spec.activations[node.name]
    if found != wanted:
        raise GraphError(f"{_label(node)}: has {found}; wanted {wanted}, its input's")


def _require_relu6(node: Node, spec: QuantSpec) -> None:
    """Bound the scale of a tensor that is clipped at 6."""
    fused = isinstance(node, Conv | Linear | Add) and node.activation
    if fused is not Activation.RELU6 and not isinstance(node, Relu6):
        return
    found = spec.activations[node.name].scale
    if found <= SMALLEST_RELU6_SCALE:
        raise GraphError(
            f"{_label(node)}: is clipped at 6 with scale {found:.3g}; wanted more than "
            f"{SMALLEST_RELU6_SCALE:.3g} (give this constant tensor a larger scale)"
        )


def _require_close(node: Add, spec: QuantSpec) -> None:
    """Bound the ratio of an addition's scales.

    The kernel adds with 20 extra bits and aborts the process where they cannot hold
    the larger input in units of the output.
    """
    largest = max(spec.activations[name].scale for name in node.inputs)
    found = 2 * largest / spec.activations[node.name].scale
    if found >= 2**ADD_SHIFT:
        raise GraphError(
            f"{_label(node)}: its inputs are {found / 2:.3g} times as coarse as its "
            f"output; wanted less than 2^19 (estimate the ranges again)"
        )


def _require_finer(node: Mul | Concat | Curve, spec: QuantSpec) -> None:
    """Bound the factor by which a product or a joined tensor is rescaled."""
    scales = [spec.activations[name].scale for name in node.inputs]
    step = math.prod(scales) if isinstance(node, Mul) else max(scales)
    factor = step / spec.activations[node.name].scale
    if factor >= LARGEST_FACTOR:
        raise GraphError(
            f"{_label(node)}: its values are multiplied by {factor:.3g}; wanted less "
            f"than {LARGEST_FACTOR}, the limit of XNNPACK (estimate the ranges again)"
        )


def _label(node: Node) -> str:
    """Kind and name of a node."""
    return f"{type(node).__name__} {node.name!r}"
