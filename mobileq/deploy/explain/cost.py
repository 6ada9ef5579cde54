"""What each layer costs: the logits' SQNR if it alone is quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.execute import activate, steps
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Add, Conv, Linear, Node
from mobileq.quant.spec import QuantSpec
from mobileq.verify.metrics import sqnr_db


@dataclass(frozen=True, eq=False)
class Costs:
    """Measures SQNRs of the logits of a partly quantized network.

    Attributes:
        graph: Deployable.
        spec: Its integers.
        images: (B, C, H, W) float32, normalized.
        logits: (B, F) of the float graph.
    """

    graph: Graph
    spec: QuantSpec
    images: NDArray[np.float32]
    logits: NDArray[np.float32]

    def of(self, name: str, *, weights: bool = True, tensor: bool = True) -> float:
        """SQNR of the logits in dB, with one layer quantized.

        Args:
            name: Of a Conv, Linear or Add.
            weights: Whether its weights and bias have the values of the integers.
            tensor: Whether its tensor is rounded and saturated.
        """
        node = self.graph[name]
        changes: dict[str, Node] = {}
        if weights and isinstance(node, Conv | Linear):
            changes[name] = with_integers(node, self.spec)
        rounded = self.spec.activations[name]

        def finish(node: Node, before: NDArray[Any]) -> NDArray[Any]:
            after = activate(node, before)
            if not tensor or node.name != name:
                return after
            return rounded.dequantize(rounded.quantize(after)).astype(after.dtype)

        graph = self.graph.replaced(changes)
        for step in steps(graph, self.images, finish=finish):
            if step.node.name == graph.output:
                return sqnr_db(step.after, self.logits)
        raise AssertionError("a graph has its output")


def with_integers(node: Conv | Linear, spec: QuantSpec) -> Conv | Linear:
    """A layer with the real values of its integer weights and bias."""
    layer = spec.layers[node.name]
    step = spec.activations[node.inputs[0]].scale * layer.weight_scale.astype(float)
    return replace(node, weight=layer.dequantized, bias=layer.bias * step)


def layer_costs(costs: Costs) -> Mapping[str, float]:
    """Cost of every Conv, Linear and Add, by name."""
    return {
        node.name: costs.of(node.name)
        for node in costs.graph.nodes
        if isinstance(node, Conv | Linear | Add)
    }
