"""Cross-layer equalization by the noise that rounding will make, not by ranges.

DFQ (`equalize.py`) gives every channel the same share of a scale, whether it matters or
not: one nearly dead channel decides over all others, and the ranges of activations are
not looked at. Here the factors s are those that minimize what rounding costs. With all
channels of a tensor divided by s, and importances and shares from `importance.py`:

    activations   R^2 / (12 * 255^2)  sum_i importance_i s_i^2,
                  R = max_i high_i / s_i + max_i -low_i / s_i
    weights       D^2 / (12 * q^2) taps  sum_o share_o s_o^2  sum_i E[x_i^2] / s_i^2,
                  D = max_oi |W_oi| s_i / s_o     (q = 127 for 8 bit)

is the variance of uniform rounding noise in steps of R / 255 and D / q, carried to the
layer that reads it, as a share of that layer's variance. Their sum over all tensors and
layers is an estimate of the network's noise-to-signal ratio. It is minimized over log s
by L-BFGS-B. A maximum is taken as a norm of order 16, which has a gradient; the sums
then are products of matrices with vectors. Layers with a weight scale per output
channel have a D for each block of channels, in which s_o cancels.

Preserves the function, as every equalization does (DFQ, arXiv:1906.04721, section 4.1).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import coo_array

from mobileq.graph.graph import Graph
from mobileq.graph.moments import Moments, propagate
from mobileq.graph.nodes import Add, Conv, Linear
from mobileq.passes.balance_costs import (
    FLOOR,
    ORDER,
    ActivationCost,
    Cost,
    Factors,
    Real,
    WeightCost,
)
from mobileq.passes.importance import Importance, importance
from mobileq.passes.scaling import ScaleClasses, input_columns, scale_classes, scaled
from mobileq.quant.ranges import channel_ranges

LIMIT = 16 * np.log(2.0)
"""Bound on |log s|; exp(ORDER * LIMIT) is still finite."""

ITERATIONS = 60
"""Of L-BFGS; more change the noise by a few percent."""


def balance(
    graph: Graph, *, per_channel: bool = False, sigmas: float = 6.0, bits: int = 8
) -> Graph:
    """Rescale channels so that rounding makes the least noise.

    Args:
        graph: Without BatchNorm, orbits snapped, with statistics; a ReLU6 in it is not
            crossed (`relu6.py` says what to do about it).
        per_channel: Whether weights will have a scale per output channel.
        sigmas: Half width of an activation's range in standard deviations.
        bits: Of the weights.
    """
    classes = scale_classes(graph)
    free = np.flatnonzero(classes.free)
    moments = propagate(graph)
    weights = importance(graph, moments)
    steps = 2 ** (bits - 1) - 1
    costs = _activation_costs(graph, classes, moments, weights, sigmas)
    costs += _weight_costs(graph, classes, moments, weights, per_channel, steps)
    if not len(free) or not costs:
        return graph

    def noise(log_factors: Real) -> tuple[float, Real]:
        x = np.zeros(classes.count)
        x[free] = log_factors
        factors = Factors.of(x)
        slopes = Factors(*(np.zeros(classes.count) for _ in fields(Factors)))
        total = sum(cost(factors, slopes) for cost in costs)
        return float(np.log(total)), factors.chained(slopes)[free] / total

    start = np.zeros(len(free))
    bounds = [(-LIMIT, LIMIT)] * len(free)
    options = {"maxiter": ITERATIONS, "maxcor": 10}
    found = minimize(
        noise, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    factors = np.ones(classes.count)
    factors[free] = np.exp(found.x)
    return scaled(graph, classes, factors)


def _activation_costs(
    graph: Graph,
    classes: ScaleClasses,
    moments: Moments,
    weights: Importance,
    sigmas: float,
) -> list[Cost]:
    """Rounding of each tensor that has a scale of its own; the logits' is fixed."""
    costs: list[Cost] = []
    for node in graph.nodes:
        if not isinstance(node, Conv | Linear | Add) or node.name == graph.output:
            continue
        low, high = channel_ranges(graph, node, moments.before[node.name], sigmas)
        ends = np.maximum([high, -low], 0.0)
        largest = float(ends.max())
        if largest > 0:
            costs.append(
                ActivationCost(
                    classes.of[node.name],
                    (ends / largest + FLOOR) ** ORDER,
                    weights.of[node.name] * (largest / 255) ** 2 / 12,
                )
            )
    return costs


def _weight_costs(
    graph: Graph,
    classes: ScaleClasses,
    moments: Moments,
    weights: Importance,
    per_channel: bool,
    steps: int,
) -> list[Cost]:
    """Rounding of each layer's weights."""
    costs: list[Cost] = []
    for node in graph.nodes:
        if not isinstance(node, Conv | Linear):
            continue
        flat = np.abs(node.weight.reshape(*node.weight.shape[:2], -1))
        largest = float(flat.max())
        if largest == 0 or (per_channel and flat.shape[1] == 1):
            # A depthwise filter with a scale of its own: all factors cancel.
            continue
        powers = ((flat / largest) ** ORDER).sum(axis=2)
        share = weights.share[node.name] * flat.shape[2] * (largest / steps) ** 2 / 12
        source = moments.after[node.inputs[0]]
        made, square = classes.of[node.name], source.mean**2 + source.std**2
        # All channels of a block have one factor: their rows can be taken together.
        block = graph.fields(node.name).block
        first = np.unique(block, return_index=True)[1]
        if (read := classes.of[node.inputs[0]]).size == flat.shape[1]:
            made, share, powers = made[first], _sums(share, block), _sums(powers, block)
            columns = np.unique(read, return_inverse=True)[1]
            read = np.unique(read)
            square, powers = _sums(square, columns), _sums(powers.T, columns).T
            block = np.arange(len(first))
        else:
            read, square = input_columns(node, read), input_columns(node, square)
        costs.append(
            WeightCost(
                made,
                read,
                powers,
                share,
                square,
                block if per_channel else np.zeros_like(block),
                per_channel,
            )
        )
    return costs


def _sums(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[Any]:
    """Sums of the rows that have one label, (labels, ...)."""
    rows = np.arange(len(labels))
    chosen = coo_array((np.ones(len(labels)), (labels, rows)))
    # SciPy drops the axis of a single row.
    return np.reshape(chosen @ values, (chosen.shape[0], *values.shape[1:]))
