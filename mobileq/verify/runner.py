"""What everything that executes a network has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PixelMap:
    """How pixels become real numbers: (pixel - zero) * scale.

    Attributes:
        scale: Real size of one grey level.
        zero: Grey level of real 0.
    """

    scale: float = 1 / 128
    zero: int = 128

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, C) uint8 to (B, C, H, W) float32."""
        return np.ascontiguousarray(self.real(pixels).transpose(0, 3, 1, 2))

    def real(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Uint8 to float32 of the same layout."""
        real = pixels.astype(np.float32, order="C")
        # In place: a fresh array for each step costs more than the arithmetic.
        real -= self.zero
        real *= np.float32(self.scale)
        return real


class Runner(Protocol):
    """One network in one representation on one runtime.

    All of them take raw pixels, (B, H, W, C) uint8 NHWC, and return tensors under the
    names of the graph's nodes in its layout, (B, C, H, W) or (B, F). A float runner
    returns floats; an integer runner returns int8 values of the QuantSpec's signed
    domain, whatever the file's own type is.
    """

    @property
    def name(self) -> str:
        """Runtime, kernels and threads, such as `tflite int8, xnnpack, 1 thread`."""

    @property
    def integer(self) -> bool:
        """Whether tensors are int8."""

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits, (B, F)."""

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Every tensor of the graph that still exists in this representation."""

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """A function that runs one inference on (1, H, W, C), input in place."""
