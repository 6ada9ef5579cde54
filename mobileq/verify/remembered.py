"""A runner that keeps its last outputs: a rung and the next one share them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.verify.runner import Runner


class Remembered:
    """Wraps a runner; the outputs for one pixel array are computed once.

    Args:
        runner: The one that computes.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._last: tuple[NDArray[np.uint8], NDArray[Any]] | None = None

    @property
    def name(self) -> str:
        """Name of the runner."""
        return self._runner.name

    @property
    def integer(self) -> bool:
        """Whether tensors are int8."""
        return self._runner.integer

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits, (B, F); remembered while the very same array is asked for."""
        if self._last is None or self._last[0] is not pixels:
            self._last = (pixels, self._runner.outputs(pixels))
        return self._last[1]

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Every tensor, computed anew."""
        return self._runner.tensors(pixels)

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """As the runner's."""
        return self._runner.timed(pixels)
