"""Climb the ladder, from the network as it was trained to the files."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobileq.deploy.climb_heads import (
    INTEGER,
    climb_heads,
    logits_of_files,
    with_own_head,
)
from mobileq.deploy.files import Deployment
from mobileq.deploy.quantize import Quantized
from mobileq.errors import DataError
from mobileq.graph.graph import Graph
from mobileq.quant.simulate import SimulatorRunner
from mobileq.verify.graph_runner import GraphRunner
from mobileq.verify.images import verification_images
from mobileq.verify.ladder import Measure, Rung, Tolerances, check_symmetry, compare
from mobileq.verify.remembered import Remembered
from mobileq.verify.runner import PixelMap, Runner
from mobileq.verify.symmetry import asymmetry

if TYPE_CHECKING:
    from torch import nn


def climb(
    model: nn.Module | None,
    made: Deployment,
    *,
    tolerances: Tolerances = Tolerances(),  # noqa: B008  (frozen)
    images: NDArray[np.uint8] | None = None,
) -> tuple[Rung, ...]:
    """Climb the ladder, from the network as it was trained to the files.

    Args:
        model: The network as it was trained; None where it is not at hand, and the
            ladder begins with the graph.
        made: Its deployment.
        tolerances: Limits of the rungs.
        images: (B, H, W, C) uint8; synthetic tissue by default.
    """
    image = made.graph.input
    pixels = PixelMap(image.pixel_scale, image.pixel_zero)
    if images is None:
        images = verification_images(image.shape)
    check_images(images, image.shape)
    head, output = made.contract.head, made.graph.output
    of_files = {n: Remembered(r) for n, r in runners(made.files, pixels=pixels).items()}
    inside = logits_of_files(of_files, head, output)
    graphs = [GraphRunner(s.graph, f"graph, {s.name}") for s in made.stages]
    floats: list[Runner] = [
        *graphs,
        *(r for n, r in inside.items() if n.startswith("model.float")),
    ]
    floats = [Remembered(runner) for runner in floats]
    # A network with a softmax of its own returns scores, its graph logits.
    modules: list[Runner] = [
        *(Remembered(runner) for runner in _torch_runners(model, made, pixels)),
        with_own_head(made.collapsed, floats[0]),
    ]
    rungs = [
        compare(
            runner,
            before,
            images,
            measure=Measure.RELATIVE,
            limit=tolerances.float_error,
            order=_order(made.stages[0].graph),
        )
        for before, runner in (
            *itertools.pairwise(modules),
            *itertools.pairwise(floats),
        )
    ]
    if made.quantized is not None:
        fused = next(r for r in floats if r.name == graphs[-2].name)
        branch = _climb_passes(made.quantized, fused, tolerances, images)
        rungs += [rung for rung, _ in branch]
        rungs += _climb_int8(made.quantized, inside, branch[-1][1], tolerances, images)
    rungs += climb_heads(made, of_files, inside, tolerances, images)
    if made.quantized is not None and asymmetry(made.quantized.graph) is None:
        motions = made.quantized.graph.input.fields.motions
        simulator = SimulatorRunner(made.quantized.graph, made.quantized.spec)
        integer = [r for n, r in of_files.items() if n.startswith(INTEGER)]
        turned: list[Runner] = [simulator, *integer]
        rungs += [check_symmetry(runner, images, motions) for runner in turned]
    return tuple(rungs)


def _torch_runners(
    model: nn.Module | None, made: Deployment, pixels: PixelMap
) -> list[Runner]:
    """The network as trained and as collapsed, where they are modules."""
    found = {"network as trained": model, "collapsed": made.collapsed.module}
    modules = {name: module for name, module in found.items() if module is not None}
    if not modules:
        return []
    # Imported late: a graph alone is verified without torch.
    from mobileq.verify.torch_runner import TorchRunner

    return [TorchRunner(m, name, pixels=pixels) for name, m in modules.items()]


NOT_CLIMBED = ("network as trained", "collapsed")
"""What the ladder begins with, where there is more than a graph."""


def not_climbed(before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the manifest says of an export from a graph alone.

    Args:
        before: Rungs that the collapsed checkpoint says were climbed, as dictionaries;
            they are passed on, and were not climbed again.
    """
    return {
        "ladder_not_climbed": {
            "representations": list(NOT_CLIMBED),
            "reason": "exported from a collapsed checkpoint, which holds the graph",
            "climbed_at_collapse": [dict(rung) for rung in before],
        }
    }


def _climb_passes(
    quantized: Quantized,
    fused: Runner,
    tolerances: Tolerances,
    images: NDArray[np.uint8],
) -> list[tuple[Rung, Runner]]:
    """The rungs of the recipe's passes, each against the stage before it.

    Passes rescale and shift tensors on purpose; only the logits can be compared.
    """
    found: list[tuple[Rung, Runner]] = []
    before = fused
    for stage in quantized.stages:
        runner: Runner = Remembered(GraphRunner(stage.graph, f"INT8: {stage.name}"))
        exact = stage.preserves
        rung = compare(
            runner,
            before,
            images,
            measure=Measure.RELATIVE if exact else Measure.SQNR,
            limit=tolerances.float_error if exact else tolerances.sqnr_db,
            order=[stage.graph.output],
        )
        found.append((rung, runner))
        before = runner
    return found


def _climb_int8(
    quantized: Quantized,
    of_files: Mapping[str, Runner],
    reference: Runner,
    tolerances: Tolerances,
    images: NDArray[np.uint8],
) -> list[Rung]:
    """The rungs of the integer files."""
    graph, spec = quantized.graph, quantized.spec
    order = _order(graph)
    simulator: Runner = Remembered(SimulatorRunner(graph, spec))
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
    integer = {n: r for n, r in of_files.items() if n.startswith(INTEGER)}
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
    return rungs


def _order(graph: Graph) -> list[str]:
    """Names of all tensors in the order of the graph, the output last."""
    names = [node.name for node in graph.nodes if node.name != graph.output]
    return [*names, graph.output]


def check_images(images: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """Check that images fit a network.

    Args:
        images: (N, H, W, C) uint8.
        shape: (C, H, W) of the network's input.

    Raises:
        DataError: another type or shape, or no image.
    """
    wanted = (*shape[1:], shape[0])
    if images.dtype != np.uint8 or images.shape[1:] != wanted or not len(images):
        raise DataError(
            f"images: {images.dtype} of shape {images.shape}; wanted uint8 of shape "
            f"(N, {', '.join(map(str, wanted))}) with N of at least 1"
        )


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
            from mobileq_tflite.runner import TfliteRunner, kernels_of

            every = kernels_of(data)
            # Float kernels differ by rounding alone; the default one stands for all.
            for kernels in every if ".int8." in name else every[:1]:
                found[f"{name}/{kernels}"] = TfliteRunner(
                    data, kernels=kernels, threads=threads, pixels=pixels
                )
    return found
