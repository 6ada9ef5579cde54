"""The first and the last operators of an INT8 file: types of its ends, and its head.

None of them changes what an integer stands for:

    uint8      QUANTIZE adds or subtracts 128, exactly
    float32    QUANTIZE turns (pixel - zero) * scale back into the pixel: the quotient
               lies next to an integer; DEQUANTIZE is one product
    int8       no operator

The head's scores have scale 1/256 and zero point -128, as TFLite demands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobileq.contract import Contract, EndType, Head
from mobileq.graph.graph import Graph
from mobileq.quant.affine import Affine
from mobileq.quant.heads import SCORES
from mobileq_tflite.flatfile import INTERNAL, FlatModel, Quantization, pack
from mobileq_tflite.layout import nhwc
from mobileq_tflite.metadata import attach, model_metadata, with_labels
from mobileq_tflite.operators import VERSIONS

PIXELS = "pixels"
"""Name of the input, and its key in the signature."""

DESCRIPTION = "mobileq INT8: {end} image (1, H, W, C) to {end} {output}"


@dataclass(frozen=True)
class Ends:
    """Indices of the tensors at both ends of the network.

    Attributes:
        source: The file's input.
        logits: The network's int8 output.
    """

    source: int
    logits: int


def finished(
    model: FlatModel, graph: Graph, affine: Affine, contract: Contract, ends: Ends
) -> bytes:
    """Add the last operators and the metadata, and write the file.

    Args:
        model: With all nodes of the graph.
        graph: What it computes.
        affine: What the integer logits stand for.
        contract: Types of the ends, head, labels.
        ends: Where they are.
    """
    end, head = contract.end(integer=True), contract.head
    shape = nhwc(graph.shapes[graph.output])
    result = add_result(model, shape, affine, head, end, ends.logits)
    text = DESCRIPTION.format(end=end, output=head.output)
    made = model.finish(ends.source, result, text, (PIXELS, head.output))
    attach(made, model_metadata(contract, graph.input, end))
    return with_labels(pack(made), contract)


def quantization(affine: Affine) -> Quantization:
    """Scale and zero point of an int8 tensor."""
    return Quantization((affine.scale,), (affine.zero_point,))


def shifted(affine: Affine) -> Quantization:
    """The same of a uint8 tensor."""
    return Quantization((affine.scale,), (affine.zero_point + 128,))


def add_source(
    model: FlatModel,
    name: str,
    shape: tuple[int, ...],
    affine: Affine,
    end: EndType,
    signed: int,
) -> int:
    """Add the file's input and what turns it into int8.

    Args:
        model: In the making.
        name: Of the input tensor; no other tensor may have it.
        shape: (1, H, W, C).
        affine: What the integers stand for.
        end: Type of the input.
        signed: Index of the int8 tensor that the network reads.

    Returns:
        Index of the input tensor.
    """
    if end == "int8":
        return signed
    if end == "uint8":
        index = model.tensor(name, shape, np.uint8, shifted(affine))
    else:
        index = model.tensor(name, shape, np.float32)
    _convert(model, "QUANTIZE", index, signed, schema.QuantizeOptionsT())
    return index


def add_result(
    model: FlatModel,
    shape: tuple[int, ...],
    affine: Affine,
    head: Head,
    end: EndType,
    logits: int,
) -> int:
    """Add the head, and what turns its int8 scores into the type of the output.

    Args:
        model: In the making.
        shape: Of the logits.
        affine: What the integer logits stand for.
        head: What follows them.
        end: Type of the output.
        logits: Index of the int8 logits.

    Returns:
        Index of the output tensor.
    """
    signed, meaning = logits, affine
    if head is not Head.NONE:
        meaning = SCORES
        name = f"{head.output}{INTERNAL}int8"
        signed = model.tensor(name, shape, np.int8, quantization(meaning))
        kind, options = _head_operator(head)
        model.operator(kind, VERSIONS[kind], [logits], signed, options)
    if end == "int8":
        return signed
    name = f"{head.output}{INTERNAL}{end}"
    if end == "uint8":
        index = model.tensor(name, shape, np.uint8, shifted(meaning))
        _convert(model, "QUANTIZE", signed, index, schema.QuantizeOptionsT())
    else:
        index = model.tensor(name, shape, np.float32)
        _convert(model, "DEQUANTIZE", signed, index, schema.DequantizeOptionsT())
    return index


def _head_operator(head: Head) -> tuple[str, Any]:
    """Kind and options."""
    if head is Head.SIGMOID:
        return "LOGISTIC", None
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return "SOFTMAX", options


def _convert(
    model: FlatModel, kind: str, source: int, result: int, options: Any
) -> None:
    """Append a conversion."""
    model.operator(kind, VERSIONS[kind], [source], result, options)
