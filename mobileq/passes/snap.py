"""Give all weights of an orbit one value, bit for bit.

An equivariant filter satisfies g W = W for every element g of the exact subgroup (the
action is that of `graph/symmetry.py`). Filters expanded from a steerable basis do so
only up to rounding (about 1e-7), which flips an INT8 weight now and then. Here every
orbit of entries under the subgroup is replaced by its mean.

Source: averaging over the group, as in Cohen & Welling 2016 (arXiv:1602.07576), section
4. Preserves the function up to that rounding; a weight that would move by more belongs
to a network that is not what it claims to be, and that is an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mobileq.errors import SymmetryError
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv, Linear, Node
from mobileq.graph.statistics import Statistics
from mobileq.graph.symmetry import filter_sources

TOLERANCE = 1e-5
"""Largest move relative to the largest weight of the output channel. Expansion in
float32 errs by some 1e-7 per filter, folding multiplies both by the same factor."""


def snap_orbits(graph: Graph, *, tolerance: float = TOLERANCE) -> Graph:
    """Snap weights, biases and statistics of every convolution.

    Raises:
        SymmetryError: a value would move by more than `tolerance`.
    """
    changes: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node, Conv) and node.fields.generators:
            changes[node.name] = _snapped(node, graph.fields(node.inputs[0]), tolerance)
    return graph.replaced(changes)


def _snapped(node: Conv, above: FieldBlocks, tolerance: float) -> Conv:
    """One convolution with its orbits tied."""
    maps = filter_sources(node, above)
    weight = orbit_means(node.weight, maps)
    channel_maps = [generator.source for generator in node.fields.generators]
    bias = orbit_means(node.bias, channel_maps)
    largest = np.abs(node.weight).max(axis=(1, 2, 3))
    moved = np.abs(weight - node.weight).max(axis=(1, 2, 3))
    _check_moves(node, "weight", moved, largest, tolerance)
    size = np.maximum(np.abs(node.bias).max(), largest)
    _check_moves(node, "bias", np.abs(bias - node.bias), size, tolerance)
    statistics = node.statistics
    if statistics is not None:
        statistics = Statistics(
            orbit_means(statistics.mean, channel_maps),
            orbit_means(statistics.std, channel_maps),
        )
    return replace(node, weight=weight, bias=bias, statistics=statistics)


def with_bias(node: Conv | Linear, bias: NDArray[np.float64]) -> Conv | Linear:
    """The layer with another bias, tied over the blocks of its fields.

    Equal sums that are taken in another order differ in their last bits. Errors of
    rounded weights differ more: the filters of a C_12 block are interpolated turns of
    each other, of which the exact subgroup ties only every third.

    Args:
        node: Any layer.
        bias: (O,).
    """
    if isinstance(node, Conv) and node.fields.generators:
        bias = label_means(bias, node.fields.block)
    return replace(node, bias=bias)


def orbit_means(
    values: NDArray[np.float64], maps: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Replace each value by the mean of its orbit under index maps.

    Args:
        values: Any shape, taken as flat.
        maps: Permutations of the flat indices.
    """
    size = values.size
    rows = np.tile(np.arange(size), len(maps))
    columns = np.concatenate(maps)
    edges = coo_array((np.ones(len(rows), np.int8), (rows, columns)), (size, size))
    _, label = connected_components(edges, directed=False)
    return label_means(values.ravel(), label).reshape(values.shape)


def label_means(
    values: NDArray[np.float64], label: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Replace each of (n,) values by the mean of those with its label, from 0 on.

    The mean of equal values is that value, to the last bit.
    """
    count = int(label.max(initial=-1)) + 1
    member = np.empty(count)
    member[label] = values
    moves = np.bincount(label, values - member[label], count)
    means = member + moves / np.bincount(label, minlength=count)
    return np.asarray(means[label])


def _check_moves(
    node: Conv,
    what: str,
    moved: NDArray[np.float64],
    size: NDArray[np.float64],
    tolerance: float,
) -> None:
    """Check that nothing moved by more than rounding noise.

    Raises:
        SymmetryError: naming the worst channel.
    """
    relative = moved / np.maximum(size, np.finfo(np.float64).tiny)
    worst = int(relative.argmax())
    if relative[worst] > tolerance:
        raise SymmetryError(
            f"Conv {node.name!r}, channel {worst}: {what} breaks the symmetry of "
            f"{node.fields.group} by {relative[worst]:.2e} of its size; wanted at most "
            f"{tolerance:.0e} (are these weights of an equivariant network?)"
        )
