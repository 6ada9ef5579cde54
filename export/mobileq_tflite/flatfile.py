"""Assemble a TFLite flatbuffer tensor by tensor (schema version 3).

TensorFlow's converter and the quantizers around it choose scales themselves; a file
whose integers are given has to be written with the schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from mobileq.errors import UnsupportedError

SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Bytes; the schema demands it of constant data, so that files can be mapped."""

INTERNAL = ";"
"""Occurs in the names of tensors that are no node of the graph, and only there."""

TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int8): schema.TensorType.INT8,
}


@dataclass(frozen=True)
class Quantization:
    """Scale and zero point of a tensor, or of each slice along one axis.

    Attributes:
        scale: One value, or one per slice.
        zero_point: As many integers.
        axis: The axis that is sliced; 0 where there is one scale.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0

    @classmethod
    def symmetric(cls, scale: NDArray[np.floating[Any]], axis: int = 0) -> Quantization:
        """Zero points 0, with (n,) scales."""
        return cls(tuple(map(float, scale)), (0,) * len(scale), axis)

    def packable(self) -> Any:
        """The schema's object."""
        parameters = schema.QuantizationParametersT()
        parameters.scale = np.asarray(self.scale, np.float32)
        parameters.zeroPoint = np.asarray(self.zero_point, np.int64)
        parameters.quantizedDimension = self.axis
        return parameters


class AlignedBuffer:
    """Constant data that packs itself at a multiple of 16 bytes.

    The generated Python code ignores the schema's `force_align`.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def Pack(self, builder: Any) -> int:
        """Write into a flatbuffers builder; called by the generated code."""
        offset = None
        if self.data:
            size = len(self.data)
            builder.StartVector(1, size, ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self.data
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if offset is not None:
            schema.BufferAddData(builder, offset)
        return int(schema.BufferEnd(builder))


class FlatModel:
    """A model of one subgraph, in the making."""

    def __init__(self) -> None:
        self._buffers = [AlignedBuffer(b"")]  # buffer 0 means "no data"
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: type[np.generic],
        quantization: Quantization | None = None,
    ) -> int:
        """Add a tensor that an operator or the caller fills; returns its index."""
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = np.asarray(shape, np.int32)
        tensor.type = TENSOR_TYPES[np.dtype(dtype)]
        tensor.hasRank = True
        if quantization is not None:
            tensor.quantization = quantization.packable()
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def constant(
        self,
        name: str,
        values: NDArray[Any],
        quantization: Quantization | None = None,
    ) -> int:
        """Add a tensor with given values; returns its index."""
        index = self.tensor(name, values.shape, values.dtype.type, quantization)
        little = values.astype(values.dtype.newbyteorder("<"))
        self._tensors[index].buffer = len(self._buffers)
        self._buffers.append(AlignedBuffer(little.tobytes()))
        return index

    def operator(
        self,
        kind: str,
        version: int,
        inputs: list[int],
        output: int,
        options: Any = None,
    ) -> None:
        """Append an operator.

        Args:
            kind: As the schema spells it, such as `CONV_2D`.
            version: Of the operator; decides which runtimes can load the file.
            inputs: Tensor indices.
            output: Tensor index.
            options: The schema's options object, such as `Conv2DOptionsT`.
        """
        code = getattr(schema.BuiltinOperator, kind)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((code, version), len(self._codes))
        operator.inputs = np.asarray(inputs, np.int32)
        operator.outputs = np.asarray([output], np.int32)
        if options is not None:
            table = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = options
        self._operators.append(operator)

    def finish(
        self,
        source: int,
        result: int,
        description: str,
        keys: tuple[str, str] | None = None,
    ) -> Any:
        """Make a `ModelT`, which can be packed.

        Args:
            source: Index of the input tensor.
            result: Index of the output tensor.
            description: Text for people.
            keys: Of input and output in the signature; the tensors' names by default.
        """
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.tensors = self._tensors
        subgraph.operators = self._operators
        subgraph.inputs = np.asarray([source], np.int32)
        subgraph.outputs = np.asarray([result], np.int32)
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = description
        model.operatorCodes = [_operator_code(*key) for key in self._codes]
        model.subgraphs = [subgraph]
        model.buffers = self._buffers
        if keys is None:
            keys = (self._tensors[source].name, self._tensors[result].name)
        model.signatureDefs = [signature(keys[0], source, keys[1], result)]
        return model


def pack(model: Any) -> bytes:
    """Serialize a `ModelT`."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def unpack(file: bytes) -> Any:
    """Parse a TFLite file into a `ModelT` that can be edited and packed again."""
    model = schema.ModelT.InitFromPackedBuf(file)
    for index, buffer in enumerate(model.buffers):
        data = b"" if buffer.data is None else np.asarray(buffer.data).tobytes()
        model.buffers[index] = AlignedBuffer(data)
    return model


def is_int8(tensor: Any) -> bool:
    """Whether a `TensorT` holds signed integers of 8 bits."""
    return bool(tensor.type == schema.TensorType.INT8)


def require_plain(name: str) -> str:
    """A node's name, if it can be that of a tensor.

    Raises:
        UnsupportedError: it contains the mark of internal tensors.
    """
    if INTERNAL in name:
        raise UnsupportedError(
            f"node {name!r}: found {INTERNAL!r} in its name; wanted none, it marks "
            f"tensors that are no node (rename the module)"
        )
    return name


def _operator_code(code: int, version: int) -> Any:
    """An entry of the model's operator table."""
    entry = schema.OperatorCodeT()
    entry.builtinCode = code
    # Readers from before 2020 know only this field, of one byte.
    entry.deprecatedBuiltinCode = min(code, 127)
    entry.version = version
    return entry


def signature(source_name: str, source: int, result_name: str, result: int) -> Any:
    """The default signature: names and indices of the input and the output."""
    entry = schema.SignatureDefT()
    entry.signatureKey = "serving_default"
    entry.inputs = [_mapped(source_name, source)]
    entry.outputs = [_mapped(result_name, result)]
    return entry


def _mapped(name: str, index: int) -> Any:
    """A name and a tensor index."""
    entry = schema.TensorMapT()
    entry.name = name
    entry.tensorIndex = index
    return entry
