"""Integers of one orbit are the same integer: weights, biases, scales and bounds.

`untied` looks at a QuantSpec and at nothing that it was made from. The elements of the
exact subgroup move pixels to pixels, and what they move must be identical. The whole
orbit of C_8 or C_12 is more: its filters are interpolated, but scales, biases and
bounds are one number for all of its channels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.collapse.collapse import collapse
from mobileq.deploy.quantize import Quantized, quantize
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Cap, Conv, Linear
from mobileq.graph.symmetry import filter_sources
from mobileq.models.spec import CONVENTIONAL
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.quant.fixed_point import cap_bounds
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import load_recipe, shipped_recipes
from support.exactness import with_relu6
from support.images import random_pixels
from support.networks import GROUPS, random_network

SEEDS = st.integers(0, 10_000)
SYMMETRIC = st.sampled_from([group for group in GROUPS if group != CONVENTIONAL])
RECIPES = st.sampled_from(sorted(shipped_recipes()))


def _quantized(seed: int, group: str, recipe: str, *, relu6: bool = False) -> Quantized:
    """Integers of a random network; calibrated on images that have no symmetry."""
    network, shape = random_network(seed, groups=(group,))
    graph = run_pipeline(collapse(network, shape).graph, PREPARE)[-1].graph
    assert graph.input.fields.generators
    return quantize(
        with_relu6(graph) if relu6 else graph,
        load_recipe(recipe),
        calibration=random_pixels(16, shape, seed + 1),
    )


def untied(graph: Graph, spec: QuantSpec) -> set[tuple[str, str]]:
    """(node, what) of all integers and scales that break the symmetry."""
    found: set[tuple[str, str]] = set()
    for node in graph.nodes:
        fields = graph.fields(node.name)
        if isinstance(node, Cap):
            bounds = cap_bounds(node, spec.activations[node.name])
            for what in (node.high, bounds):
                if not _one_per_block(what, fields):
                    found.add((node.name, "bounds"))
        if not isinstance(node, Conv | Linear):
            continue
        layer = spec.layers[node.name]
        if not _one_per_block(layer.weight_scale, fields):
            found.add((node.name, "scales"))
        if not _one_per_block(layer.bias, fields):
            found.add((node.name, "bias"))
        weight = layer.weight.ravel()
        if any((weight[source] != weight).any() for source in _sources(graph, node)):
            found.add((node.name, "weight"))
    return found


def _sources(graph: Graph, node: Conv | Linear) -> list[NDArray[np.int64]]:
    """Where each weight comes from, by generator; a linear layer's stay."""
    if isinstance(node, Conv) and node.fields.generators:
        return filter_sources(node, graph.fields(node.inputs[0]))
    return []


def _one_per_block(values: NDArray[np.generic], fields: FieldBlocks) -> bool:
    """Whether all channels of a block, that is of the whole orbit, have one value."""
    first = np.unique(fields.block, return_index=True)[1]
    return bool((values[first[fields.block]] == values).all())


@settings(max_examples=12)
@given(seed=SEEDS, group=SYMMETRIC, recipe=RECIPES, relu6=st.booleans())
def test_every_recipe_ties_its_integers(
    seed: int, group: str, recipe: str, relu6: bool
) -> None:
    """Identical, not close, whatever images the recipe has seen.

    Weights over the exact subgroup; scales, biases and bounds over the whole orbit: all
    12 of C_12.
    """
    made = _quantized(seed, group, recipe, relu6=relu6)
    assert untied(made.graph, made.spec) == set()


@settings(max_examples=12)
@given(
    seed=SEEDS,
    group=SYMMETRIC,
    recipe=RECIPES,
    what=st.sampled_from(["weight", "bias", "scales"]),
)
def test_one_changed_integer_is_found(
    seed: int, group: str, recipe: str, what: str
) -> None:
    """One unit, or the last bit of a scale: the layer is named, and it alone."""
    made = _quantized(seed, group, recipe)
    per_channel = load_recipe(recipe).per_channel
    # One scale for the whole layer cannot be wrong in one channel.
    assume(per_channel or what != "scales")
    rng = np.random.default_rng(seed)
    candidates = {n: _movable(made.graph, n, what) for n in made.spec.layers}
    name = str(rng.choice([n for n, movable in candidates.items() if movable.size]))
    layer, index = made.spec.layers[name], int(rng.choice(candidates[name]))
    weight, bias = layer.weight.copy(), layer.bias.copy()
    scale = layer.weight_scale.copy()
    match what:
        case "weight":
            weight.flat[index] += -1 if weight.flat[index] > 0 else 1
        case "bias":
            bias[index] += 1
        case _:
            scale[index] = np.nextafter(scale[index], np.float32(np.inf))
    wrong = replace(layer, weight=weight, bias=bias, weight_scale=scale)
    spec = replace(made.spec, layers={**made.spec.layers, name: wrong})
    assert untied(made.graph, spec) == {(name, what)}


def _movable(graph: Graph, name: str, what: str) -> NDArray[np.int64]:
    """Weights (flat) or channels of a layer that share their value with another one."""
    node, fields = graph[name], graph.fields(name)
    assert isinstance(node, Conv | Linear)
    if what == "scales":
        return np.flatnonzero(np.bincount(fields.block)[fields.block] > 1)
    sources = [generator.source for generator in fields.generators]
    if what == "weight":
        sources = _sources(graph, node)
    if not sources:
        return np.empty(0, np.int64)
    order = np.arange(len(sources[0]))
    return np.flatnonzero((np.stack(sources) != order).any(axis=0))


@settings(max_examples=10)
@given(seed=SEEDS, group=SYMMETRIC)
def test_one_changed_bound_is_found(seed: int, group: str) -> None:
    """A Cap whose bound differs inside an orbit, by the last bit, is named."""
    made = _quantized(seed, group, "dfq", relu6=True)
    graph = made.graph
    blocks = {node.name: graph.fields(node.name).num_blocks for node in graph.nodes}
    caps = [
        node
        for node in graph.nodes
        if isinstance(node, Cap) and blocks[node.name] < len(node.high)
    ]
    assume(caps)
    high = caps[0].high.copy()
    high[0] = np.nextafter(high[0], np.inf)
    wrong = graph.replaced({caps[0].name: replace(caps[0], high=high)})
    assert untied(wrong, made.spec) == {(caps[0].name, "bounds")}
