"""Random symmetric networks: moving an image changes no bit, on any kernel.

Every group, every kind of node, weight scales per channel and per tensor, integers of
every shipped recipe and hostile ones; all elements of the exact subgroup, not only its
generators. No tolerance anywhere: bytes are compared.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.deploy.quantize import Quantized, quantize
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    Cap,
    Conv,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    SpatialMean,
)
from mobileq.models.spec import CONVENTIONAL
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import load_recipe, shipped_recipes
from support.adversarial import adversarial_images
from support.exactness import KERNELS, STILL, require_exact, with_relu6
from support.images import random_pixels, symmetries_of
from support.networks import GROUPS, random_network
from support.random_integers import hostile_spec

SYMMETRIC = tuple(group for group in GROUPS if group != CONVENTIONAL)
RECIPES = tuple(shipped_recipes())
CASES = [(g, r) for g in SYMMETRIC for r in RECIPES]


@cache
def _prepared(group: str, seed: int) -> Graph:
    """A random network of a group, BatchNorm folded and orbits snapped."""
    network, shape = random_network(seed, groups=(group,))
    return run_pipeline(collapse(network, shape).graph, PREPARE)[-1].graph


def _quantized(graph: Graph, recipe: str) -> Quantized:
    """Its integers; where a recipe wants calibration, on noise without symmetry."""
    channels, size, _ = graph.input.shape
    pixels = random_pixels(16, (channels, size, size), 1)
    return quantize(graph, load_recipe(recipe), calibration=pixels)


def _require_exact(
    group: str, graph: Graph, spec: QuantSpec, *, threaded: bool = True
) -> None:
    """All kernels, all elements that the group's name implies, one and two threads."""
    channels, size, _ = graph.input.shape
    hard = adversarial_images(size, channels)
    images = np.concatenate([hard, random_pixels(8, (channels, size, size), 0)])
    motions = (STILL, *symmetries_of(group))
    for kernel in KERNELS:
        require_exact(kernel, graph, spec, images, motions)
        if threaded and kernel != "simulator":
            # Threads share the work by shapes, which all images have in common.
            require_exact(kernel, graph, spec, images[::4], motions, threads=2)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "recipe"), CASES)
def test_no_motion_changes_a_bit(group: str, recipe: str) -> None:
    """Integers of a recipe, with ReLU and with ReLU6, and hostile ones."""
    graph = _prepared(group, CASES.index((group, recipe)))
    made = _quantized(graph, recipe)
    _require_exact(group, made.graph, made.spec)
    made = _quantized(with_relu6(graph), recipe)
    _require_exact(group, made.graph, made.spec, threaded=False)
    per_channel = load_recipe(recipe).per_channel
    hostile = hostile_spec(made.graph, 0, per_channel=per_channel)
    _require_exact(group, made.graph, hostile, threaded=False)


@pytest.mark.slow
@settings(max_examples=5)
@given(
    seed=st.integers(0, 10_000),
    group=st.sampled_from(SYMMETRIC),
    recipe=st.sampled_from(RECIPES),
)
def test_no_motion_changes_a_bit_of_other_networks(
    seed: int, group: str, recipe: str
) -> None:
    """The same for networks that nobody chose."""
    graph = _prepared(group, seed)
    made = _quantized(with_relu6(graph) if seed % 3 == 0 else graph, recipe)
    _require_exact(group, made.graph, made.spec)
    hostile = hostile_spec(made.graph, seed, per_channel=bool(seed % 2))
    _require_exact(group, made.graph, hostile, threaded=False)


def _kinds(node: Node) -> set[str]:
    """What is special about a node, as far as moving images is concerned."""
    found = {type(node).__name__}
    if isinstance(node, Conv):
        taps = "pointwise" if node.weight.shape[2:] == (1, 1) else "spatial"
        found.add(f"{'depthwise' if node.depthwise else 'dense'} {taps}")
        found.add(f"stride {node.stride}, border {node.padding.top}")
    if isinstance(node, MaxPool | AveragePool):
        found.add(f"{type(node).__name__}, stride {node.stride}")
    if isinstance(node, SpatialMean):
        found.add("mean of the grid" if node.mask.all() else "mean of a mask")
    if isinstance(node, Add | Conv | Linear) and node.activation is Activation.RELU6:
        found.add("ReLU6")
    return found


def test_the_fixed_networks_cover_every_kind_of_node() -> None:
    """What the first test draws has all that symmetric networks may have."""
    found: set[str] = set()
    for seed, (group, _) in enumerate(CASES):
        graph = _prepared(group, seed)
        for node in graph.nodes:
            found |= _kinds(node)
        if graph.input.shape[0] == 1:
            found.add("grey images")
        made = _quantized(with_relu6(graph), "dfq")
        found |= {"Cap" for node in made.graph.nodes if isinstance(node, Cap)}
    wanted = {kind.__name__ for kind in (Add, Conv, Linear, Mask, OrbitMax)}
    pools = (AveragePool.__name__, MaxPool.__name__)
    wanted |= {f"{kind}, stride {s}" for kind in pools for s in (1, 2)}
    wanted |= {"mean of the grid", "mean of a mask", "ReLU6", "Cap"}
    wanted.add("grey images")
    wanted |= {"dense spatial", "dense pointwise", "depthwise spatial"}
    wanted |= {f"stride {s}, border {b}" for s in (1, 2) for b in (0, 1)}
    assert not wanted - found, f"seen: {sorted(found)}"
