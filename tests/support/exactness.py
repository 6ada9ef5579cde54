"""Demand identical bytes for an image and its moved copies, of every kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.equivariance import Motion, moved
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Activation, Add, Conv
from mobileq.quant.simulate import SimulatorRunner
from mobileq.quant.spec import QuantSpec
from mobileq.verify.runner import Runner
from mobileq_onnx import qdq_writer
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite import int8_writer
from mobileq_tflite.runner import Kernels, TfliteRunner

STILL: Motion = (0, False)

TFLITE: dict[str, Kernels] = {
    "tflite xnnpack": "xnnpack",
    "tflite builtin": "builtin",
    "tflite reference": "reference",
}

KERNELS = (*TFLITE, "onnx uint8", "onnx int8", "simulator")
"""Every way to compute a QuantSpec; the simulator knows no threads."""


def runner_of(kernel: str, graph: Graph, spec: QuantSpec, threads: int = 1) -> Runner:
    """One of `KERNELS` on the file that our writers make for it."""
    if kernel == "simulator":
        return SimulatorRunner(graph, spec)
    if kernel == "onnx uint8":
        data = qdq_writer.write_int8(graph, spec)
    elif kernel == "onnx int8":
        data = qdq_writer.write_int8(graph, spec, activation_type="int8")
    else:
        data = int8_writer.write_int8(graph, spec)
    return runner_of_file(kernel, data, threads)


def runner_of_file(kernel: str, data: bytes, threads: int) -> Runner:
    """One of `KERNELS` but the simulator, on the content of an INT8 file."""
    if kernel.startswith("onnx"):
        return OnnxRunner(data, threads=threads)
    return TfliteRunner(data, kernels=TFLITE[kernel], threads=threads)


def elements(generators: Iterable[Motion]) -> tuple[Motion, ...]:
    """All motions that some of them generate, `STILL` first.

    Args:
        generators: (quarter turns, mirrored): mirror the columns, then turn.
    """
    steps = tuple(generators)
    found = [STILL]
    for turns, mirrored in found:
        for more, flip in steps:
            # A mirror image turns the other way round.
            sense = -1 if flip else 1
            product = ((more + sense * turns) % 4, mirrored != flip)
            if product not in found:
                found.append(product)
    return tuple(found)


def spun(
    images: NDArray[np.uint8], motions: Sequence[Motion], *, start: int = 0
) -> NDArray[np.uint8]:
    """Move image i by element `start + i` of `motions`, which begin anew at the end."""
    result = images.copy()
    for index, motion in enumerate(motions):
        rows = slice((index - start) % len(motions), None, len(motions))
        result[rows] = moved(images[rows], motion)
    return result


def changed(first: NDArray[np.int8], second: NDArray[np.int8]) -> NDArray[np.int64]:
    """Images whose int8 logits (N, F) differ in any bit."""
    assert first.dtype == second.dtype == np.int8
    assert first.shape == second.shape
    return np.flatnonzero((first != second).any(axis=1))


def changed_by_motions(
    runner: Runner, images: NDArray[np.uint8], motions: Sequence[Motion]
) -> dict[Motion, list[int]]:
    """Images (N, S, S, C) whose output changes, by the motion that changes it."""
    wanted = runner.outputs(images)
    found = {m: changed(runner.outputs(moved(images, m)), wanted) for m in motions}
    return {motion: rows.tolist() for motion, rows in found.items() if rows.size}


def require_exact(
    kernel: str,
    graph: Graph,
    spec: QuantSpec,
    images: NDArray[np.uint8],
    motions: Sequence[Motion],
    *,
    threads: int = 1,
) -> None:
    """Demand the same bytes for every image under every motion."""
    runner = runner_of(kernel, graph, spec, threads)
    found = changed_by_motions(runner, images, motions)
    assert not found, f"{kernel}, {threads} threads: changed images by motion {found}"


def with_relu6(graph: Graph) -> Graph:
    """Every ReLU of a layer or a sum made a ReLU6; fields and weights stay.

    escnn has no such activation, but a graph may: bounds per channel come of it.
    """
    return graph.replaced(
        {
            node.name: replace(node, activation=Activation.RELU6)
            for node in graph.nodes
            if isinstance(node, Conv | Add) and node.activation is Activation.RELU
        }
    )
