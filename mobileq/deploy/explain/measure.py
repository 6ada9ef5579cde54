"""Measure what quantization did to every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.deploy.explain.advice import advice
from mobileq.deploy.explain.cost import Costs, layer_costs
from mobileq.deploy.explain.moves import (
    PerChannel,
    absorbed_shifts,
    channel_factors,
    counterpart,
)
from mobileq.deploy.explain.report import ChannelRanges, Explanation, LayerReport
from mobileq.deploy.files import Deployment
from mobileq.deploy.quantize import Quantized
from mobileq.errors import InputError
from mobileq.graph.execute import run
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Add, Conv, Linear, Node
from mobileq.quant.pixels import batches
from mobileq.quant.ranges import cap_of, is_average
from mobileq.quant.simulate import simulate
from mobileq.recipe import Recipe
from mobileq.verify.metrics import sqnr_db

MOST_IMAGES = 8
"""Noise is a mean over all values of a tensor; a few images are enough."""

Layer = Conv | Linear | Add
Tensors = Mapping[str, NDArray[np.floating[Any]]]


def explain(
    made: Deployment,
    recipe: Recipe,
    images: NDArray[np.uint8],
    *,
    network: str = "network",
    notes: tuple[str, ...] = (),
) -> Explanation:
    """Measure what quantization did to every layer.

    Args:
        made: With integers.
        recipe: How they were made.
        images: (N, H, W, C) uint8; at most eight are used, evenly spaced.
        network: What the network is called.
        notes: What else the reader should know, such as what the images are.

    Raises:
        InputError: there are no integers, or no images of the network's shape.
    """
    if made.quantized is None:
        raise InputError(
            "explanation: the network was not quantized; wanted an INT8 export (--int8)"
        )
    fused, quantized = made.stages[-2].graph, made.quantized
    chosen = images[:: max(1, -(-len(images) // MOST_IMAGES))]
    seen = _Seen.of(fused, quantized, chosen)
    layers = _reports(fused, quantized, seen)
    worst = min(layers, key=lambda layer: layer.cost_db)
    of_weights = None
    if worst.weights_after is not None:
        of_weights = seen.costs.of(worst.name, tensor=False)
    of_tensor = seen.costs.of(worst.name, weights=False)
    output = quantized.graph.output
    return Explanation(
        network=network,
        recipe=recipe.name,
        passes=recipe.passes,
        images=len(chosen),
        logits_db=sqnr_db(seen.integer[output], seen.after[output]),
        layers=layers,
        weights_alone_db=of_weights,
        tensor_alone_db=of_tensor,
        advice=advice(
            worst, recipe, weights_alone_db=of_weights, tensor_alone_db=of_tensor
        ),
        notes=(*notes, *quantized.notes),
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the images gave.

    Attributes:
        before: Every tensor of the graph as trained, (B, ...).
        after: Every tensor of the graph after the recipe's passes.
        integer: Real values of every tensor of the integer network.
        costs: To measure single layers with.
    """

    before: Tensors
    after: Tensors
    integer: Tensors
    costs: Costs

    @classmethod
    def of(cls, fused: Graph, quantized: Quantized, pixels: NDArray[np.uint8]) -> _Seen:
        """Run all three."""
        graph, spec = quantized.graph, quantized.spec
        normalized = np.concatenate(list(batches(graph, pixels)))
        after = run(graph, normalized)
        integer = {
            name: spec.activations[name].dequantize(values)
            for name, values in simulate(graph, spec, pixels).items()
        }
        logits = np.asarray(after[graph.output], np.float32)
        costs = Costs(graph, spec, normalized, logits)
        return cls(run(fused, normalized), after, integer, costs)


def _reports(
    fused: Graph, quantized: Quantized, seen: _Seen
) -> tuple[LayerReport, ...]:
    """A report of each layer, in the order of the graph."""
    equalized = _Pass.of(fused, quantized, "equalized", channel_factors)
    balanced = _Pass.of(fused, quantized, "balanced", channel_factors)
    shifts = _Pass.of(fused, quantized, "absorbed", absorbed_shifts)
    costs = layer_costs(seen.costs)
    reports = []
    for node in quantized.graph.nodes:
        if not isinstance(node, Conv | Linear | Add):
            continue
        own = equalized.at(node, quantized.graph, 1.0)
        own = own * balanced.at(node, quantized.graph, 1.0)
        before, after = _tensors(node, fused, quantized, seen)
        cap = cap_of(quantized.graph, node)
        name = node.name if cap is None else cap.name
        found = quantized.ranges[node.name]
        report = LayerReport(
            name=node.name,
            kind=_kind(node),
            shape=quantized.graph.shapes[node.name],
            weights_before=_weights(_trained(node, fused, quantized)),
            weights_after=_weights(node),
            tensor_before=before,
            tensor_after=after,
            factors=(float(own.min()), float(own.max())),
            absorbed=float(np.abs(shifts.at(node, quantized.graph, 0.0)).max()),
            bias_correction=_bias_correction(node, quantized),
            low=found.low,
            high=found.high,
            source=found.source,
            weight_sqnr_db=_weight_sqnr(node, quantized),
            tensor_sqnr_db=sqnr_db(seen.integer[name], seen.after[name]),
            cost_db=costs[node.name],
        )
        reports.append(report)
    return tuple(reports)


@dataclass(frozen=True, eq=False)
class _Pass:
    """What one pass did.

    Attributes:
        graph: The stage after it; None if the recipe had no such pass.
        did: (C,) by tensor name.
    """

    graph: Graph | None
    did: Mapping[str, PerChannel]

    @classmethod
    def of(
        cls,
        fused: Graph,
        quantized: Quantized,
        name: str,
        solve: Callable[[Graph, Graph], Mapping[str, PerChannel]],
    ) -> _Pass:
        """Compare the stages before and after a pass."""
        before = fused
        for stage in quantized.stages:
            if stage.name == name:
                return cls(stage.graph, solve(before, stage.graph))
            before = stage.graph
        return cls(None, {})

    def at(self, node: Node, graph: Graph, default: float) -> PerChannel:
        """What it did to the tensor of a node of `graph`; `default` is nothing."""
        found = None if self.graph is None else counterpart(node, graph, self.graph)
        did = np.full(1, default) if found is None else self.did[found.name]
        return np.where(np.isfinite(did), did, default)


def _kind(node: Layer) -> str:
    """What a layer is, in a word."""
    if not isinstance(node, Conv):
        return type(node).__name__.lower()
    if is_average(node):
        return "average"
    if node.depthwise:
        return "depthwise"
    return "pointwise" if node.weight.shape[2:] == (1, 1) else "conv"


def _trained(node: Layer, fused: Graph, quantized: Quantized) -> Node:
    """The layer as trained; the layer itself if a pass made it of something else."""
    found = counterpart(node, quantized.graph, fused)
    return found if type(found) is type(node) and found is not None else node


def _weights(node: Node) -> ChannelRanges | None:
    """Ranges of the weights of each output channel."""
    return ChannelRanges.of(node.weight) if isinstance(node, Conv | Linear) else None


def _tensors(
    node: Layer, fused: Graph, quantized: Quantized, seen: _Seen
) -> tuple[ChannelRanges, ChannelRanges]:
    """Ranges of the channels of a layer's tensor, as trained and after the passes."""
    cap = cap_of(quantized.graph, node)
    name = node.name if cap is None else cap.name
    before, after = seen.before[name], seen.after[name]
    return (
        ChannelRanges.of(np.moveaxis(before, 1, 0)),
        ChannelRanges.of(np.moveaxis(after, 1, 0)),
    )


def _bias_correction(node: Layer, quantized: Quantized) -> float:
    """Largest change of a bias, in steps of the layer's tensor."""
    corrected = quantized.corrected[node.name]
    if not (isinstance(node, Conv | Linear) and isinstance(corrected, Conv | Linear)):
        return 0.0
    step = quantized.spec.activations[node.name].scale
    return float(np.abs(corrected.bias - node.bias).max() / step)


def _weight_sqnr(node: Layer, quantized: Quantized) -> float | None:
    """SQNR of a layer's integer weights."""
    if not isinstance(node, Conv | Linear):
        return None
    return sqnr_db(quantized.spec.layers[node.name].dequantized, node.weight)
