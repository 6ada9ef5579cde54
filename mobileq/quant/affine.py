"""Affine quantization: real = (q - zero_point) * scale (arXiv:1712.05877, eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import GraphError

QMIN, QMAX = -128, 127
"""Range of signed 8-bit integers."""

SMALLEST_SCALE = 2.0**-20
"""Finest step of an activation: kernels refuse scales that are too far apart."""


@dataclass(frozen=True)
class Affine:
    """Quantization of one activation tensor, in signed 8 bit.

    Attributes:
        scale: Real size of one step; exactly representable in float32.
        zero_point: Integer that stands for real 0, -128 to 127.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        """Check.

        Raises:
            GraphError: a scale that is not positive, finite and float32, or a zero
                point outside of 8 bit.
        """
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise GraphError(f"scale is {self.scale}; wanted a positive number")
        if float(np.float32(self.scale)) != self.scale:
            raise GraphError(f"scale is {self.scale!r}; wanted a float32 value")
        if not QMIN <= self.zero_point <= QMAX:
            raise GraphError(f"zero_point is {self.zero_point}; wanted -128 to 127")

    @classmethod
    def from_range(cls, low: float, high: float) -> Affine:
        """Smallest asymmetric quantization that holds [low, high] and real 0.

        Args:
            low: Smallest real value.
            high: Largest real value.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / (QMAX - QMIN), SMALLEST_SCALE)
        scale = float(np.float32(scale))
        zero_point = round(QMIN - low / scale)
        return cls(scale, int(np.clip(zero_point, QMIN, QMAX)))

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest real value that can be represented."""
        return (
            (QMIN - self.zero_point) * self.scale,
            (QMAX - self.zero_point) * self.scale,
        )

    def quantize(self, values: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
        """Round real values to the nearest step, halves to even, and saturate."""
        steps = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point
        return np.asarray(np.clip(steps, QMIN, QMAX), np.int8)

    def dequantize(self, values: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Real values of integers."""
        return (values.astype(np.float64) - self.zero_point) * self.scale
