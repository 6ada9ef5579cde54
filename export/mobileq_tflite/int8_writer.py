"""Graph and QuantSpec to an INT8 TFLite file, integer for integer.

The file takes raw pixels, (1, H, W, C) uint8, and returns logits or scores, (1, F)
uint8, unless its contract says otherwise (`mobileq_tflite.ends`). Tensors have their
node's name; internal ones contain a `;`.

    Input      QUANTIZE (uint8 to int8, same scale: subtracts 128, exactly)
    Conv       CONV_2D or DEPTHWISE_CONV_2D, after a PAD where SAME is not our padding;
               FULLY_CONNECTED between reshapes for a sum of each channel's whole grid
    Linear     FULLY_CONNECTED
    Add        ADD
    Mul        MUL
    Concat     CONCATENATION, after a QUANTIZE of each tensor of another scale
    Mask       MUL by zeros and ones of scale 1
    SoftMask   MUL by 0 to 127 of scale 1/127
    Upsample   RESIZE_NEAREST_NEIGHBOR, and a MIRROR_PAD for the edge
    Pad        MIRROR_PAD if it reflects, else a GATHER of rows and one of columns
    MaxPool    MAX_POOL_2D, after a PADV2 with -128 where SAME is not our padding
    OrbitMax   RESHAPE, MAX_POOL_2D, RESHAPE
    Flatten    RESHAPE
    Relu(6)    RELU, RELU6
    Curve      LOGISTIC, ELU, LEAKY_RELU
    Cap        MINIMUM with a constant; XNNPACK leaves it to LiteRT's own kernel
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from mobileq.contract import Contract
from mobileq.errors import UnsupportedError
from mobileq.graph.curves import Curve
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
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
from mobileq.graph.pools import Copies
from mobileq.quant.affine import QMIN
from mobileq.quant.consistency import require_consistent
from mobileq.quant.fixed_point import SOFT_STEP, cap_bounds, soft_mask
from mobileq.quant.spec import QuantSpec
from mobileq_tflite.ends import PIXELS, Ends, add_source, finished, quantization
from mobileq_tflite.flatfile import Quantization, require_plain
from mobileq_tflite.int8_layers import LayerEmitter
from mobileq_tflite.layout import Borders, borders, nhwc, spread_mask
from mobileq_tflite.operators import (
    ACTIVATIONS,
    curve_options,
    pool_options,
)


def write_int8(
    graph: Graph,
    spec: QuantSpec,
    contract: Contract = Contract(),  # noqa: B008  (frozen)
) -> bytes:
    """Write an INT8 TFLite file.

    Args:
        graph: A deployable graph.
        spec: Its integers; they are written as they are.
        contract: Types of the ends, head, labels.

    Returns:
        The file's content.

    Raises:
        UnsupportedError: a node that TFLite cannot compute in integers.
        GraphError: graph and spec do not fit together.
    """
    require_consistent(graph, spec)
    return _Writer(graph, spec, contract).write()


class _Writer(LayerEmitter):
    """Emits the nodes of one file."""

    def __init__(self, graph: Graph, spec: QuantSpec, contract: Contract) -> None:
        super().__init__(graph, spec)
        self.contract = contract

    def write(self) -> bytes:
        """Emit all nodes in order."""
        for node in self.graph.nodes:
            require_plain(node.name)
            self._emit(node)
        ends = Ends(self.pixels, self.index[self.graph.output])
        affine = self.spec.activations[self.graph.output]
        return finished(self.model, self.graph, affine, self.contract, ends)

    def _emit(self, node: Node) -> None:
        """Emit the operators of one node."""
        match node:
            case Input():
                self._input(node)
            case Conv():
                self.conv(node)
            case Linear():
                self.linear(node)
            case Add():
                options = schema.AddOptionsT()
                options.fusedActivationFunction = ACTIVATIONS[node.activation]
                sources = [self.index[name] for name in node.inputs]
                self.operator("ADD", sources, self.result(node), options)
            case Mul():
                sources = [self.index[name] for name in node.inputs]
                self.operator("MUL", sources, self.result(node), schema.MulOptionsT())
            case Concat():
                self._concat(node)
            case Mask():
                self._mask(node, node.mask.astype(np.int8), 1.0)
            case SoftMask():
                self._mask(node, soft_mask(node), SOFT_STEP)
            case Curve():
                kind, options = curve_options(node)
                self.operator(kind, [self.source(node)], self.result(node), options)
            case Upsample():
                self._upsample(node)
            case Pad():
                self._pad(node)
            case MaxPool():
                self._max_pool(node)
            case OrbitMax():
                self._orbit_max(node)
            case Flatten():
                self.reshape(self.source(node), self.result(node), node)
            case Relu():
                self.operator("RELU", [self.source(node)], self.result(node))
            case Relu6():
                self.operator("RELU6", [self.source(node)], self.result(node))
            case Cap():
                self._cap(node)
            case _:
                raise UnsupportedError(
                    f"{type(node).__name__} {node.name!r}: has no INT8 TFLite operator"
                )

    def _input(self, node: Input) -> None:
        """The image, and its move to the signed domain."""
        # A node may be called like this too; the file's input then gives way.
        name = PIXELS if PIXELS not in self.graph else f"{PIXELS};input"
        affine = self.spec.activations[node.name]
        shape, end = nhwc(node.shape), self.contract.end(integer=True)
        signed = self.result(node)
        self.pixels = add_source(self.model, name, shape, affine, end, signed)

    def _mask(self, node: Node, mask: NDArray[np.int8], step: float) -> None:
        """Multiply by a constant (H, W), the same for all channels."""
        channels = self.graph.shapes[node.name][0]
        name, values = f"{node.name};mask", spread_mask(mask, channels)
        constant = self.model.constant(name, values, Quantization((step,), (0,)))
        inputs = [self.source(node), constant]
        self.operator("MUL", inputs, self.result(node), schema.MulOptionsT())

    def _concat(self, node: Concat) -> None:
        """Join tensors of one scale; a QUANTIZE gives it to those of another one."""
        affine, sources = self.spec.activations[node.name], []
        for number, name in enumerate(node.inputs):
            tensor = self.index[name]
            if self.spec.activations[name] != affine:
                shape = nhwc(self.graph.shapes[name])
                moved = self.internal(node, f"part{number}", shape, affine)
                self.operator("QUANTIZE", [tensor], moved, schema.QuantizeOptionsT())
                tensor = moved
            sources.append(tensor)
        options = schema.ConcatenationOptionsT()
        options.axis = len(self.graph.shapes[node.name])
        self.operator("CONCATENATION", sources, self.result(node), options)

    def _upsample(self, node: Upsample) -> None:
        """Repeat pixels; a border of a repeated pixel is its mirror image."""
        channels, height, width = self.graph.shapes[node.inputs[0]]
        larger = (1, height * node.factor, width * node.factor, channels)
        affine = self.spec.activations[node.name]
        made = self.internal(node, "larger", larger, affine) if node.edge else None
        made = self.result(node) if made is None else made
        size = np.asarray(larger[1:3], np.int32)
        options = schema.ResizeNearestNeighborOptionsT()
        options.halfPixelCenters = True
        constant = self.model.constant(f"{node.name};size", size)
        inputs = [self.source(node), constant]
        self.operator("RESIZE_NEAREST_NEIGHBOR", inputs, made, options)
        if node.edge:
            sides, symmetric = Padding.even(node.edge), schema.MirrorPadMode.SYMMETRIC
            self._mirror_pad(node, made, sides, symmetric)

    def _mirror_pad(self, node: Copies, source: int, sides: Padding, mode: int) -> None:
        """Make a node's tensor by a border that mirrors the grid."""
        amounts = np.zeros((4, 2), np.int32)
        amounts[1:3] = (sides.top, sides.bottom), (sides.left, sides.right)
        constant = self.model.constant(f"{node.name};edge", amounts)
        options = schema.MirrorPadOptionsT()
        options.mode = mode
        self.operator("MIRROR_PAD", [source, constant], self.result(node), options)

    def _pad(self, node: Pad) -> None:
        """Copy pixels around the grid."""
        source = self.source(node)
        if node.mode is PadMode.REFLECT:
            reflect = schema.MirrorPadMode.REFLECT
            self._mirror_pad(node, source, node.padding, reflect)
            return
        channels, height, width = self.graph.shapes[node.inputs[0]]
        rows, columns = node.sources(height, width)
        affine, shape = (
            self.spec.activations[node.name],
            (1, len(rows), width, channels),
        )
        higher = self.internal(node, "higher", shape, affine)
        for axis, places in ((1, rows), (2, columns)):
            made = higher if axis == 1 else self.result(node)
            constant = self.model.constant(
                f"{node.name};places{axis}", places.astype(np.int32)
            )
            options = schema.GatherOptionsT()
            options.axis = axis
            self.operator("GATHER", [source, constant], made, options)
            source = made

    def _cap(self, node: Cap) -> None:
        """A minimum of integers, which have one meaning in all three tensors."""
        affine = self.spec.activations[node.name]
        bounds = cap_bounds(node, affine)
        # All axes but the last, that of the channels, broadcast.
        shape = (*[1] * len(self.graph.shapes[node.name]), len(bounds))
        name = f"{node.name};high"
        constant = self.model.constant(
            name, bounds.reshape(shape), quantization(affine)
        )
        inputs = [self.source(node), constant]
        options = schema.MaximumMinimumOptionsT()
        self.operator("MINIMUM", inputs, self.result(node), options)

    def _max_pool(self, node: MaxPool) -> None:
        """A windowed maximum; -128 never wins against anything else."""
        shape = self.graph.shapes[node.inputs[0]]
        edges = borders(shape, node.kernel, node.stride, node.padding)
        source = self.padded(node, edges, QMIN)
        steps = (node.stride, node.stride)
        options = pool_options(node.kernel, steps, edges)
        self.operator("MAX_POOL_2D", [source], self.result(node), options)

    def _orbit_max(self, node: OrbitMax) -> None:
        """Channels side by side on an axis of the grid, where pooling can see them."""
        channels, height, width = self.graph.shapes[node.name]
        rows = height * width * channels
        affine = self.spec.activations[node.name]
        apart = self.internal(node, "apart", (1, rows, node.block, 1), affine)
        pooled = self.internal(node, "pooled", (1, rows, 1, 1), affine)
        window = (1, node.block)
        options = pool_options(window, window, Borders(False, Padding()))
        self.reshape(self.source(node), apart, node, (1, rows, node.block, 1))
        self.operator("MAX_POOL_2D", [apart], pooled, options)
        self.reshape(pooled, self.result(node), node)
