"""Passes, quantization and writers, in this order: collapsed network to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mobileq.collapse.model import CollapsedModel
from mobileq.contract import Contract, Head
from mobileq.deploy.quantize import Quantized, quantize
from mobileq.errors import InputError
from mobileq.graph.graph import Graph
from mobileq.passes.pipeline import FINISH, PREPARE, StagedGraph, run_pipeline
from mobileq.recipe import Recipe

FORMATS = ("onnx", "tflite")

Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Deployment:
    """Everything that an export makes, before it is written.

    Attributes:
        collapsed: The network without escnn.
        stages: The graph after each pass that every export applies; the last one is
            what the float files compute.
        quantized: The network in integers; None for a float export.
        files: Content by file name.
        contract: Their ends.
    """

    collapsed: CollapsedModel
    stages: tuple[StagedGraph, ...]
    quantized: Quantized | None
    files: Mapping[str, bytes]
    contract: Contract = field(default_factory=Contract)

    @property
    def graph(self) -> Graph:
        """The deployable graph of the float files."""
        return self.stages[-1].graph


def deploy(
    collapsed: CollapsedModel,
    *,
    int8: bool = True,
    formats: Sequence[str] = FORMATS,
    recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
    contract: Contract = Contract(),  # noqa: B008  (frozen)
    calibration: NDArray[np.uint8] | None = None,
    report: Report = lambda message: None,
) -> Deployment:
    """Run the passes, quantize and make the files; nothing is verified or written.

    Args:
        collapsed: From `collapse`, or a graph alone.
        int8: Make INT8 files besides the float ones.
        formats: Some of `onnx`, `tflite`.
        recipe: How to quantize.
        contract: What the files take and return.
        calibration: (N, H, W, C) uint8 images for a recipe that asks for them.
        report: Called with a line before each step.

    Raises:
        MobileqError: the graph cannot be deployed, or does not fit the contract.
    """
    contract = _with_own_head(contract, collapsed.head)
    classes = collapsed.graph.shapes[collapsed.graph.output][0]
    contract.check(classes, formats, int8=int8)
    report("folding BatchNorm, snapping orbits")
    quantized = None
    prepared = run_pipeline(collapsed.graph, PREPARE)
    fused = prepared[-1]
    finished = run_pipeline(fused.graph, (FINISH,), name=fused.name)[1:]
    if int8:
        quantized = quantize(
            fused.graph, recipe, calibration=calibration, report=report
        )
    files: dict[str, bytes] = {}
    for name in FORMATS:
        if name in formats:
            report(f"writing {name}")
            files |= _write(name, finished[-1].graph, quantized, contract)
    return Deployment(collapsed, (*prepared, *finished), quantized, files, contract)


def _with_own_head(contract: Contract, own: Head) -> Contract:
    """The contract of a network that ends in a softmax of its own.

    Raises:
        InputError: another head is wanted.
    """
    if own is Head.NONE or contract.head is own:
        return contract
    if contract.head is not Head.NONE:
        raise InputError(
            f"head is {contract.head.value} for a network that ends in a {own.value}; "
            f"wanted {own.value} (leave --head out)"
        )
    return replace(contract, head=own)


def check_formats(formats: Sequence[str]) -> None:
    """Check the names of formats.

    Raises:
        InputError: there is none, or one is unknown.
    """
    if not formats:
        raise InputError(f"no format is named; wanted some of {', '.join(FORMATS)}")
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"format is {name!r}; wanted {', '.join(FORMATS)}")


def _write(
    name: str, graph: Graph, quantized: Quantized | None, contract: Contract
) -> dict[str, bytes]:
    """Files of one format."""
    if name == "onnx":
        from mobileq_onnx import float_writer, qdq_writer

        files = {"model.float.onnx": float_writer.write_float(graph, contract)}
        if quantized is not None:
            integers = qdq_writer.write_int8(quantized.graph, quantized.spec, contract)
            files["model.int8.onnx"] = integers
        return files
    from mobileq_tflite import float_writer as tflite_float
    from mobileq_tflite import int8_writer

    files = {"model.float.tflite": tflite_float.write_float(graph, contract)}
    if quantized is not None:
        integers = int8_writer.write_int8(quantized.graph, quantized.spec, contract)
        files["model.int8.tflite"] = integers
    return files
