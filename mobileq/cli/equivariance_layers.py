"""`mobileq equivariance --per-layer`: the network in floats and in integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mobileq.bundle import Bundle
from mobileq.errors import BundleError
from mobileq.graph.fields import rotations_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobileq.bench.layer_report import LayerErrors
    from mobileq.bench.layers import Pair
    from mobileq.graph.base import Shape
    from mobileq.graph.graph import Graph
    from mobileq.quant.affine import Affine
    from mobileq.recipe import Recipe

MOST_IMAGES = 16
"""Every tensor is a mean over thousands of values: a few images are enough."""

FILE = "model.int8.tflite"

SAME_SCALE = 1e-3
"""Relative difference of equal scales. Another numpy may sum in another order;
another recipe changes scales by percents."""


def measure_layers(
    found: Bundle | str,
    images: Mapping[Shape, NDArray[np.uint8]],
    *,
    progress: Callable[[str], None],
) -> LayerErrors | str:
    """Measure every tensor of a target's network.

    Args:
        found: A bundle, or a checkpoint's path or name.
        images: (N, S, S, C) pixels by (C, S, S); at most `MOST_IMAGES` are used.
        progress: Told what is going on.

    Returns:
        The errors, or a line that says why there are none.

    Raises:
        InputError: the checkpoint is gone, or its integers cannot be made again.
    """
    from mobileq.bench.layers import layer_errors
    from mobileq.checkpoint import load_checkpoint
    from mobileq.cli.bench_target import network_of_bundle
    from mobileq.recipe import Recipe

    if isinstance(found, Bundle):
        name = str(found.path)
        group = network_of_bundle(found, name).group
    else:
        name, group = found, load_checkpoint(found).spec.group
    if rotations_of(group) == 1:
        return f"{name}: no rotation group, so its layers promise nothing to measure."
    if isinstance(found, Bundle):
        graph, recipe = _graph_of(found), _recipe_of(found)
    else:
        graph, recipe = _collapsed(found), Recipe()
    progress(f"{name}: quantizing again, for its tensors")
    pair = _pair(graph, recipe, found if isinstance(found, Bundle) else None)
    pixels = images[graph.input.shape]
    chosen = pixels[:: max(1, -(-len(pixels) // MOST_IMAGES))]
    return layer_errors(pair, chosen, network=name, progress=progress)


def _graph_of(bundle: Bundle) -> Graph:
    """The network as it lies in a bundle, or else that of its checkpoint.

    Raises:
        MobileqError: it is damaged, or the checkpoint is gone.
    """
    from mobileq.cli.bench_target import checkpoint_of
    from mobileq.collapsed import load_collapsed
    from mobileq.deploy.export import GRAPH

    if GRAPH not in bundle.manifest["files"]:
        return _collapsed(str(checkpoint_of(bundle, "--per-layer")))
    bundle.read(GRAPH)  # checks its hash
    return load_collapsed(bundle.path / GRAPH).graph


def _collapsed(name: str) -> Graph:
    """The graph of a checkpoint."""
    from mobileq.deploy.export import as_collapsed
    from mobileq.deploy.sources import Source, load_network

    made = load_network(Source(name))
    return as_collapsed(made.model, made.shape, made.pixels, lambda _: None).graph


def _pair(graph: Graph, recipe: Recipe, bundle: Bundle | None) -> Pair:
    """Float graph of a network, and its integer file.

    Args:
        graph: The network as it was collapsed.
        recipe: How it is or was quantized.
        bundle: Whose file is measured if it has one for TFLite.

    Raises:
        BundleError: the bundle's file is not of this network and recipe.
    """
    from mobileq.bench.layers import Pair
    from mobileq.deploy.quantize import quantize
    from mobileq.passes.pipeline import PREPARE, run_pipeline
    from mobileq.verify.graph_runner import GraphRunner
    from mobileq_tflite.int8_writer import write_int8
    from mobileq_tflite.runner import TfliteRunner

    prepared = run_pipeline(graph, PREPARE)
    quantized = quantize(prepared[-1].graph, recipe)
    activations = quantized.spec.activations
    if bundle is not None and FILE in bundle.manifest["files"]:
        file = bundle.read(FILE)
        found = _activations(file)
        _require_alike(found, activations, str(bundle.path / FILE))
        activations = found
    else:
        file = write_int8(quantized.graph, quantized.spec)
    return Pair(
        quantized.graph,
        GraphRunner(quantized.graph, "float"),
        # The kernels that define the result; others round differently by a unit or two.
        TfliteRunner(file, kernels="reference"),
        activations,
    )


def _activations(file: bytes) -> dict[str, Affine]:
    """Scale and zero point of every int8 tensor of the network in a TFLite file."""
    from mobileq.quant.affine import Affine
    from mobileq_tflite.flatfile import INTERNAL, is_int8, unpack

    subgraph = unpack(file).subgraphs[0]
    found: dict[str, Affine] = {}
    made = [int(i) for operator in subgraph.operators for i in operator.outputs]
    for index in (*map(int, subgraph.inputs), *made):
        tensor = subgraph.tensors[index]
        name, quantization = tensor.name.decode(), tensor.quantization
        if INTERNAL not in name and is_int8(tensor):
            scale, zero = quantization.scale[0], quantization.zeroPoint[0]
            found[name] = Affine(float(scale), int(zero))
    return found


def _require_alike(
    found: Mapping[str, Affine], wanted: Mapping[str, Affine], where: str
) -> None:
    """Check that a file's tensors are those of the network.

    Raises:
        BundleError: one is missing, or its scale is another one.
    """
    for name, affine in wanted.items():
        own = found.get(name)
        if own is None or abs(own.scale / affine.scale - 1) > SAME_SCALE:
            has = "missing" if own is None else f"of scale {own.scale:.6g}"
            raise BundleError(
                f"{where}: tensor {name!r} is {has}; wanted scale {affine.scale:.6g}, "
                f"as its checkpoint and recipe give (export again, or pass the "
                f"checkpoint for --per-layer)"
            )


def _recipe_of(bundle: Bundle) -> Recipe:
    """The recipe that a bundle was made with.

    Raises:
        BundleError: it has no integers, or they rest on images that are not in it.
    """
    from mobileq.recipe import Recipe

    remedy = "pass the checkpoint instead of the bundle for --per-layer"
    values: Any = bundle.manifest.get("recipe")
    try:
        recipe = Recipe(**values)
    except TypeError as error:
        raise BundleError(
            f"{bundle.path}: the manifest has no recipe of this mobileq ({error}); "
            f"wanted an INT8 export ({remedy})"
        ) from error
    if recipe.needs_calibration:
        raise BundleError(
            f"{bundle.path}: its recipe {recipe.name!r} rests on calibration images, "
            f"which are not in it; wanted one that needs none ({remedy})"
        )
    return recipe
