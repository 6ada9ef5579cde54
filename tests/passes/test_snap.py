"""Snapping makes the weights of an orbit bit-identical, and moves nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from escnn import nn as enn
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.errors import SymmetryError
from mobileq.graph.fields import FieldBlocks, Generator, trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv
from mobileq.graph.statistics import Statistics
from mobileq.models.build import EquivariantLayers
from mobileq.models.spec import GroupName
from mobileq.passes.fold import fold_batch_norm
from mobileq.passes.snap import TOLERANCE, snap_orbits
from support.networks import MeanHead, RandomNetwork, random_network

Weights = np.ndarray[Any, Any]


def _acted(weight: Weights, g_out: Generator, g_in: Generator, groups: int) -> Weights:
    """(g W)[o, i] = turn(W[source_out(o), source_in(i)]), on the dense filter."""
    out, per_group, *kernel = weight.shape
    dense = np.zeros((out, per_group * groups, *kernel))
    for channel in range(out):
        first = channel // (out // groups) * per_group
        dense[channel, first : first + per_group] = weight[channel]
    moved = np.asarray(g_out.move(dense[g_out.source][:, g_in.source]))
    rows = []
    for channel in range(out):
        first = channel // (out // groups) * per_group
        rows.append(moved[channel, first : first + per_group])
        outside = np.delete(moved[channel], np.s_[first : first + per_group], axis=0)
        assert not outside.any()
    return np.stack(rows)


def _require_exact(graph: Graph) -> int:
    """Every weight, bias and statistic equals its copy; returns the generators seen."""
    count = 0
    for node in graph.nodes:
        if not isinstance(node, Conv) or not node.fields.generators:
            continue
        above = graph.fields(node.inputs[0])
        pairs = zip(node.fields.generators, above.generators, strict=True)
        for g_out, g_in in pairs:
            acted = _acted(node.weight, g_out, g_in, node.groups)
            np.testing.assert_array_equal(acted, node.weight)
            np.testing.assert_array_equal(node.bias[g_out.source], node.bias)
            if node.statistics is not None:
                std = node.statistics.std
                np.testing.assert_array_equal(std[g_out.source], std)
            count += 1
    return count


def _folded(group: str, *modules: torch.nn.Module) -> Graph:
    """A network of some modules after a lifting convolution, collapsed and folded."""
    layers = EquivariantLayers(GroupName.parse(group), 1)
    order = GroupName.parse(group).order
    body = [layers.lifting(1, 2 * order, 1, 1), *modules, layers.orbit_pool(2 * order)]
    network = RandomNetwork(group, layers, body, MeanHead(2, 2)).eval()
    return fold_batch_norm(collapse(network, (1, 7, 7)).graph)


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000))
def test_orbits_of_random_networks(seed: int) -> None:
    """Exact under every generator, hardly moved, and the same when done again."""
    groups = ("C4", "C8", "C12", "D4", "D2", "C6")
    network, shape = random_network(seed, groups=groups)
    folded = fold_batch_norm(collapse(network, shape).graph)
    snapped = snap_orbits(folded)
    assert _require_exact(snapped) > 0
    again = snap_orbits(snapped)
    for node in snapped.nodes:
        if isinstance(node, Conv):
            before, twice = folded[node.name], again[node.name]
            assert isinstance(before, Conv)
            assert isinstance(twice, Conv)
            largest = np.abs(before.weight).max()
            # The pass's own bound, which is also the brief's: rounding noise.
            assert np.abs(node.weight - before.weight).max() <= TOLERANCE * largest
            np.testing.assert_array_equal(twice.weight, node.weight)
            np.testing.assert_array_equal(twice.bias, node.bias)


@pytest.mark.parametrize("group", ["C4", "D4", "C6"])
def test_grouped_convolutions(group: str) -> None:
    """escnn's grouped convolution keeps its groups, each with whole blocks."""
    layers = EquivariantLayers(GroupName.parse(group), 1)
    fields = layers.fields(2 * GroupName.parse(group).order)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        conv = enn.R2Conv(fields, fields, 3, padding=1, groups=2, initialize=False)
        torch.nn.init.normal_(conv.weights)
    snapped = snap_orbits(_folded(group, conv))
    assert _require_exact(snapped) > 0
    kept = [n for n in snapped.nodes if isinstance(n, Conv) and n.groups == 2]
    assert len(kept) == 1


@pytest.mark.parametrize(("what", "amount"), [("weight", 1e-3), ("bias", 1e-3)])
def test_broken_weights_are_an_error(what: str, amount: float) -> None:
    """A perturbed value names its node and the channel that would move."""
    layers = EquivariantLayers(GroupName.parse("C4"), 1)
    graph = _folded("C4", layers.depthwise(8, 1, 1), layers.norm(8))
    (depthwise,) = [n for n in graph.nodes if isinstance(n, Conv) and n.depthwise]
    values = np.array(getattr(depthwise, what))
    values[5] += amount * np.abs(depthwise.weight).max()
    changes: dict[str, Any] = {what: values}
    broken = replace(depthwise, **changes)
    graph = graph.replaced({depthwise.name: broken})
    wanted = rf"^Conv 'body.2', channel [4-7]: {what} breaks the symmetry of C4 by"
    with pytest.raises(SymmetryError, match=wanted) as caught:
        snap_orbits(graph)
    assert "wanted at most 1e-05" in str(caught.value)


def test_a_larger_tolerance_is_for_the_caller_to_choose() -> None:
    """The mean of the orbit is taken, whatever the distance."""
    layers = EquivariantLayers(GroupName.parse("C4"), 1)
    graph = _folded("C4", layers.depthwise(8, 1, 1))
    (depthwise,) = [n for n in graph.nodes if isinstance(n, Conv) and n.depthwise]
    values = np.array(depthwise.weight)
    values[5, 0, 0, 0] += 0.4
    graph = graph.replaced({depthwise.name: replace(depthwise, weight=values)})
    snapped = snap_orbits(graph, tolerance=100.0)
    assert _require_exact(snapped) > 0
    moved = snapped[depthwise.name]
    assert isinstance(moved, Conv)
    # Four weights share the difference; the others move by rounding noise.
    assert abs((moved.weight - depthwise.weight).max() - 0.1) < 1e-6


def _swapping(weight: Weights, above: FieldBlocks, **options: Any) -> Graph:
    """One convolution whose two output channels are exchanged by half a turn."""
    from mobileq.graph.nodes import Input

    swap = Generator(2, False, np.array([1, 0]))
    fields = FieldBlocks("C2", np.zeros(2, int), (swap,))
    image = Input("image", (), (above.channels, 5, 5), above)
    conv = Conv("a", ("image",), weight, np.zeros(2), fields, **options)
    return Graph((image, conv), "a")


def test_output_symmetry_without_input_symmetry() -> None:
    """Fields that cannot have come from their input are refused."""
    graph = _swapping(np.ones((2, 1, 3, 3)), trivial_fields(1))
    wanted = "^Conv 'a': output fields of C2 on input fields of C1; wanted the same"
    with pytest.raises(SymmetryError, match=wanted):
        snap_orbits(graph)


def test_blocks_across_convolution_groups() -> None:
    """The group may not move a channel into another convolution group."""
    fields = trivial_fields(2, group="C2", motions=((2, False),))
    graph = _swapping(np.ones((2, 1, 3, 3)), fields, groups=2)
    wanted = r"^Conv 'a': the group moves a channel out .* \(2 groups\); wanted whole"
    with pytest.raises(SymmetryError, match=wanted):
        snap_orbits(graph)


def test_statistics_are_snapped_too() -> None:
    """Mean and deviation of an orbit become one value."""
    fields = trivial_fields(1, group="C2", motions=((2, False),))
    graph = _swapping(np.ones((2, 1, 3, 3)), fields)
    conv = graph["a"]
    assert isinstance(conv, Conv)
    statistics = Statistics(np.array([1.0, 1.0 + 1e-9]), np.array([2.0, 2.0 + 1e-9]))
    graph = graph.replaced({"a": replace(conv, statistics=statistics)})
    found = snap_orbits(graph)["a"]
    assert isinstance(found, Conv)
    assert found.statistics is not None
    assert found.statistics.mean[0] == found.statistics.mean[1]
    assert found.statistics.std[0] == found.statistics.std[1]


def test_dead_channels_are_no_division_by_zero() -> None:
    """A filter of zeros stays zero."""
    fields = trivial_fields(1, group="C2", motions=((2, False),))
    snapped = snap_orbits(_swapping(np.zeros((2, 1, 3, 3)), fields))["a"]
    assert isinstance(snapped, Conv)
    assert not snapped.weight.any()
