"""What a TFLite file is: ends, operators, numbers. It is read and not run."""

from __future__ import annotations

from collections import Counter

from ai_edge_litert import schema_py_generated as schema

from mobileq.facts import End, FileFacts
from mobileq_tflite.parsed import Tensor, operator_kind, read_tensor, reading


def describe(data: bytes, name: str) -> FileFacts:
    """Describe a file.

    Args:
        data: Its content.
        name: For messages.

    Raises:
        InputError: no TFLite file, or a damaged one.
    """
    with reading(data, name):
        return _describe(schema.Model.GetRootAs(data, 0))


def _describe(model: schema.Model) -> FileFacts:
    """Describe the first subgraph, which is what interpreters run.

    Raises:
        ValueError: a number in the file is impossible; so do others of `reading`.
    """
    graph = model.Subgraphs(0)
    names: set[str] = set()
    tensors = [
        read_tensor(model, graph.Tensors(i), i, names)
        for i in range(graph.TensorsLength())
    ]
    kinds = [
        operator_kind(model.OperatorCodes(i))
        for i in range(model.OperatorCodesLength())
    ]
    calls = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    constants: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.constant:
            constants[tensor.kind.lower()] += tensor.values.size
    return FileFacts(
        format="tflite",
        version=f"schema {model.Version()}",
        inputs=tuple(
            _end(tensors[graph.Inputs(i)]) for i in range(graph.InputsLength())
        ),
        outputs=tuple(
            _end(tensors[graph.Outputs(i)]) for i in range(graph.OutputsLength())
        ),
        operators=dict(Counter(kinds[c.OpcodeIndex()] for c in calls).most_common()),
        constants=dict(constants.most_common()),
        metadata=_metadata(model),
    )


def _end(tensor: Tensor) -> End:
    """Input or output."""
    kind, shape = tensor.kind.lower(), tuple(tensor.shape)
    if len(tensor.scale) != 1:
        return End(tensor.name, kind, shape)
    zero_point = int(tensor.zero_point[0])
    return End(tensor.name, kind, shape, float(tensor.scale[0]), zero_point)


def _metadata(model: schema.Model) -> dict[str, str]:
    """The description, and the size of each block of metadata."""
    found = {}
    description = model.Description()
    if description:
        found["description"] = description.decode("utf-8", "replace")
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        name = (entry.Name() or b"").decode("utf-8", "replace")
        size = model.Buffers(entry.Buffer()).DataLength()
        found[name or f"metadata {index}"] = f"{size:,} bytes"
    return found
