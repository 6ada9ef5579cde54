"""The content of an ONNX file in plain values, without weights from outside of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mobileq.errors import InputError

EIGHT_BITS = (TensorProto.UINT8, TensorProto.INT8)
IMAGE_TYPES = (*EIGHT_BITS, TensorProto.FLOAT)


@dataclass(frozen=True)
class Call:
    """One operator.

    Attributes:
        kind: Such as Conv; with its domain before it if that is not ONNX's own.
        inputs: Tensor names; empty for an optional one that is left out.
        outputs: Tensor names.
        attributes: By name.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class File:
    """A graph with one image as input and one output.

    Attributes:
        name: For messages.
        calls: In the order of computation.
        constants: Arrays by name.
        shapes: Declared or inferred shapes by name, where known.
        types: ONNX's element types by name, where known.
        readers: How many operators read each tensor; the output counts as one.
        source: Name of the input.
        shape: (C, H, W) of the image.
        batch: How many images the file takes; 1 if it takes any number.
        result: Name of the output.
    """

    name: str
    calls: tuple[Call, ...]
    constants: Mapping[str, NDArray[Any]]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, int]
    readers: Mapping[str, int]
    source: str
    shape: tuple[int, int, int]
    batch: int
    result: str


def parse(data: bytes, name: str) -> File:
    """Read a file.

    Args:
        data: Its content.
        name: For messages.

    Raises:
        InputError: no ONNX file, a damaged one, one with weights outside, or one that
            does not take one image and return one tensor.
    """
    with reading(name):
        model = onnx.shape_inference.infer_shapes(load(data, name))
        constants = _constants(model)
        nodes = [n for n in model.graph.node if n.op_type != "Constant"]
        calls = tuple(_call(node) for node in nodes)
    inputs = [i for i in model.graph.input if i.name not in constants]
    counts = (len(inputs), len(model.graph.output))
    if counts != (1, 1):
        raise InputError(
            f"{name}: has {counts[0]} inputs and {counts[1]} outputs; wanted one of "
            f"each"
        )
    result = model.graph.output[0].name
    readers = Counter([i for call in calls for i in call.inputs] + [result])
    known = (*inputs, *model.graph.value_info, *model.graph.output)
    shapes = {info.name: _shape(info) for info in known}
    types = {info.name: info.type.tensor_type.elem_type for info in known}
    batch, image = _image(inputs[0], name)
    source = inputs[0].name
    return File(
        name, calls, constants, shapes, types, readers, source, image, batch, result
    )


def load(data: bytes, name: str) -> onnx.ModelProto:
    """Parse and check a model; inside `reading`, which translates errors.

    Args:
        data: The file's content.
        name: For messages.

    Raises:
        InputError: it has weights outside of it or operators of its own.
    """
    model = onnx.load_model_from_string(data)
    _refuse_outside(model, name)
    onnx.checker.check_model(model)
    return model


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever is raised on damaged data into one line.

    Args:
        name: Of the file, for messages.

    Raises:
        InputError: no ONNX file, or a damaged one.
    """
    try:
        yield
    except InputError:
        raise
    except (
        *(DecodeError, onnx.checker.ValidationError, IndexError, KeyError),
        *(onnx.shape_inference.InferenceError, ValueError, TypeError, MemoryError),
    ) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{name}: damaged or no ONNX file ({first}); wanted a whole one (export or "
            f"copy it again)"
        ) from error


def _refuse_outside(model: onnx.ModelProto, name: str) -> None:
    """Check that all weights are in the file itself.

    Raises:
        InputError: one is kept in another file, which is not opened, or the file has
            operators of its own.
    """
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise InputError(
                f"{name}: keeps {tensor.name!r} in another file; wanted all weights in "
                f"this one (onnx.save without save_as_external_data)"
            )
    for function in model.functions:
        # One may have the name of an operator that is known to be something else.
        raise InputError(
            f"{name}: defines the operator {function.name!r} itself; wanted ONNX's own "
            f"operators (onnx.inliner.inline_local_functions)"
        )


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """All stored tensors of a graph and of the bodies in it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for body in (attribute.g, *attribute.graphs):
                yield from _tensors(body)


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Initializers and the values of Constant nodes."""
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _call(node: onnx.NodeProto) -> Call:
    """An operator with its attributes."""
    own = node.domain in ("", "ai.onnx")
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind = node.op_type if own else f"{node.domain}.{node.op_type}"
    return Call(kind, tuple(node.input), tuple(node.output), attributes)


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Known extents; 1 where the file leaves one open."""
    return tuple(d.dim_value or 1 for d in info.type.tensor_type.shape.dim)


def _image(info: onnx.ValueInfoProto, name: str) -> tuple[int, tuple[int, int, int]]:
    """Batch and (C, H, W) of the input; a batch of any size is read as one image.

    Raises:
        InputError: it is no image of fixed size.
    """
    extents = [d.dim_value for d in info.type.tensor_type.shape.dim]
    wrong = len(extents) != 4 or min(extents[1:], default=0) < 1
    if wrong or info.type.tensor_type.elem_type not in IMAGE_TYPES:
        raise InputError(
            f"{name}: the input has shape {tuple(extents)} (0 is open); wanted "
            f"images (N, C, H, W) of fixed size"
        )
    return max(1, extents[0]), (extents[1], extents[2], extents[3])


def quantized_to_8_bits(file: File) -> Iterator[str]:
    """Names of tensors that are quantized, with one scale, to integers of 8 bits."""
    for call in file.calls:
        if call.kind != "QuantizeLinear" or len(call.inputs) < 2:
            continue
        scale = file.constants.get(call.inputs[1])
        one = scale is not None and scale.size == 1
        if one and file.types.get(call.outputs[0]) in EIGHT_BITS:
            yield call.inputs[0]
