"""Quantize a network by a recipe: passes, images, ranges, bias correction, integers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import InputError
from mobileq.graph.graph import Graph
from mobileq.graph.moments import has_statistics
from mobileq.graph.spec import Stage
from mobileq.passes.correct_bias import correct_bias, correct_bias_on_images
from mobileq.passes.pipeline import StagedGraph, recipe_steps, run_pipeline
from mobileq.passes.relu6 import drop_idle_caps
from mobileq.quant.derive import derive_spec
from mobileq.quant.noise import smooth_images
from mobileq.quant.observe import observed_ranges
from mobileq.quant.observe_statistics import observed_statistics
from mobileq.quant.ranges import Range, statistical_ranges
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import Recipe

Report = Callable[[str], None]

MADE_UP_SIGMAS = 10.0
"""Least half width of ranges whose statistics come from made-up images. Real images
vary more: with ImageNet's MobileNetV2 8, 10, 12 and 15 were tried (docs/dfq.md)."""

NO_STATISTICS = (
    "no BatchNorm statistics: means, ranges and bias correction rest on {images}; what "
    "the network was trained on may exceed them (give images: --calibration)"
)


@dataclass(frozen=True, eq=False)
class Quantized:
    """A network in integers, and how it came to them.

    Attributes:
        stages: The graph after each pass of the recipe that changed it; the last one
            is deployable and computes in floats what the integers stand for.
        corrected: The last stage with corrected biases, which the integers are of.
        ranges: Range of each tensor that has one of its own.
        spec: All integers.
        notes: What the user should know about this quantization, a line each.
    """

    stages: tuple[StagedGraph, ...]
    corrected: Graph
    ranges: Mapping[str, Range]
    spec: QuantSpec
    notes: tuple[str, ...]

    @property
    def graph(self) -> Graph:
        """The last stage."""
        return self.stages[-1].graph


def quantize(
    prepared: Graph,
    recipe: Recipe,
    *,
    calibration: NDArray[np.uint8] | None = None,
    report: Report = lambda message: None,
) -> Quantized:
    """Quantize by a recipe.

    Args:
        prepared: BatchNorm folded, orbits snapped, activations fused.
        recipe: What to do.
        calibration: (N, H, W, C) uint8 images like those that the network is for. Used
            where the recipe asks for images, and where statistics are missing.
        report: Called with a line before each step.

    Raises:
        InputError: the recipe needs images and there are none.
        MobileqError: the graph cannot be quantized, or images do not fit.
    """
    if recipe.needs_calibration and calibration is None:
        raise InputError(
            f"recipe {recipe.name!r} needs calibration images and got none; wanted "
            f"--calibration, or a recipe with images.source = 'synthesised'"
        )
    graph, notes = _with_statistics(prepared, recipe, calibration, report)
    if notes and calibration is None:
        recipe = replace(recipe, sigmas=max(recipe.sigmas, MADE_UP_SIGMAS))
    images = None
    if recipe.needs_images:
        images = _images(graph, recipe, calibration, report)
    report("quantizing")
    stages = run_pipeline(graph, recipe_steps(recipe), name="fused, again")
    graph = stages[-1].graph
    ranges = _ranges(graph, recipe, images)
    spec = _derived(graph, ranges, recipe)
    graph, ranges = drop_idle_caps(graph, ranges, spec.activations)
    # What lies above a tensor's range is cut off by 8 bit, but not in floats.
    last = StagedGraph("idle caps", graph, Stage.DEPLOYABLE, preserves=False)
    if graph is not stages[-1].graph:
        stages = (*stages, last)
    corrected, spec = _integers(graph, ranges, recipe, images)
    changed = [b for a, b in itertools.pairwise(stages) if a.graph is not b.graph]
    return Quantized(tuple(changed), corrected, ranges, spec, notes)


def _with_statistics(
    graph: Graph,
    recipe: Recipe,
    calibration: NDArray[np.uint8] | None,
    report: Report,
) -> tuple[Graph, tuple[str, ...]]:
    """The graph with statistics in every layer, and what there is to say about them."""
    if recipe.statistics_source == "images" and calibration is not None:
        report("measuring statistics on images")
        chosen = _chosen(calibration, recipe.image_count)
        return observed_statistics(graph, chosen, only_missing=False), ()
    if has_statistics(graph):
        return graph, ()
    report("no BatchNorm statistics; measuring them on images")
    if calibration is not None:
        chosen, what = _chosen(calibration, recipe.image_count), "calibration images"
    else:
        chosen = smooth_images(graph, count=recipe.image_count)
        what = "made-up images of smooth noise"
    note = NO_STATISTICS.format(images=f"{len(chosen)} {what}")
    return observed_statistics(graph, chosen), (note,)


def _images(
    graph: Graph,
    recipe: Recipe,
    calibration: NDArray[np.uint8] | None,
    report: Report,
) -> NDArray[np.uint8]:
    """The images that the recipe asks for."""
    if recipe.image_source == "calibration":
        assert calibration is not None
        return _chosen(calibration, recipe.image_count)
    try:
        # Imported late: the search for images needs gradients, and nothing else does.
        from mobileq.quant.synthesise import synthesised_images
    except ImportError as error:
        raise InputError(
            f"recipe {recipe.name!r} synthesises images, which takes torch, and there "
            f"is none; wanted it, or images.source = 'calibration' (pip install torch)"
        ) from error
    report("synthesising images")
    return synthesised_images(graph, count=recipe.image_count)


def _chosen(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """At most `count` images, evenly spaced."""
    return images[:: max(1, -(-len(images) // count))]


def _ranges(
    graph: Graph, recipe: Recipe, images: NDArray[np.uint8] | None
) -> Mapping[str, Range]:
    """Ranges by the recipe's method."""
    if recipe.range_method == "sigma":
        return statistical_ranges(graph, sigmas=recipe.sigmas)
    assert images is not None
    return observed_ranges(
        graph, images, method=recipe.range_method, percentile=recipe.percentile
    )


def _integers(
    graph: Graph,
    ranges: Mapping[str, Range],
    recipe: Recipe,
    images: NDArray[np.uint8] | None,
) -> tuple[Graph, QuantSpec]:
    """The graph with corrected biases, and its integers."""
    spec = _derived(graph, ranges, recipe)
    if not recipe.corrects_bias:
        return graph, spec
    if recipe.bias_source == "images":
        assert images is not None
        corrected = correct_bias_on_images(graph, spec, images)
    else:
        corrected = correct_bias(graph, spec.layers)
    return corrected, _derived(corrected, ranges, recipe)


def _derived(graph: Graph, ranges: Mapping[str, Range], recipe: Recipe) -> QuantSpec:
    """All integers, in the recipe's weight scheme."""
    return derive_spec(graph, ranges, per_channel=recipe.per_channel, bits=recipe.bits)
