"""Options and versions of the INT8 operators that the writer emits."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.nodes import Activation, Conv
from mobileq_tflite.layout import Borders, is_depthwise

ACTIVATIONS = {
    Activation.NONE: schema.ActivationFunctionType.NONE,
    Activation.RELU: schema.ActivationFunctionType.RELU,
    Activation.RELU6: schema.ActivationFunctionType.RELU6,
}

# The first version of each operator that takes int8; see op_version.cc in
# tensorflow/lite/tools/versioning. MUL needs 3 because its rescale factor may be 1,
# RESIZE_NEAREST_NEIGHBOR 3 for its half pixels.
VERSIONS = {
    "QUANTIZE": 1,
    "DEQUANTIZE": 2,
    "SOFTMAX": 2,
    "LOGISTIC": 2,
    "ELU": 1,
    "LEAKY_RELU": 2,
    "CONCATENATION": 2,
    "RESIZE_NEAREST_NEIGHBOR": 3,
    "MIRROR_PAD": 2,
    "GATHER": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "ADD": 2,
    "MUL": 3,
    "MAX_POOL_2D": 2,
    "PAD": 2,
    "PADV2": 2,
    "RESHAPE": 1,
    "TRANSPOSE": 2,
    "RELU": 2,
    "RELU6": 2,
    "MINIMUM": 2,
}
GROUPED_CONV_VERSION = 6


def conv_options(node: Conv, edges: Borders) -> Any:
    """Options of CONV_2D, or of DEPTHWISE_CONV_2D where that can do it."""
    options: Any
    if is_depthwise(node):
        options = schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = len(node.weight) // node.groups
    else:
        options = schema.Conv2DOptionsT()
    options.padding = getattr(schema.Padding, edges.kind)
    options.strideH = options.strideW = node.stride
    options.dilationHFactor = options.dilationWFactor = node.dilation
    options.fusedActivationFunction = ACTIVATIONS[node.activation]
    return options


def pool_options(
    kernel: tuple[int, int], steps: tuple[int, int], edges: Borders
) -> Any:
    """Options of MAX_POOL_2D."""
    options = schema.Pool2DOptionsT()
    options.filterHeight, options.filterWidth = kernel
    options.strideH, options.strideW = steps
    options.padding = getattr(schema.Padding, edges.kind)
    return options


def curve_options(node: Curve) -> tuple[str, Any]:
    """Operator of a smooth activation and its options, if it has any."""
    if node.kind is not CurveKind.LEAKY_RELU:
        return ("LOGISTIC" if node.kind is CurveKind.SIGMOID else "ELU"), None
    options = schema.LeakyReluOptionsT()
    options.alpha = node.slope
    return "LEAKY_RELU", options
