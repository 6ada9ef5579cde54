"""The slopes that `balance` follows are those of the noise that it sums up."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.passes.balance_costs import (
    ActivationCost,
    Cost,
    Factors,
    WeightCost,
)

CLASSES = 6
STEP = 1e-6


def _value(cost: Cost, x: Any) -> tuple[float, Any]:
    """Noise at log s = x, and its slope."""
    factors = Factors.of(x)
    slopes = Factors(*(np.zeros(CLASSES) for _ in fields(Factors)))
    value = cost(factors, slopes)
    return value, factors.chained(slopes)


def _cost(seed: int, kind: str) -> Cost:
    """A cost of random channels, some of which share a class."""
    rng = np.random.default_rng(seed)
    channels, rows = 8, 5
    of = rng.integers(0, CLASSES, channels)
    if kind == "activation":
        return ActivationCost(of, rng.random((2, channels)) ** 16, rng.random(channels))
    read = of if "alike" in kind else rng.integers(0, CLASSES, (rows, channels))
    per_channel = "per channel" in kind
    unit = rng.integers(0, 3, rows) if per_channel else np.zeros(rows, np.int64)
    return WeightCost(
        rng.integers(0, CLASSES, rows),
        read,
        rng.random((rows, channels)) ** 16,
        rng.random(rows),
        rng.random(read.shape),
        unit,
        per_channel,
    )


KINDS = ("activation", "per tensor", "per tensor, alike")
KINDS += ("per channel", "per channel, alike")


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000))
def test_slopes_are_differences(kind: str, seed: int) -> None:
    """By finite differences in every direction."""
    cost = _cost(seed, kind)
    x = np.random.default_rng(seed + 1).normal(0, 0.3, CLASSES)
    value, slope = _value(cost, x)
    for index, unit in enumerate(np.eye(CLASSES)):
        above, below = (_value(cost, x + s * STEP * unit)[0] for s in (1, -1))
        # Rounding of 1e-16 divided by the step, and a third derivative of some 16^3.
        wanted = (above - below) / (2 * STEP)
        assert slope[index] == pytest.approx(wanted, rel=1e-5, abs=1e-6 * value)


@pytest.mark.parametrize("kind", KINDS)
def test_dead_channels_have_finite_slopes(kind: str) -> None:
    """Far from 1 as well, where powers of 16 are as large as they get."""
    cost = _cost(0, kind)
    for far in (-11.0, 11.0):
        x = np.full(CLASSES, far)
        x[::2] = -far
        value, slope = _value(cost, x)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
