"""What an ONNX file is: ends, operators, numbers. It is read and not run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import helper

from mobileq.facts import End, FileFacts
from mobileq_onnx.parsed import load, reading


def describe(data: bytes, name: str) -> FileFacts:
    """Describe a file.

    Args:
        data: Its content.
        name: For messages.

    Raises:
        InputError: no ONNX file, a damaged one, or one with weights outside of it.
    """
    with reading(name):
        return _describe(load(data, name))


def _describe(model: onnx.ModelProto) -> FileFacts:
    """Describe a model, whatever its accessors raise."""
    graph = model.graph
    kept = {tensor.name for tensor in graph.initializer}
    constants: Counter[str] = Counter()
    for tensor in graph.initializer:
        constants[_dtype(tensor.data_type)] += int(np.prod(tensor.dims))
    operators = Counter(node.op_type for node in graph.node)
    opsets = [f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if model.producer_name:
        producer = f"{model.producer_name} {model.producer_version}".strip()
        metadata["producer"] = producer
    return FileFacts(
        format="onnx",
        version=f"IR {model.ir_version}, {', '.join(sorted(opsets))}",
        inputs=tuple(_end(info) for info in graph.input if info.name not in kept),
        outputs=tuple(_end(info) for info in graph.output),
        operators=dict(operators.most_common()),
        constants=dict(constants.most_common()),
        metadata=metadata,
    )


def _end(info: onnx.ValueInfoProto) -> End:
    """Input or output; whatever quantizes it is an operator of its own."""
    tensor = info.type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or "?"
        for d in tensor.shape.dim
    )
    return End(info.name, _dtype(tensor.elem_type), shape)


def _dtype(code: int) -> str:
    """Element type in numpy's words."""
    return str(helper.tensor_dtype_to_np_dtype(code).name)
