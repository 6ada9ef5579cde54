"""What both ONNX writers share: names, constants and operators of one model.

A file has one input, `input`, and one output, `logits` or `scores`. Which tensor
belongs to which node of the graph stands in the model's metadata, as JSON under
`mobileq.tensors`: names can then differ where a node has a reserved one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import mobileq
from mobileq.contract import Contract, Head
from mobileq.errors import UnsupportedError
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Conv,
    MaxPool,
    OrbitMax,
    Pad,
    Padding,
    PadMode,
    Upsample,
)
from mobileq.graph.pools import Copies
from mobileq_onnx.metadata import metadata_props

OPSET = 17
"""Has every operator needed; read by ONNX Runtime 1.12 and later."""

IR_VERSION = 8
"""The file format that belongs to opset 17."""

INPUT, LOGITS, SCORES = "input", "logits", "scores"
"""Names of the only input, and of the only output without and with a head."""

ANY_BATCH = "batch"
"""Name of the first axis where it may have any length."""

TENSORS_KEY = "mobileq.tensors"
"""Metadata entry: JSON object, node name to tensor name."""

Attribute = int | float | str | Sequence[int]

NO_ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType({})


class ModelBuilder:
    """Collects the operators of one file.

    Attributes:
        graph: What is written.
        contract: The ends of the file.
        tensors: Tensor name by node name.
    """

    def __init__(
        self, graph: Graph, contract: Contract, reserved: Mapping[str, str]
    ) -> None:
        """Choose the tensor names.

        Args:
            graph: What is written.
            contract: Head, batch, labels.
            reserved: Tensor names of some nodes; all others get the node's own name.
        """
        self.graph = graph
        self.contract = contract
        self._taken = {INPUT, LOGITS, SCORES}
        self._operators: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []
        self.tensors: dict[str, str] = {}
        for node in graph.nodes:
            name = reserved.get(node.name)
            self.tensors[node.name] = name or self.fresh(node.name)

    def fresh(self, wanted: str) -> str:
        """A tensor name that no other tensor has."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add an initializer and return its name."""
        name = self.fresh(name)
        values = np.array(values, order="C")
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def emit(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str,
        attributes: Mapping[str, Attribute] = NO_ATTRIBUTES,
    ) -> str:
        """Add an operator of the given kind that makes `output`; return `output`."""
        operator = helper.make_node(
            kind, list(inputs), [output], name=output, **attributes
        )
        self._operators.append(operator)
        return output

    def orbit_max(self, node: OrbitMax, source: str, output: str) -> str:
        """Maximum over each block: a max pooling down the channels of a block.

        (1, C, H, W) is seen as (1, C / block, block, H * W), pooled by (block, 1).
        MaxPool has integer kernels in every runtime, ReduceMax does not.
        """
        blocks, height, width = self.graph.shapes[node.name]
        # 0 keeps the batch as it is.
        images = 0 if self.contract.batch is None else self.contract.batch
        rows = np.array([images, blocks, node.block, height * width], np.int64)
        back = np.array([images, blocks, height, width], np.int64)
        split = self.emit(
            "Reshape",
            [source, self.constant(f"{output}/split_shape", rows)],
            self.fresh(f"{output}/split"),
        )
        pooled = self.emit(
            "MaxPool",
            [split],
            self.fresh(f"{output}/pooled"),
            {"kernel_shape": [node.block, 1], "strides": [1, 1]},
        )
        shape = self.constant(f"{output}/shape", back)
        return self.emit("Reshape", [pooled, shape], output)

    def copies(self, node: Copies, source: str, output: str) -> str:
        """Copy pixels; the operators take values of any type."""
        match node:
            case Upsample():
                return self._upsample(node, source, output)
            case Pad():
                return self._pad(node, source, output)
        raise UnsupportedError(
            f"{type(node).__name__} {node.name!r}: cannot be written to ONNX"
        )

    def _upsample(self, node: Upsample, source: str, output: str) -> str:
        """Repeat pixels."""
        factors = np.array([1, 1, node.factor, node.factor], np.float32)
        larger = output if not node.edge else self.fresh(f"{output}/larger")
        attributes: dict[str, Attribute] = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        inputs = [source, "", self.constant(f"{output}/factors", factors)]
        self.emit("Resize", inputs, larger, attributes)
        if not node.edge:
            return output
        sides = np.array([0, 0, node.edge, node.edge] * 2, np.int64)
        inputs = [larger, self.constant(f"{output}/sides", sides)]
        return self.emit("Pad", inputs, output, {"mode": "edge"})

    def _pad(self, node: Pad, source: str, output: str) -> str:
        """Copy pixels around the grid; opset 17 has no Pad that wraps around."""
        if node.mode is PadMode.CIRCULAR:
            rows, columns = node.sources(*self.graph.shapes[node.inputs[0]][1:])
            places = self.constant(f"{output}/rows", rows)
            higher = self.fresh(f"{output}/higher")
            self.emit("Gather", [source, places], higher, {"axis": 2})
            places = self.constant(f"{output}/columns", columns)
            return self.emit("Gather", [higher, places], output, {"axis": 3})
        top, left, bottom, right = pads_of(node.padding)
        sides = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
        inputs = [source, self.constant(f"{output}/sides", sides)]
        mode = "reflect" if node.mode is PadMode.REFLECT else "edge"
        return self.emit("Pad", inputs, output, {"mode": mode})

    def lookup(self, table: NDArray[np.generic], source: str, output: str) -> str:
        """Look 8-bit integers up.

        Args:
            table: (256,) results for all integers of its own type, from the smallest.
            source: Tensor of that type.
            output: Tensor to make.
        """
        values = self.constant(f"{output}/table", table)
        index = self.fresh(f"{output}/index")
        self.emit("Cast", [source], index, {"to": TensorProto.INT32})
        first = -np.iinfo(table.dtype).min  # type: ignore[type-var]
        if first:
            signed, index = index, self.fresh(f"{output}/place")
            shift = self.constant(f"{output}/first", np.array(first, np.int32))
            self.emit("Add", [signed, shift], index)
        return self.emit("Gather", [values, index], output)

    def serialized(self, input_type: int) -> bytes:
        """The finished file, with its head.

        Args:
            input_type: Element type of the input; the output is always float32.

        Raises:
            onnx.checker.ValidationError: never, unless a writer is wrong.
        """
        contract, output = self.contract, LOGITS
        if contract.head is not Head.NONE:
            softmax = contract.head is Head.SOFTMAX
            attributes: Mapping[str, Attribute] = {"axis": 1} if softmax else {}
            kind = "Softmax" if softmax else "Sigmoid"
            output = self.emit(kind, [LOGITS], SCORES, attributes)
        images = ANY_BATCH if contract.batch is None else contract.batch
        shape = [images, *self.graph.input.shape]
        output_shape = [images, *self.graph.shapes[self.graph.output]]
        body = helper.make_graph(
            self._operators,
            "mobileq",
            [helper.make_tensor_value_info(INPUT, input_type, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, output_shape)],
            self._constants,
        )
        model = helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="mobileq",
            producer_version=mobileq.__version__,
            doc_string=contract.description,
        )
        props = metadata_props(contract, self.graph.input, input_type)
        helper.set_model_props(model, props | {TENSORS_KEY: json.dumps(self.tensors)})
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def conv_attributes(node: Conv) -> Mapping[str, Attribute]:
    """Attributes of the Conv operator."""
    return {
        "kernel_shape": node.weight.shape[2:],
        "strides": [node.stride, node.stride],
        "pads": pads_of(node.padding),
        "group": node.groups,
        "dilations": [node.dilation, node.dilation],
    }


def pool_attributes(node: MaxPool) -> Mapping[str, Attribute]:
    """Attributes of the MaxPool operator."""
    return {
        "kernel_shape": node.kernel,
        "strides": [node.stride, node.stride],
        "pads": pads_of(node.padding),
    }


def pads_of(padding: Padding) -> list[int]:
    """In ONNX order: both beginnings, then both ends."""
    return [padding.top, padding.left, padding.bottom, padding.right]
