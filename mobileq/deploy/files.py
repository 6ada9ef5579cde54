"""Passes, quantization and writers, in this order: collapsed network to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mobileq.collapse.collapse import CollapsedModel
from mobileq.errors import InputError
from mobileq.graph.graph import Graph
from mobileq.passes.pipeline import StagedGraph, run_pipeline
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import Range, statistical_ranges
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import Recipe

FORMATS = ("onnx", "tflite")

Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Deployment:
    """Everything that an export makes, before it is written.

    Attributes:
        collapsed: The network without escnn.
        stages: The graph after each pass; the last one is deployable.
        ranges: Range of each tensor that has one of its own.
        spec: All integers; None for a float export.
        files: Content by file name.
    """

    collapsed: CollapsedModel
    stages: tuple[StagedGraph, ...]
    ranges: Mapping[str, Range]
    spec: QuantSpec | None
    files: Mapping[str, bytes]

    @property
    def graph(self) -> Graph:
        """The deployable graph."""
        return self.stages[-1].graph


def deploy(
    collapsed: CollapsedModel,
    *,
    int8: bool = True,
    formats: Sequence[str] = FORMATS,
    recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
    report: Report = lambda message: None,
) -> Deployment:
    """Run the passes, quantize and make the files; nothing is verified or written.

    Args:
        collapsed: From `collapse`.
        int8: Make INT8 files besides the float ones.
        formats: Some of `onnx`, `tflite`.
        recipe: How to quantize.
        report: Called with a line before each step.

    Raises:
        MobileqError: the graph cannot be deployed.
    """
    report("folding BatchNorm, snapping orbits")
    stages = run_pipeline(collapsed.graph)
    graph = stages[-1].graph
    ranges: Mapping[str, Range] = {}
    spec = None
    if int8:
        report("quantizing")
        ranges = statistical_ranges(graph, sigmas=recipe.sigmas)
        spec = derive_spec(graph, ranges, per_channel=recipe.per_channel)
    files: dict[str, bytes] = {}
    for name in FORMATS:
        if name in formats:
            report(f"writing {name}")
            files |= _write(name, graph, spec)
    return Deployment(collapsed, stages, ranges, spec, files)


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


def _write(name: str, graph: Graph, spec: QuantSpec | None) -> dict[str, bytes]:
    """Files of one format."""
    if name == "onnx":
        from mobileq_onnx import float_writer, qdq_writer

        files = {"model.float.onnx": float_writer.write_float(graph)}
        if spec is not None:
            files["model.int8.onnx"] = qdq_writer.write_int8(graph, spec)
        return files
    from mobileq_tflite import float_writer as tflite_float
    from mobileq_tflite import int8_writer

    files = {"model.float.tflite": tflite_float.write_float(graph)}
    if spec is not None:
        files["model.int8.tflite"] = int8_writer.write_int8(graph, spec)
    return files
