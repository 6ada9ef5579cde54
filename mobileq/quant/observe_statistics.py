"""Pre-activation statistics from images, for networks without BatchNorm.

Per channel over images and grid, then tied over field blocks:

    mean_B = E_B[mean_c],    std_B^2 = E_B[std_c^2] + E_B[(mean_c - mean_B)^2]

with E_B the mean over the channels of a block, which is what BatchNorm with statistics
shared by a block measures (mean and second moment of the block).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.execute import steps
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv, Linear, Node
from mobileq.graph.statistics import Statistics
from mobileq.quant.pixels import batches, not_finite


def observed_statistics(
    graph: Graph, pixels: NDArray[np.uint8], *, only_missing: bool = True
) -> Graph:
    """The same graph, its layers with the statistics that they have on images.

    Args:
        graph: Any stage.
        pixels: (N, H, W, C) uint8.
        only_missing: Keep statistics that are known, such as those from BatchNorm.

    Returns:
        The graph with `statistics` in every Conv and Linear; nothing else changes.

    Raises:
        DataError: images of another type or shape than the input, or none, or some
            with which a layer's result becomes NaN or infinite.
    """
    layers = {
        node.name: node
        for node in graph.nodes
        if isinstance(node, Conv | Linear)
        and not (only_missing and node.statistics is not None)
    }
    moments = {name: _Moments.empty(len(node.weight)) for name, node in layers.items()}
    for images in batches(graph, pixels):
        for step in steps(graph, images):
            if step.node.name in moments:
                moments[step.node.name].add(step.node, step.before)
    return graph.replaced(
        {
            name: replace(node, statistics=moments[name].tied(graph.fields(name)))
            for name, node in layers.items()
        }
    )


@dataclass(eq=False)
class _Moments:
    """Mean and variance of each channel of what was added so far, (C,) float64."""

    count: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def empty(cls, channels: int) -> _Moments:
        """Of nothing."""
        return cls(0, np.zeros(channels), np.zeros(channels))

    def add(self, node: Node, values: NDArray[np.floating[Any]]) -> None:
        """Merge a batch, (B, C, ...), without a difference of large numbers.

        Raises:
            DataError: a value is not finite.
        """
        flat = values.astype(np.float64).swapaxes(0, 1).reshape(values.shape[1], -1)
        if not np.isfinite(flat).all():
            raise not_finite(node)
        variance, mean = flat.var(axis=1), flat.mean(axis=1)
        total = self.count + flat.shape[1]
        part, away = flat.shape[1] / total, mean - self.mean
        self.variance += part * (variance - self.variance + (1 - part) * away**2)
        self.mean += part * away
        self.count = total

    def tied(self, fields: FieldBlocks) -> Statistics:
        """Statistics, the same for all channels of a block."""
        mean = fields.tied_mean(self.mean)
        variance = fields.tied_mean(self.variance + (self.mean - mean) ** 2)
        return Statistics(mean, np.sqrt(variance))
