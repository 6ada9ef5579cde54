"""Change single numbers of INT8 files, as a bug or a bit that flips would.

`TfliteEditor` goes through LiteRT's schema, `OnnxEditor` through onnx. Both know a
node's numbers by the same words and in the same layouts, so a fault is written once:

    weight                (O, I / groups, kh, kw), or (O, F)
    bias                  (O,) int32
    weight scale          (O,) float32, or (1,)
    bias scale            the same
    weight zero point     the same, integers
    mask                  (H, W)
    bound                 (C,), of a cap
    zero point            (1,), of a tensor
    border                (4,): top, left, bottom, right, of a strided layer
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import numpy_helper

from mobileq_tflite.flatfile import AlignedBuffer, pack, unpack

DTYPES = {
    schema.TensorType.INT8: np.dtype("i1"),
    schema.TensorType.INT32: np.dtype("<i4"),
}


class Editor(Protocol):
    """A file that is being changed."""

    def get(self, node: str, what: str) -> NDArray[Any]:
        """A copy of some numbers of a node."""

    def put(self, node: str, what: str, values: NDArray[Any]) -> None:
        """Replace them."""

    def operator(self, node: str, what: str = "weight") -> str:
        """Name of the tensor that the operator with these numbers makes."""

    def resize(self, size: int) -> None:
        """Give the image another height and width."""

    def data(self) -> bytes:
        """The changed file."""


def editor(kind: str, data: bytes) -> Editor:
    """Begin to change a file of a format."""
    return TfliteEditor(data) if kind == "tflite" else OnnxEditor(data)


class TfliteEditor:
    """Changes a TFLite file of ours.

    Args:
        data: Its content.
    """

    def __init__(self, data: bytes) -> None:
        self.model = unpack(data)
        self.graph = self.model.subgraphs[0]
        self.tensors = {tensor.name.decode(): tensor for tensor in self.graph.tensors}

    def get(self, node: str, what: str) -> NDArray[Any]:
        """A copy of some numbers of a node."""
        tensor = self._tensor(node, what)
        if what.endswith("scale"):
            return np.array(tensor.quantization.scale, np.float32)
        if what.endswith("zero point"):
            return np.array(tensor.quantization.zeroPoint, np.int64)
        data = self.model.buffers[tensor.buffer].data
        values = np.frombuffer(data, DTYPES[tensor.type]).reshape(tensor.shape)
        match what:
            case "weight" if self._sums_grid(node):
                # One filter for all channels: the grid is square.
                side = math.isqrt(values.size)
                return values.reshape(1, 1, side, side).copy()
            case "weight" if values.ndim == 4:
                order = (3, 0, 1, 2) if self._depthwise(node) else (0, 3, 1, 2)
                return values.transpose(order).copy()
            case "mask":
                return values[0, :, :, 0].copy()
            case "bound":
                return values.reshape(-1).copy()
            case "border":
                return values[1:3].T.reshape(4).copy()
        return values.copy()

    def put(self, node: str, what: str, values: NDArray[Any]) -> None:
        """Replace them."""
        tensor = self._tensor(node, what)
        if what.endswith("scale"):
            tensor.quantization.scale = values
            return
        if what.endswith("zero point"):
            tensor.quantization.zeroPoint = values
            return
        match what:
            case "weight" if self._sums_grid(node):
                values = values.reshape(1, -1)
            case "weight" if values.ndim == 4:
                order = (1, 2, 3, 0) if self._depthwise(node) else (0, 2, 3, 1)
                values = values.transpose(order)
            case "mask":
                values = values[None, :, :, None]
            case "bound":
                values = values.reshape(tensor.shape)
            case "border":
                rows = values.reshape(2, 2).T
                values = np.concatenate([np.zeros((1, 2)), rows, np.zeros((1, 2))])
        tensor.shape = np.array(values.shape, np.int32)
        stored = np.ascontiguousarray(values, DTYPES[tensor.type])
        self.model.buffers[tensor.buffer] = AlignedBuffer(stored.tobytes())

    def operator(self, node: str, what: str = "weight") -> str:
        """Name of the tensor that the operator with these numbers makes."""
        if self._sums_grid(node):
            return f"{node};sums (grid)"
        return f"{node};padded" if what == "border" else node

    def _sums_grid(self, node: str) -> bool:
        """Whether a layer is one sum over the grid for all channels alike."""
        return f"{node};planes" in self.tensors

    def resize(self, size: int) -> None:
        """Give the image another height and width; other shapes follow from it."""
        tensor = self.graph.tensors[self.graph.inputs[0]]
        tensor.shape = np.array([1, size, size, tensor.shape[3]], np.int32)

    def data(self) -> bytes:
        """The changed file."""
        return pack(self.model)

    def _tensor(self, node: str, what: str) -> Any:
        """The tensor that some numbers of a node belong to."""
        names = {
            "weight": f"{node};weight",
            "weight scale": f"{node};weight",
            "weight zero point": f"{node};weight",
            "bias": f"{node};bias",
            "bias scale": f"{node};bias",
            "mask": f"{node};mask",
            "bound": f"{node};high",
            "border": f"{node};borders",
            "zero point": node,
        }
        return self.tensors[names[what]]

    def _depthwise(self, node: str) -> bool:
        """Whether a layer's weights are (1, kh, kw, O)."""
        index = self.graph.tensors.index(self.tensors[f"{node};weight"])
        (reader,) = (o for o in self.graph.operators if index in o.inputs)
        code = self.model.operatorCodes[reader.opcodeIndex].builtinCode
        return bool(code == schema.BuiltinOperator.DEPTHWISE_CONV_2D)


class OnnxEditor:
    """Changes an ONNX file of ours.

    Args:
        data: Its content.
    """

    def __init__(self, data: bytes) -> None:
        self.model = onnx.load_model_from_string(data)
        self.constants = {c.name: c for c in self.model.graph.initializer}
        (named,) = (p for p in self.model.metadata_props if p.key == "mobileq.tensors")
        self.tensors: dict[str, str] = json.loads(named.value)

    def get(self, node: str, what: str) -> NDArray[Any]:
        """A copy of some numbers of a node."""
        if what == "border":
            return np.array(self._pads(node).ints)
        values = numpy_helper.to_array(self._constant(node, what))
        match what:
            case "mask":
                return values[0, 0].copy()
            case "bound" | "zero point" | "weight scale" | "bias scale":
                return values.reshape(-1).copy()
            case "weight zero point":
                return values.reshape(-1).copy()
        return values.copy()

    def put(self, node: str, what: str, values: NDArray[Any]) -> None:
        """Replace them."""
        if what == "border":
            self._pads(node).ints[:] = [int(value) for value in values]
            return
        constant = self._constant(node, what)
        old = numpy_helper.to_array(constant)
        shape = (1, 1, *values.shape) if what == "mask" else values.shape
        if what not in ("mask", "weight", "bias"):
            shape = old.shape
        stored = values.astype(old.dtype).reshape(shape)
        constant.CopyFrom(numpy_helper.from_array(stored, constant.name))

    def operator(self, node: str, what: str = "weight") -> str:
        """Name of the tensor that the operator with these numbers makes."""
        tensor = self.tensors[node]
        return tensor if what == "bound" else f"{tensor}/real"

    def resize(self, size: int) -> None:
        """Give the image another height and width."""
        shape = self.model.graph.input[0].type.tensor_type.shape
        for extent in shape.dim[2:]:
            extent.dim_value = size

    def data(self) -> bytes:
        """The changed file."""
        return bytes(self.model.SerializeToString())

    def _constant(self, node: str, what: str) -> onnx.TensorProto:
        """The initializer that holds some numbers of a node."""
        names = {
            "weight": "weight/integers",
            "weight scale": "weight/scale",
            "weight zero point": "weight/zero",
            "bias": "bias/integers",
            "bias scale": "bias/scale",
            "mask": "mask/integers",
            "bound": "high",
            "zero point": "zero_point",
        }
        return self.constants[f"{self.tensors[node]}/{names[what]}"]

    def _pads(self, node: str) -> onnx.AttributeProto:
        """The padding of a layer."""
        made = self.operator(node)
        (layer,) = (n for n in self.model.graph.node if n.output[0] == made)
        (pads,) = (a for a in layer.attribute if a.name == "pads")
        return pads


def edited(data: bytes, change: Callable[[Any, Any], None]) -> bytes:
    """A TFLite file whose model and first subgraph some function changed."""
    model = unpack(data)
    change(model, model.subgraphs[0])
    return pack(model)


def nudge(
    changed: Editor, node: str, what: str, index: tuple[int, ...]
) -> tuple[float, float]:
    """Move one integer by 1, towards 0 so that it stays in range, or away from it.

    Returns:
        The number that is there now, and the one that was.
    """
    values = changed.get(node, what)
    old = int(values[index])
    values[index] = old - 1 if old > 0 else old + 1
    changed.put(node, what, values)
    return float(values[index]), float(old)


def ulp(changed: Editor, node: str, what: str, channel: int) -> tuple[float, float]:
    """Move one scale to the next float32.

    Returns:
        The number that is there now, and the one that was.
    """
    values = changed.get(node, what)
    old = values[channel]
    values[channel] = np.nextafter(old, np.float32(np.inf))
    changed.put(node, what, values)
    return float(values[channel]), float(old)


def exchange(changed: Editor, node: str, first: int, second: int) -> None:
    """Exchange two output channels of a layer: filters, biases and scales."""
    for what in ("weight", "bias", "weight scale", "bias scale"):
        values = changed.get(node, what)
        if len(values) > 1:
            values[[first, second]] = values[[second, first]]
            changed.put(node, what, values)
