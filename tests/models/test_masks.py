"""The circular mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mobileq.models.masks import circular_mask


@given(size=st.integers(1, 200))
def test_mask_has_the_eight_symmetries_of_the_square(size: int) -> None:
    """Every turned and mirrored copy equals the mask bit for bit."""
    mask = circular_mask(size)
    for copy in (mask, mask[:, ::-1]):
        for turns in range(4):
            np.testing.assert_array_equal(np.rot90(copy, turns), mask)


@given(size=st.integers(3, 200))
def test_mask_is_the_disc_that_touches_the_border(size: int) -> None:
    """The middle of each border is inside, the corners are not, rows are runs."""
    mask = circular_mask(size)
    assert mask[0, size // 2] == mask[size // 2, -1] == 1
    assert mask[0, 0] == 0 or size < 4
    assert (np.abs(np.diff(mask.astype(int), axis=1)).sum(1) <= 2).all()
    # A disc covers pi / 4 of its square, up to the pixels that its edge crosses.
    assert abs(mask.mean() - np.pi / 4) <= 4 / size


def test_mask_of_five_pixels() -> None:
    """The smallest disc with cut corners, by hand."""
    assert circular_mask(5).tolist() == [
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
    ]
