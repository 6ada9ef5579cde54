"""Cross-layer equalization: give all channels of a tensor the same share of a scale.

    W1' = S^-1 W1,   b1' = S^-1 b1,   W2' = W2 S
    s_i = sqrt(r1_i r2_i) / r2_i = sqrt(r1_i / r2_i)

with r1_i the range of the weights that make channel i and r2_i the range of those that
read it: DFQ (arXiv:1906.04721), section 4.1, equations 7 to 11. Preserves the function,
because everything in between satisfies f(s x) = s f(x).

The paper has pairs of layers in a chain. Here a class of channels (`scaling.py`) may
have any number of makers and readers, for instance at a residual join. The paper's
factor is the s that minimizes the spread of log ranges over the layers concerned,

    sum over makers (log p_i - log s_i)^2 + sum over readers (log p_i + log s_i)^2,

where p_i is a layer's range of channel i relative to its largest (the precision of
equation 9). For one maker and one reader this is equation 11 up to a factor common to
the whole tensor, which no quantizer sees; for more it is

    log s_i = (sum over makers log p_i - sum over readers log p_i) / (makers + readers).

The same sum takes the range of the *activation* as another maker: it is divided by s_i
too and, having one scale for all channels, gains from it. And a layer whose output
channels have scales of their own (per-channel weights) is no constraint as a maker, nor
as a depthwise reader. What is left then is the trade between activation and reader
that SmoothQuant makes from data (arXiv:2211.10438, equation 4 with alpha = 1/2).

A range of zero (a dead channel) constrains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.graph import Graph
from mobileq.graph.moments import has_statistics, propagate
from mobileq.graph.nodes import Add, Conv, Linear
from mobileq.passes.scaling import (
    Labels,
    ScaleClasses,
    input_columns,
    scale_classes,
    scaled,
)
from mobileq.quant.ranges import channel_ranges

LIMIT = 16 * np.log(2.0)
"""Bound on |log s|: ranges further apart than 2^32 belong to channels that are dead in
all but name, and would only make another tensor's numbers extreme."""

SWEEPS = 50
"""Most rounds over all tensors."""

CONVERGED = 1e-4
"""Largest change of a log factor in the last round."""


def equalize(
    graph: Graph,
    *,
    per_channel: bool = False,
    activation_weight: float = 0.0,
    sigmas: float = 6.0,
) -> Graph:
    """Rescale channels so that their ranges fit one another.

    Args:
        graph: Without BatchNorm, orbits snapped; a ReLU6 in it is not crossed
            (`relu6.py` says what to do about it).
        per_channel: Whether weights will have a scale per output channel.
        activation_weight: How much the range of an activation counts, relative to that
            of a layer's weights; 0 is the DFQ paper. Activations count only in a graph
            with statistics.
        sigmas: Half width of an activation's range in standard deviations.
    """
    classes = scale_classes(graph)
    groups = _groups(graph, classes, per_channel)
    if activation_weight and has_statistics(graph):
        _add_activations(graph, classes, groups, activation_weight, sigmas)
    log_factors = np.zeros(classes.count)
    for _ in range(SWEEPS):
        before = log_factors.copy()
        for group in groups:
            moved = log_factors[group.classes] + group.move(log_factors)
            log_factors[group.classes] = np.clip(moved, -LIMIT, LIMIT)
        if np.abs(log_factors - before).max(initial=0.0) < CONVERGED:
            break
    return scaled(graph, classes, np.exp(log_factors))


@dataclass(frozen=True, eq=False)
class _Ranges:
    """Log ranges of one layer's weights, before any factor.

    Attributes:
        log: (O, I / groups) log of the largest magnitude over the taps; -inf for none.
        made: (O,) class of each output channel.
        read: (O, I / groups) class of each input channel.
    """

    log: NDArray[np.float64]
    made: Labels
    read: Labels

    def by_class(self, x: NDArray[np.float64], *, maker: bool) -> NDArray[np.float64]:
        """(classes,) log range under factors exp(x) of what is made, or read."""
        now = self.log + x[self.read]
        now -= x[self.made][:, None]
        found = np.full(len(x), -np.inf)
        if maker:
            np.maximum.at(found, self.made, now.max(axis=1))
        elif (self.read == self.read[0]).all():
            np.maximum.at(found, self.read[0], now.max(axis=0))
        else:
            np.maximum.at(found, self.read, now)
        return found


@dataclass(eq=False)
class _Group:
    """The free classes of one tensor, or of tensors that are joined by sums.

    Attributes:
        classes: (K,) numbers of the classes.
        makers: Layers whose output channels count.
        readers: Layers whose input channels count.
        activations: (weight, (K,) log range before any factor) of each tensor.
    """

    classes: Labels
    makers: list[_Ranges]
    readers: list[_Ranges]
    activations: list[tuple[float, NDArray[np.float64]]]

    def move(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K,) change of the log factors that is best while all others stay."""
        own = x[self.classes]
        terms = [
            *((1.0, m.by_class(x, maker=True)[self.classes]) for m in self.makers),
            *((-1.0, r.by_class(x, maker=False)[self.classes]) for r in self.readers),
            *((weight, log - own) for weight, log in self.activations),
        ]
        total, count = np.zeros(len(own)), np.zeros(len(own))
        for weight, log in terms:
            known = np.isfinite(log)
            if known.any():
                total[known] += weight * (log[known] - log[known].max())
                count[known] += abs(weight)
        found = np.asarray(total / np.maximum(count, 1e-300))
        # Readers whose largest channels differ would move all of them on and on.
        if (count > 0).any():
            found[count > 0] -= found[count > 0].mean()
        return found


def _groups(graph: Graph, classes: ScaleClasses, per_channel: bool) -> list[_Group]:
    """One group per tensor with free classes of its own, in the order of the graph."""
    groups: dict[int, _Group] = {}
    member = np.full(classes.count, -1)
    for node in graph.nodes:
        free = np.unique(classes.of[node.name])
        free = free[classes.free[free] & (member[free] < 0)]
        if len(free):
            groups[len(groups)] = _Group(free, [], [], [])
            member[free] = len(groups) - 1
    for node in graph.nodes:
        if not isinstance(node, Conv | Linear):
            continue
        flat = np.abs(node.weight.reshape(*node.weight.shape[:2], -1)).max(axis=2)
        with np.errstate(divide="ignore"):
            log = np.log(flat)
        source = classes.of[node.inputs[0]]
        ranges = _Ranges(log, classes.of[node.name], input_columns(node, source))
        depthwise = node.weight.shape[1] == 1 < len(source)
        for number in np.unique(member[ranges.made]):
            if number >= 0 and not per_channel:
                groups[number].makers.append(ranges)
        for number in np.unique(member[source]):
            if number >= 0 and not (per_channel and depthwise):
                groups[number].readers.append(ranges)
    return list(groups.values())


def _add_activations(
    graph: Graph,
    classes: ScaleClasses,
    groups: list[_Group],
    weight: float,
    sigmas: float,
) -> None:
    """Let the ranges of all tensors that have a scale of their own count."""
    before = propagate(graph).before
    for node in graph.nodes:
        if not isinstance(node, Conv | Linear | Add):
            continue
        low, high = channel_ranges(graph, node, before[node.name], sigmas)
        largest = np.full(classes.count, 0.0)
        np.maximum.at(largest, classes.of[node.name], np.maximum(-low, high))
        with np.errstate(divide="ignore"):
            log = np.log(largest)
        for group in groups:
            own = log[group.classes]
            if np.isfinite(own).any():
                group.activations.append((weight, own))
