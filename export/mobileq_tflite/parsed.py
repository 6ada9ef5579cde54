"""The content of a TFLite file in plain values, read with LiteRT's schema.

Only what a proof looks at is read, and through accessors that check their bounds: a
damaged file ends in an error, whatever its numbers say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from mobileq.errors import InputError

MAGIC = b"TFL3"

_TYPES: Mapping[int, np.dtype[Any]] = {
    schema.TensorType.INT8: np.dtype("i1"),
    schema.TensorType.UINT8: np.dtype("u1"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT64: np.dtype("<i8"),
    schema.TensorType.FLOAT32: np.dtype("<f4"),
}
"""Element types whose constants can be read."""

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "Conv2DOptions": (
        *("Padding", "StrideH", "StrideW"),
        *("DilationHFactor", "DilationWFactor"),
    ),
    "DepthwiseConv2DOptions": (
        *("Padding", "StrideH", "StrideW"),
        *("DilationHFactor", "DilationWFactor"),
    ),
    "Pool2DOptions": (
        *("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth"),
    ),
    "FullyConnectedOptions": ("WeightsFormat",),
    "ConcatenationOptions": ("Axis",),
    "ReshapeOptions": ("NewShapeAsNumpy",),
    "ResizeNearestNeighborOptions": ("AlignCorners", "HalfPixelCenters"),
    "MirrorPadOptions": ("Mode",),
    "GatherOptions": ("Axis", "BatchDims"),
}
"""What is read of each options table."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor.

    Attributes:
        name: Unique in the file.
        kind: Element type as the schema spells it, such as INT8.
        shape: As declared.
        constant: Whether its values are in the file.
        values: Those; empty otherwise.
        scale: (n,) float32; none if it is not quantized.
        zero_point: (n,) int64.
        axis: That the scales belong to.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    constant: bool
    values: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int

    def means_the_same(self, other: Tensor) -> bool:
        """Whether an integer stands for the same real number in both."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(
            self.zero_point, other.zero_point
        )

    def per_channel(self, axis: int, channels: int) -> NDArray[np.float32] | None:
        """(channels,) scales; None if the file's do not belong to this axis."""
        if len(self.scale) == 1:
            return np.repeat(self.scale, channels)
        return self.scale if (len(self.scale), self.axis) == (channels, axis) else None


@dataclass(frozen=True)
class Call:
    """One operator.

    Attributes:
        kind: As the schema spells it, such as CONV_2D.
        inputs: Tensor indices; -1 for an optional one that is left out.
        outputs: Tensor indices.
        options: By the schema's names.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class File:
    """One subgraph with one input and one output."""

    name: str
    tensors: tuple[Tensor, ...]
    calls: tuple[Call, ...]
    source: Tensor
    result: Tensor


def parse(data: bytes, name: str) -> File:
    """Read a file.

    Args:
        data: Its content.
        name: For messages.

    Raises:
        InputError: no TFLite file, a damaged one, or one of several subgraphs, inputs
            or outputs.
    """
    with reading(data, name):
        return _parse(data, name)


@contextmanager
def reading(data: bytes, name: str) -> Iterator[None]:
    """Turn whatever the accessors raise on damaged data into one line.

    Args:
        data: The file's content.
        name: For messages.

    Raises:
        InputError: no TFLite file, or a damaged one.
    """
    if data[4:8] != MAGIC:
        raise InputError(
            f"{name}: begins with {data[4:8]!r}; wanted a TFLite file ({MAGIC!r})"
        )
    try:
        yield
    except (
        *(struct.error, IndexError, KeyError, TypeError, ValueError),
        *(OverflowError, AttributeError, UnicodeDecodeError, MemoryError),
    ) as error:
        raise InputError(
            f"{name}: damaged ({type(error).__name__}: {error}); wanted a whole TFLite "
            f"file (export or copy it again)"
        ) from error


def _parse(data: bytes, name: str) -> File:
    """Read a file, whatever its accessors raise."""
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    counts = (model.SubgraphsLength(), graph.InputsLength(), graph.OutputsLength())
    if counts != (1, 1, 1):
        raise InputError(
            f"{name}: has {counts[0]} subgraphs, {counts[1]} inputs and {counts[2]} "
            f"outputs; wanted one of each"
        )
    names: set[str] = set()
    tensors = tuple(
        read_tensor(model, graph.Tensors(i), i, names)
        for i in range(graph.TensorsLength())
    )
    kinds = [
        operator_kind(model.OperatorCodes(i))
        for i in range(model.OperatorCodesLength())
    ]
    calls = tuple(
        _call(graph.Operators(i), kinds, len(tensors))
        for i in range(graph.OperatorsLength())
    )
    ends = (graph.Inputs(0), graph.Outputs(0))
    if min(ends) < 0:
        raise IndexError(f"input and output are tensors {ends}")
    _check_order(tensors, calls, ends[0])
    return File(name, tensors, calls, tensors[ends[0]], tensors[ends[1]])


def _check_order(
    tensors: tuple[Tensor, ...], calls: tuple[Call, ...], source: int
) -> None:
    """Check that every tensor is made once, before it is read.

    Raises:
        ValueError: it is not.
    """
    made = {i for i, tensor in enumerate(tensors) if tensor.constant} | {source}
    for call in calls:
        for index in call.inputs:
            if index >= 0 and index not in made:
                raise ValueError(f"{tensors[index].name!r} is read before it is made")
        for index in call.outputs:
            if index in made:
                raise ValueError(f"{tensors[index].name!r} is made twice")
            made.add(index)


def read_tensor(model: Any, table: Any, index: int, names: set[str]) -> Tensor:
    """Read a tensor; a name that is taken gets its index behind it.

    Raises:
        ValueError: it is sparse, variable or kept outside, or its values do not fit.
    """
    name = (table.Name() or b"").decode("utf-8", "replace")
    if not name or name in names:
        name = f"{name}#{index}"
    while name in names:
        name += "#"
    names.add(name)
    code = table.Type()
    kind = _spelled(schema.TensorType, code)
    shape = tuple(int(n) for n in table.ShapeAsNumpy()) if table.ShapeLength() else ()
    buffer = model.Buffers(table.Buffer())
    if table.Sparsity() is not None or table.IsVariable():
        raise ValueError(f"tensor {name!r} is sparse or variable")
    stored = _stored(model, buffer)
    empty = 0 in shape
    constant = len(stored) > 0 or empty
    values = np.zeros(0)
    if constant and not empty and code in _TYPES:
        values = stored.view(_TYPES[code]).reshape(shape)
    elif constant:
        kind = f"{kind} of unknown values"
    quantization = table.Quantization()
    scale, zero_point, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    if quantization is not None and quantization.ScaleLength():
        scale = quantization.ScaleAsNumpy()
        axis = quantization.QuantizedDimension()
        zero_point = np.zeros(len(scale), np.int64)
        if quantization.ZeroPointLength():
            # One for all, or one for each scale.
            zero_point = zero_point + quantization.ZeroPointAsNumpy()
    return Tensor(name, kind, shape, constant, values, scale, zero_point, axis)


def _stored(model: Any, buffer: Any) -> NDArray[np.uint8]:
    """Bytes of a constant, in the flatbuffer or behind it; none where there are none.

    Raises:
        ValueError: they are in both places, or beyond the end of the file.
    """
    offset, size = buffer.Offset(), buffer.Size()
    if not offset and not size:
        inside: NDArray[np.uint8] = buffer.DataAsNumpy()
        return inside if buffer.DataLength() else np.zeros(0, np.uint8)
    whole = np.frombuffer(model._tab.Bytes, np.uint8)
    if buffer.DataLength() or offset + size > len(whole):
        raise ValueError(
            f"a buffer of {size} bytes lies at {offset} of {len(whole)}, and "
            f"{buffer.DataLength()} bytes of it inside"
        )
    # View needs its own, aligned bytes; those of a file may begin anywhere.
    return whole[offset : offset + size].copy()


def operator_kind(code: Any) -> str:
    """Name of an operator; old files know only the field of one byte."""
    return _spelled(
        schema.BuiltinOperator, max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    )


def _call(table: Any, kinds: list[str], tensors: int) -> Call:
    """Read an operator."""
    inputs = tuple(int(table.Inputs(i)) for i in range(table.InputsLength()))
    outputs = tuple(int(table.Outputs(i)) for i in range(table.OutputsLength()))
    if max((*inputs, *outputs), default=0) >= tensors or min(outputs, default=0) < 0:
        raise IndexError(f"an operator names tensor {max((*inputs, *outputs))}")
    options: dict[str, Any] = {}
    kind = _spelled(schema.BuiltinOptions, table.BuiltinOptionsType())
    if kind in _OPTIONS and table.BuiltinOptions() is not None:
        reader = getattr(schema, kind)()
        union = table.BuiltinOptions()
        reader.Init(union.Bytes, union.Pos)
        options = {key: getattr(reader, key)() for key in _OPTIONS[kind]}
    return Call(kinds[table.OpcodeIndex()], inputs, outputs, options)


def _spelled(enumeration: Any, code: int) -> str:
    """Name of a code in one of the schema's enumerations."""
    names = [n for n, v in vars(enumeration).items() if v == code and n[0] != "_"]
    return str(names[0]) if names else f"code {code}"
