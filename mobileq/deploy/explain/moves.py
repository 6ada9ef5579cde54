"""What a pass did, read off the graphs before and after it.

    W' = W s_in / s_out             equalization: the factors s of each tensor
    b' = b + W c_in - c_out         absorption: what each channel gave away, c

Both are solved for the output from the input on, node after node, which is exact and
rests on nothing that the passes know.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Add, Cap, Conv, Input, Linear, Node, OrbitMax
from mobileq.passes.scaling import input_columns

PerChannel = NDArray[np.float64]

ROUNDING = 1e-9
"""What float64 sums may err by, relative to their terms."""


def counterpart(node: Node, graph: Graph, other: Graph) -> Node | None:
    """The node of another stage that makes the tensor which a node makes.

    A ReLU6 may be a layer of its own and a Cap in one stage, and fused in the other.

    Args:
        node: Of `graph`.
        graph: The node's.
        other: An earlier or later stage.
    """
    caps = [r.name for r in graph.consumers(node.name) if isinstance(r, Cap)]
    for name in (node.name, *caps):
        if name in other:
            found = other[name]
            while isinstance(found, Cap):
                found = other[found.inputs[0]]
            return found
    return None


def channel_factors(before: Graph, after: Graph) -> dict[str, PerChannel]:
    """Factors by which the channels of all tensors were divided.

    Args:
        before: Without BatchNorm.
        after: The same nodes with rescaled weights.

    Returns:
        (C,) by tensor name; NaN for a channel that is always zero, because any factor
        fits it.
    """
    return _followed(
        before,
        after,
        nothing=1.0,
        layer=_made,
        joined=lambda one, other: np.where(np.isnan(one), other, one),
    )


def _made(old: Conv | Linear, new: Conv | Linear, read: PerChannel) -> PerChannel:
    """(O,) factors of what a layer makes, from its largest weight of each channel."""
    columns = input_columns(old, read)
    shape = (*columns.shape, *[1] * (old.weight.ndim - 2))
    known = np.isfinite(columns).reshape(shape) & (new.weight != 0)
    usable = np.where(known, np.abs(old.weight), 0.0).reshape(len(columns), -1)
    at = usable.argmax(axis=1)
    rows = np.arange(len(at))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = old.weight.reshape(usable.shape) / new.weight.reshape(usable.shape)
        taps = usable.shape[1] // columns.shape[1]
        by_weight = ratio[rows, at] * columns[rows, at // taps]
        by_bias = old.bias / new.bias
    return np.asarray(np.where(usable[rows, at] > 0, by_weight, by_bias))


def absorbed_shifts(before: Graph, after: Graph) -> dict[str, PerChannel]:
    """What the channels of all tensors gave away to their readers.

    Args:
        before: Without BatchNorm.
        after: The same nodes with moved biases.

    Returns:
        (C,) by tensor name: value before less value after.
    """
    return _followed(before, after, nothing=0.0, layer=_given_away, joined=np.add)


def _given_away(
    old: Conv | Linear, new: Conv | Linear, received: PerChannel
) -> PerChannel:
    """(O,) what a layer's channels gave away."""
    taps = old.weight.reshape(*old.weight.shape[:2], -1).sum(axis=2)
    terms = taps * input_columns(old, received)
    shift = old.bias + terms.sum(axis=1) - new.bias
    size = np.abs(old.bias) + np.abs(terms).sum(axis=1)
    return np.where(np.abs(shift) > ROUNDING * size, shift, 0.0)


def _followed(
    before: Graph,
    after: Graph,
    *,
    nothing: float,
    layer: Callable[[Conv | Linear, Conv | Linear, PerChannel], PerChannel],
    joined: Callable[[PerChannel, PerChannel], PerChannel],
) -> dict[str, PerChannel]:
    """What a pass did to each tensor, from the input on.

    Args:
        before: A stage.
        after: The same nodes after the pass.
        nothing: What it does to the input, which no pass may change.
        layer: What it did to a layer's result, from what it did to the layer's input.
        joined: The same for a sum, from what it did to both terms.
    """
    found: dict[str, PerChannel] = {}
    for node in before.nodes:
        arriving = [found[name] for name in node.inputs]
        new = after[node.name]
        match node:
            case Input():
                did = np.full(node.shape[0], nothing)
            case Conv() | Linear():
                assert isinstance(new, Conv | Linear)
                did = layer(node, new, arriving[0])
            case Add():
                did = joined(*arriving)
            case OrbitMax():
                did = arriving[0][:: node.block]
            case _:
                did = arriving[0]
        found[node.name] = did
    return found
