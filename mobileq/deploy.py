"""The whole way: a trained network goes in, a verified bundle comes out.

This is what `mobileq export` calls, and the door for a network of one's own:

    bundle = export_module(my_escnn_network, (3, 95, 95), out=Path("mine.mobileq"))
"""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobileq import __version__
from mobileq.bundle import Bundle, refuse_existing, write_bundle
from mobileq.checkpoint import load_checkpoint
from mobileq.collapse.collapse import CollapsedModel, collapse
from mobileq.errors import InputError
from mobileq.graph.graph import Graph
from mobileq.passes.pipeline import StagedGraph, run_pipeline
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import Range, statistical_ranges
from mobileq.quant.simulate import SimulatorRunner
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import Recipe
from mobileq.verify.graph_runner import GraphRunner
from mobileq.verify.images import verification_images
from mobileq.verify.ladder import (
    Measure,
    Rung,
    Tolerances,
    check_symmetry,
    compare,
    require,
)
from mobileq.verify.runner import PixelMap, Runner
from mobileq.verify.symmetry import asymmetry
from mobileq.verify.torch_runner import TorchRunner

if TYPE_CHECKING:
    from torch import nn

FORMATS = ("onnx", "tflite")
PACKAGES = ("torch", "escnn", "onnx", "onnxruntime", "tensorflow-cpu", "ai-edge-litert")

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


def export_checkpoint(
    name: str | Path,
    out: Path,
    *,
    int8: bool = True,
    formats: Sequence[str] = FORMATS,
    recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    report: Report = lambda message: None,
) -> Bundle:
    """Export a checkpoint to a bundle.

    Args:
        name: Path of a checkpoint, or the name of a shipped one.
        out: Directory to make.
        int8: Write INT8 files besides the float ones.
        formats: Some of `onnx`, `tflite`.
        recipe: How to quantize.
        overwrite: Replace an existing bundle.
        report: Called with a line before each step.

    Raises:
        MobileqError: bad input, or a rung of the ladder that breaks.
    """
    refuse_existing(out, overwrite=overwrite)
    checkpoint = load_checkpoint(name)
    spec = checkpoint.spec
    report(f"building {spec.group} MobileNetV2, width {spec.width:g}")
    shape = (spec.in_channels, spec.input_size, spec.input_size)
    origin = {
        "checkpoint": {
            "source": checkpoint.source,
            "sha256": checkpoint.sha256,
            "spec": spec.to_dict(),
        }
    }
    return export_module(
        checkpoint.build(),
        shape,
        out=out,
        int8=int8,
        formats=formats,
        recipe=recipe,
        overwrite=overwrite,
        origin=origin,
        report=report,
    )


def export_module(
    model: nn.Module,
    shape: tuple[int, int, int],
    *,
    out: Path,
    int8: bool = True,
    formats: Sequence[str] = FORMATS,
    recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    pixels: PixelMap = PixelMap(),  # noqa: B008  (frozen)
    origin: Mapping[str, Any] | None = None,
    report: Report = lambda message: None,
) -> Bundle:
    """Export a trained network, of escnn or plain torch modules.

    Args:
        model: Takes normalized images (B, C, H, W), gives logits (B, classes).
        shape: (C, H, W) of the images.
        out: Directory to make.
        int8: Write INT8 files besides the float ones.
        formats: Some of `onnx`, `tflite`.
        recipe: How to quantize.
        overwrite: Replace an existing bundle.
        pixels: How 8-bit pixels become what the network was trained on.
        origin: Where the network comes from, for the manifest.
        report: Called with a line before each step.

    Raises:
        MobileqError: bad input, or a rung of the ladder that breaks; nothing is
            written then.
    """
    check_formats(formats)
    refuse_existing(out, overwrite=overwrite)
    report("collapsing to plain convolutions")
    collapsed = collapse(model, shape, pixel_scale=pixels.scale, pixel_zero=pixels.zero)
    made = deploy(collapsed, int8=int8, formats=formats, recipe=recipe, report=report)
    report("climbing the verification ladder")
    rungs = climb(model, made)
    require(rungs)
    manifest = {**(origin or {}), **_manifest(made, recipe, rungs)}
    return write_bundle(out, made.files, manifest, overwrite=overwrite)


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


def runners(
    files: Mapping[str, bytes], *, pixels: PixelMap, threads: int = 1
) -> dict[str, Runner]:
    """A runner for each file and kernel, by `<file>` or `<file>/<kernels>`."""
    found: dict[str, Runner] = {}
    for name, data in files.items():
        if name.endswith(".onnx"):
            from mobileq_onnx.runner import OnnxRunner

            found[name] = OnnxRunner(data, threads=threads, pixels=pixels)
        else:
            from mobileq_tflite.runner import TfliteRunner

            for kernels in ("xnnpack", "builtin", "reference"):
                found[f"{name}/{kernels}"] = TfliteRunner(
                    data, kernels=kernels, threads=threads, pixels=pixels
                )
    return found


def climb(
    model: nn.Module,
    made: Deployment,
    *,
    tolerances: Tolerances = Tolerances(),  # noqa: B008  (frozen)
    images: NDArray[np.uint8] | None = None,
) -> tuple[Rung, ...]:
    """Climb the ladder, from the network as it was trained to the files.

    Args:
        model: The network as it was trained.
        made: Its deployment.
        tolerances: Limits of the rungs.
        images: (B, H, W, C) uint8; synthetic tissue by default.
    """
    image = made.graph.input
    pixels = PixelMap(image.pixel_scale, image.pixel_zero)
    if images is None:
        images = verification_images(image.shape)
    of_files = runners(made.files, pixels=pixels)
    graphs = [GraphRunner(s.graph, f"graph, {s.name}") for s in made.stages]
    floats: list[Runner] = [
        TorchRunner(model, "network as trained", pixels=pixels),
        TorchRunner(made.collapsed.module, "collapsed", pixels=pixels),
        *graphs,
        *(r for n, r in of_files.items() if n.startswith("model.float.onnx")),
        *(r for n, r in of_files.items() if n == "model.float.tflite/xnnpack"),
    ]
    order = [node.name for node in made.stages[0].graph.nodes]
    rungs = [
        compare(
            runner,
            before,
            images,
            measure=Measure.RELATIVE,
            limit=tolerances.float_error,
            order=order,
        )
        for before, runner in itertools.pairwise(floats)
    ]
    if made.spec is not None:
        rungs += _climb_int8(made, of_files, graphs[-1], tolerances, images)
    return tuple(rungs)


def _climb_int8(
    made: Deployment,
    of_files: Mapping[str, Runner],
    reference: Runner,
    tolerances: Tolerances,
    images: NDArray[np.uint8],
) -> list[Rung]:
    """The rungs of the integer files."""
    assert made.spec is not None
    spec = made.spec
    order = [node.name for node in made.graph.nodes]
    simulator = SimulatorRunner(made.graph, spec)
    rungs = [
        compare(
            simulator,
            reference,
            images,
            measure=Measure.SQNR,
            limit=tolerances.sqnr_db,
            order=order,
            affine=lambda name: spec.activations[name],
        )
    ]
    integer = {n: r for n, r in of_files.items() if n.startswith("model.int8")}
    # The simulator follows TFLite's reference kernels to the bit; others may round
    # differently.
    for name in sorted(integer, key=lambda n: (not n.endswith("reference"), n)):
        exact = name.endswith("reference")
        limit = 0 if exact else tolerances.runtime_steps
        rungs.append(
            compare(
                integer[name],
                simulator,
                images,
                measure=Measure.STEPS,
                limit=limit,
                order=order,
            )
        )
    if asymmetry(made.graph) is None:
        motions = made.graph.input.fields.motions
        turned: list[Runner] = [simulator, *integer.values()]
        rungs += [check_symmetry(runner, images, motions) for runner in turned]
    return rungs


def _manifest(
    made: Deployment, recipe: Recipe, rungs: Sequence[Rung]
) -> dict[str, Any]:
    """What a user of the bundle needs to know, as plain values."""
    image = made.graph.input
    reason = asymmetry(made.graph)
    manifest: dict[str, Any] = {
        "mobileq": __version__,
        "group": image.fields.group,
        "input": {
            "shape": list(image.shape),
            "pixel_scale": image.pixel_scale,
            "pixel_zero": image.pixel_zero,
            "float_files": "float32, (pixel - pixel_zero) * pixel_scale",
            "int8_files": "uint8, raw pixels",
            "layout": {"onnx": "NCHW", "tflite": "NHWC"},
        },
        "classes": made.graph.shapes[made.graph.output][0],
        "multiply_adds": made.graph.multiply_adds,
        "exact_symmetry": {
            "motions": [] if reason else [list(m) for m in image.fields.motions],
            "why_not": reason,
        },
        "ladder": [rung.to_dict() for rung in rungs],
        "environment": _environment(),
    }
    if made.spec is not None:
        output = made.spec.activations[made.graph.output]
        manifest["recipe"] = recipe.to_dict()
        manifest["quantization"] = {
            "output": {"scale": output.scale, "zero_point": output.zero_point},
            "ranges": {
                name: {"low": r.low, "high": r.high, "source": r.source}
                for name, r in made.ranges.items()
            },
        }
    return manifest


def _environment() -> dict[str, str]:
    """Versions that made the files."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
