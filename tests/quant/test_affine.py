"""Affine maps from ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.errors import GraphError
from mobileq.quant.affine import QMAX, QMIN, Affine

# What a tensor of any sane network holds, and much more on either side.
MAGNITUDES = st.floats(-1e30, 1e30, allow_subnormal=True)


@given(ends=st.tuples(MAGNITUDES, MAGNITUDES))
def test_every_range_is_legal_and_covered(ends: tuple[float, float]) -> None:
    """Zero is exact, and both ends lie within half a step of the map's range."""
    low, high = sorted(ends)
    affine = Affine.from_range(low, high)
    assert QMIN <= affine.zero_point <= QMAX
    zero = affine.quantize(np.zeros(1))
    assert zero[0] == affine.zero_point
    assert affine.dequantize(zero)[0] == 0.0
    # Half a step from rounding the zero point, and float32's rounding of 255 scales.
    slack = affine.scale * (0.5 + 255 * 2**-23)
    assert affine.range[0] <= min(low, 0.0) + slack
    assert affine.range[1] >= max(high, 0.0) - slack


@given(low=st.floats(-100, 0), high=st.floats(0, 100), seed=st.integers(0, 1000))
def test_values_inside_come_back_within_half_a_step(
    low: float, high: float, seed: int
) -> None:
    """Quantizing and dequantizing moves a representable value by half a step."""
    affine = Affine.from_range(low, high)
    inside = np.random.default_rng(seed).uniform(*affine.range, 100)
    back = affine.dequantize(affine.quantize(inside))
    # Half a step, and float64's rounding of the division.
    assert np.abs(back - inside).max() <= affine.scale * (0.5 + 1e-9)


def test_every_integer_is_its_own_value() -> None:
    """All 256 integers survive the way to real values and back."""
    affine = Affine.from_range(-1.3, 4.2)
    integers = np.arange(QMIN, QMAX + 1, dtype=np.int8)
    again = affine.quantize(affine.dequantize(integers))
    np.testing.assert_array_equal(again, integers)


def test_values_outside_saturate() -> None:
    """Beyond the range the nearest end is taken."""
    affine = Affine.from_range(-1.0, 1.0)
    assert affine.quantize(np.array([-1e9, 1e9])).tolist() == [QMIN, QMAX]


@pytest.mark.parametrize(
    ("low", "high", "zero_point"),
    [(0.0, 0.0, -128), (3.0, 5.0, -128), (-5.0, -3.0, 127), (0.0, 1e-30, -128)],
)
def test_one_sided_and_degenerate_ranges(
    low: float, high: float, zero_point: int
) -> None:
    """Zero belongs to every range, and a range of nothing has a legal scale."""
    affine = Affine.from_range(low, high)
    assert affine.zero_point == zero_point
    assert affine.scale > 0


@pytest.mark.parametrize(
    ("scale", "zero_point", "message"),
    [
        (0.0, 0, "scale is 0.0; wanted a positive number"),
        (-1.0, 0, "scale is -1.0; wanted a positive number"),
        (float("nan"), 0, "scale is nan; wanted a positive number"),
        (float("inf"), 0, "scale is inf; wanted a positive number"),
        (0.1, 0, "scale is 0.1; wanted a float32 value"),
        (0.5, 128, "zero_point is 128; wanted -128 to 127"),
        (0.5, -129, "zero_point is -129; wanted -128 to 127"),
    ],
)
def test_illegal_maps(scale: float, zero_point: int, message: str) -> None:
    """Each message gives the value found and the one wanted."""
    with pytest.raises(GraphError, match=message):
        Affine(scale, zero_point)
