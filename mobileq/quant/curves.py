"""Smooth activations in integers: the table of 256 values that TFLite's kernels make.

    sigmoid, elu   computed in float32 for each of 256 integers (LUTPopulate in
                   internal/common.h, with the functions of activations.cc)
    leaky relu     two factors in fixed point, for either sign
                   (reference/leaky_relu.h, with the factors of activations.cc)

A table is applied to each value by itself; it commutes with everything that moves
values. The writers take the same table or the operator that has it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.curves import Curve, CurveKind
from mobileq.quant.affine import QMAX, QMIN, Affine
from mobileq.quant.fixed_point import Multiplier, round_away

SIGMOID_OUTPUT = Affine(1 / 256, QMIN)
"""The only quantization that TFLite lets the result of a sigmoid have."""

_LARGEST_EXPONENT = 80.0
"""exp of it fits float32; a sigmoid is 0 to the last bit of its integer long before."""


def curve_table(node: Curve, source: Affine, result: Affine) -> NDArray[np.int8]:
    """Result of a curve for the integers -128 to 127.

    Args:
        node: The curve.
        source: Quantization of its input.
        result: Quantization of its output.

    Returns:
        (256,) int8.
    """
    steps = np.arange(QMIN, QMAX + 1, dtype=np.int64) - source.zero_point
    if node.kind is CurveKind.LEAKY_RELU:
        scaled = _leaky(node, steps, source, result)
    else:
        real = np.float32(source.scale) * steps.astype(np.float32)
        made = np.array([_float32(node.kind, x) for x in real], np.float32)
        inverse = np.float32(1) / np.float32(result.scale)
        scaled = round_away((made * inverse).astype(np.float64))
    return np.clip(scaled + result.zero_point, QMIN, QMAX).astype(np.int8)


def _float32(kind: CurveKind, value: np.float32) -> np.float32:
    """One value as C computes it; numpy's own exp of float32 is less exact."""
    if kind is CurveKind.ELU:
        power = np.float32(math.exp(min(float(value), 0.0)))
        return power - np.float32(1) if value < 0 else value
    power = np.float32(math.exp(min(-float(value), _LARGEST_EXPONENT)))
    return np.float32(1) / (np.float32(1) + power)


def _leaky(
    node: Curve, steps: NDArray[np.int64], source: Affine, result: Affine
) -> NDArray[np.int64]:
    """Both signs scaled by their own factor."""
    above, below = np.float32(source.scale), np.float32(result.scale)
    # The products are made in float32, and only then taken as double.
    falling = Multiplier.of(float(above * np.float32(node.slope) / below))
    rising = Multiplier.of(float(above / below))
    return np.where(steps >= 0, rising.apply(steps), falling.apply(steps))
