"""A graph, by the reference float executor, as a Runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.graph import execute
from mobileq.graph.graph import Graph
from mobileq.verify.runner import PixelMap


@dataclass(frozen=True, eq=False)
class GraphRunner:
    """Runs a graph in float32.

    Attributes:
        graph: At any stage.
        name: Of the stage.
    """

    graph: Graph
    name: str
    integer: bool = False

    def _normalized(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the graph's input node wants."""
        image = self.graph.input
        return PixelMap(image.pixel_scale, image.pixel_zero).normalize(pixels)

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits, (B, F)."""
        return execute.outputs(self.graph, self._normalized(pixels))

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Every tensor of the graph."""
        return execute.run(self.graph, self._normalized(pixels))

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """One pass of the executor; it is a reference, not a fast one."""
        images = self._normalized(pixels)

        def once() -> None:
            execute.outputs(self.graph, images)

        return once
