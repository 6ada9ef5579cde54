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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import coo_array
from torch import Tensor

from mobileq.graph.graph import Graph
from mobileq.graph.moments import Moments, propagate
from mobileq.graph.nodes import Add, Conv, Linear
from mobileq.passes.importance import Importance, importance
from mobileq.passes.scaling import ScaleClasses, input_columns, scale_classes, scaled
from mobileq.quant.ranges import channel_ranges

ORDER = 16.0
"""Of the norm that stands for a maximum."""

LIMIT = 16 * np.log(2.0)
"""Bound on |log s|; exp(ORDER * LIMIT) is still finite."""

ITERATIONS = 60
"""Of L-BFGS; more change the noise by a few percent."""

FLOOR = 1e-12
"""Range of a dead channel, as a part of its tensor's: a root has no gradient at 0."""

TINY = FLOOR**ORDER
"""The same for a sum of powers."""


# Whoever calls may have switched gradients off; the search needs them.
@torch.inference_mode(False)
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
    index = torch.tensor(free)

    def noise(log_factors: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        own = torch.tensor(log_factors, requires_grad=True)
        x = torch.zeros(classes.count, dtype=own.dtype).index_put((index,), own)
        factors = _Factors.of(x)
        total = torch.stack([cost(factors) for cost in costs]).sum().log()
        total.backward()  # type: ignore[no-untyped-call]
        assert own.grad is not None
        return float(total.detach()), own.grad.numpy()

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
                _Activation(
                    _index(classes.of[node.name]),
                    _real((ends / largest + FLOOR) ** ORDER),
                    _real(weights.of[node.name] * (largest / 255) ** 2 / 12),
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
            _Weights(
                _index(made),
                _index(read),
                _real(powers),
                _real(share),
                _real(square),
                _index(block if per_channel else np.zeros_like(block)),
                per_channel,
            )
        )
    return costs


@dataclass(frozen=True, eq=False)
class _Factors:
    """Powers of all factors s, (classes,)."""

    squared: Tensor
    inverse_squared: Tensor
    powered: Tensor
    inverse_powered: Tensor

    @classmethod
    def of(cls, x: Tensor) -> _Factors:
        """Powers of exp(x)."""
        return cls(*(torch.exp(n * x) for n in (2, -2, ORDER, -ORDER)))


Cost = Callable[[_Factors], Tensor]


@dataclass(frozen=True, eq=False)
class _Activation:
    """Rounding noise of one tensor.

    Attributes:
        of: (C,) class of each channel.
        ends: (2, C) upper and lower end of each channel's range, to the ORDER.
        weight: (C,) importance, with all constants.
    """

    of: Tensor
    ends: Tensor
    weight: Tensor

    def __call__(self, factors: _Factors) -> Tensor:
        """Noise under some factors."""
        width = (self.ends @ factors.inverse_powered[self.of]).pow(1 / ORDER).sum()
        return width.square() * (self.weight @ factors.squared[self.of])


@dataclass(frozen=True, eq=False)
class _Weights:
    """Rounding noise of one layer's weights.

    Attributes:
        made: (O,) class of each output channel (O, I: those taken together are one).
        read: (O, I / groups) class of each input channel; (I,) if all rows read alike.
        powers: (O, I / groups) sum over taps of |W|^ORDER.
        share: (O,) of each output channel, with all constants.
        square: Mean square of each input channel, in the shape of `read`.
        unit: (O,) which scale each output channel has.
        per_channel: Whether there is more than one.
    """

    made: Tensor
    read: Tensor
    powers: Tensor
    share: Tensor
    square: Tensor
    unit: Tensor
    per_channel: bool

    def __call__(self, factors: _Factors) -> Tensor:
        """Noise under some factors."""
        powered = factors.powered[self.read]
        inverse_squared = factors.inverse_squared[self.read]
        if self.read.ndim == 1:
            rows = self.powers @ powered
            signal = (self.square @ inverse_squared).expand(len(rows))
        else:
            rows = (self.powers * powered).sum(dim=1)
            signal = (self.square * inverse_squared).sum(dim=1)
        if self.per_channel:
            largest = torch.zeros_like(rows).index_add(0, self.unit, rows)
            share = self.share * (largest + TINY).pow(2 / ORDER)[self.unit]
        else:
            largest = rows @ factors.inverse_powered[self.made]
            share = (self.share * factors.squared[self.made]) * largest.pow(2 / ORDER)
        noise: Tensor = share @ signal
        return noise


def _sums(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[Any]:
    """Sums of the rows that have one label, (labels, ...)."""
    rows = np.arange(len(labels))
    chosen = coo_array((np.ones(len(labels)), (labels, rows)))
    # SciPy drops the axis of a single row.
    return np.reshape(chosen @ values, (chosen.shape[0], *values.shape[1:]))


def _real(values: NDArray[np.float64]) -> Tensor:
    """Constant."""
    return torch.tensor(values, dtype=torch.float64)


def _index(values: NDArray[np.int64]) -> Tensor:
    """Constant."""
    return torch.tensor(values, dtype=torch.int64)
