"""Masks in TFLite files: the same values, in a shape that is multiplied quickly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mobileq_tflite.layout import WIDE, spread_mask


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 99))
def test_a_spread_mask_multiplies_as_the_mask_does(
    channels: int, size: int, seed: int
) -> None:
    """Whatever its shape, every channel of every pixel meets the same number."""
    random = np.random.default_rng(seed)
    mask = random.integers(0, 128, (size, size)).astype(np.int8)
    values = random.integers(-128, 128, (1, size, size, channels))
    found = values * spread_mask(mask, channels)
    assert found.shape == values.shape
    assert np.array_equal(found, values * mask[None, :, :, None])


def test_a_mask_of_many_channels_stays_small() -> None:
    """Where pixels fill vector registers, a file holds each value once."""
    mask = np.ones((5, 5), np.int8)
    assert spread_mask(mask, 3).shape == (1, 5, 5, 3)
    assert spread_mask(mask, WIDE).shape == (1, 5, 5, 1)
