"""TFLite's fixed-point arithmetic: real factors as 31-bit integers and a shift.

Everything is vectorized over numpy arrays and exact to the bit. Sources, in
tensorflow/lite/kernels/internal: `quantization_util.cc` (QuantizeMultiplier) and
`common.h` (MultiplyByQuantizedMultiplier, the form that rounds twice); and gemmlowp's
`fixedpoint.h` (SaturatingRoundingDoublingHighMul, RoundingDivideByPOT). The scheme is
that of arXiv:1712.05877, section 2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.nodes import Activation, Cap, SoftMask
from mobileq.quant.affine import QMAX, QMIN, Affine

INT32_MAX = 2**31 - 1

SOFT_STEP = float(np.float32(1 / QMAX))
"""Real size of one step of a soft mask's weights."""


@dataclass(frozen=True)
class Multiplier:
    """Real factors mantissa / 2^31 * 2^exponent, one or many.

    Attributes:
        mantissa: int64, 0 or in [2^30, 2^31).
        exponent: int64.
    """

    mantissa: NDArray[np.int64]
    exponent: NDArray[np.int64]

    @classmethod
    def of(cls, factors: NDArray[np.float64] | float) -> Multiplier:
        """Nearest representation of positive float64 factors (QuantizeMultiplier)."""
        fraction, exponent = np.frexp(np.asarray(factors, np.float64))
        # TfLiteRound is std::round: halves away from zero.
        mantissa = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
        exponent = exponent.astype(np.int64)
        full = mantissa == 2**31
        mantissa = np.where(full, 2**30, mantissa)
        exponent = exponent + full
        return cls(np.where(exponent < -31, 0, mantissa), np.maximum(exponent, -31))

    def apply(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Multiply int32 values, rounding twice; the factors broadcast against them."""
        left = np.maximum(self.exponent, 0)
        shifted = wrapped(values << left)
        high = _doubling_high(shifted, self.mantissa)
        return _divide_by_power(high, np.maximum(-self.exponent, 0))


def round_away(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Nearest integers, halves away from zero, like C's `round`."""
    whole = np.trunc(values)
    # Exact, unlike floor(|x| + 0.5), which loses the last bit below a half.
    beyond = np.abs(values - whole) >= 0.5
    rounded: NDArray[np.int64] = (whole + beyond * np.sign(values)).astype(np.int64)
    return rounded


def wrapped(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values modulo 2^32, as 32-bit registers hold them."""
    return values.astype(np.int32).astype(np.int64)


def _doubling_high(
    values: NDArray[np.int64], mantissa: NDArray[np.int64]
) -> NDArray[np.int64]:
    """round(values * mantissa / 2^31), halves towards plus infinity.

    gemmlowp nudges by +2^30 or 1 - 2^30 and divides towards zero. For a negative
    product that is floor division after a nudge of 2^30, as for a positive one; it
    saturates only for -2^31 * -2^31, and mantissas are never negative.
    """
    return (values * mantissa + (1 << 30)) >> 31


def _divide_by_power(
    values: NDArray[np.int64], exponent: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Divide by 2^exponent, rounded to nearest, halves away from zero."""
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (values < 0)
    return (values >> exponent) + ((values & mask) > threshold)


def activation_range(activation: Activation, affine: Affine) -> tuple[int, int]:
    """Smallest and largest int8 value that a fused activation lets through.

    CalculateActivationRangeQuantized in tensorflow/lite/kernels/kernel_util.cc; it
    divides in float32 and rounds halves away from zero.
    """
    low, high = activation.bounds
    return (
        QMIN if math.isinf(low) else max(QMIN, _position(low, affine)),
        QMAX if math.isinf(high) else min(QMAX, _position(high, affine)),
    )


def cap_bounds(cap: Cap, affine: Affine) -> NDArray[np.int8]:
    """Largest int8 value that a Cap lets through, (C,); 127 where it has no effect.

    A bound is a real value like any other: rounded to nearest, halves to even.

    Args:
        cap: The node.
        affine: Of its tensor.
    """
    # A bound far beyond the range would overflow when it is divided by the scale.
    return affine.quantize(np.minimum(cap.high, affine.range[1]))


def soft_mask(node: SoftMask) -> NDArray[np.int8]:
    """(H, W) weights in steps of `SOFT_STEP`, 0 to 127; 1 and 0 are exact."""
    steps: NDArray[np.int8] = np.rint(node.mask * QMAX).astype(np.int8)
    return steps


def _position(value: float, affine: Affine) -> int:
    """Integer that stands for a real value of at least 0."""
    steps = np.float32(value) / np.float32(affine.scale)
    return affine.zero_point + int(round_away(np.asarray(steps, np.float64)))
