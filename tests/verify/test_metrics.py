"""Measures of difference have the properties that the ladder relies on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.verify.ladder import Measure
from mobileq.verify.metrics import largest_step, relative_error, sqnr_db


@given(st.integers(0, 100), st.floats(1e-6, 1e6))
def test_relative_error_does_not_depend_on_units(seed: int, unit: float) -> None:
    """Scaling both tensors scales nothing."""
    rng = np.random.default_rng(seed)
    wanted, noise = rng.normal(size=(2, 50))
    plain = relative_error(wanted + 1e-3 * noise, wanted)
    scaled = relative_error(unit * (wanted + 1e-3 * noise), unit * wanted)
    # Only float64 rounding differs, amplified by the 1e-3 between signal and noise.
    assert scaled == pytest.approx(plain, rel=1e-9)


def test_sqnr_of_a_tenth_of_noise_is_twenty_decibels() -> None:
    """By definition: 10 log10 of the ratio of powers."""
    wanted = np.ones(10)
    # Exact up to float64 rounding of 1.1 - 1.
    assert sqnr_db(wanted * 1.1, wanted) == pytest.approx(20.0, abs=1e-9)


def test_largest_step_does_not_wrap_around() -> None:
    """int8 differences are taken in wider integers."""
    low, high = np.array([-128], np.int8), np.array([127], np.int8)
    assert largest_step(high, low) == 255


def test_nan_never_holds() -> None:
    """A tensor of NaN breaks every rung."""
    assert not any(measure.holds(float("nan"), 1.0) for measure in Measure)
