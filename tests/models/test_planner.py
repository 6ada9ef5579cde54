"""The odd-grid planner."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.errors import InputError
from mobileq.models.planner import plan_layer


@pytest.mark.parametrize("size", range(9, 130, 2))
def test_odd_grids_stay_odd_and_symmetric(size: int) -> None:
    """Stride 2 keeps every odd grid odd, and its samples map onto themselves."""
    while size > 3:
        grid = plan_layer(size, kernel=3, stride=2, layer="layer")
        first = 1 - grid.padding
        last = first + 2 * (grid.size - 1)
        assert grid.size % 2 == 1
        assert first + last == size - 1, "centres lie symmetrically"
        assert first >= 0
        assert last < size
        size = grid.size


@pytest.mark.parametrize("size", range(10, 130, 2))
def test_even_grids_are_refused(size: int) -> None:
    """No padding samples an even grid symmetrically, and the message says so."""
    wanted = rf"^stem: no padding samples a grid of {size} points .* wanted an odd"
    with pytest.raises(InputError, match=wanted):
        plan_layer(size, kernel=3, stride=2, layer="stem")


def test_pcam_patches() -> None:
    """95 pixels go to 47, 23 and 11 without padding."""
    sizes = [95]
    for _ in range(3):
        grid = plan_layer(sizes[-1], kernel=3, stride=2, layer="layer")
        assert grid.padding == 0
        sizes.append(grid.size)
    assert sizes == [95, 47, 23, 11]


@given(size=st.integers(1, 200), kernel=st.sampled_from([1, 3, 5, 7]))
def test_stride_one_keeps_the_grid(size: int, kernel: int) -> None:
    """Without a stride the padding makes up for the kernel."""
    grid = plan_layer(size, kernel=kernel, stride=1, layer="layer")
    assert (grid.size, size + 2 * grid.padding - kernel + 1) == (size, size)


def test_even_kernels_are_refused() -> None:
    """An even kernel has no centre."""
    with pytest.raises(InputError, match="head: kernel is 2; wanted an odd one"):
        plan_layer(9, kernel=2, stride=1, layer="head")
