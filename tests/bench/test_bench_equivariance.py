"""What turning the image changes, for functions whose symmetry is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mobileq.bench.accuracy import BATCH
from mobileq.bench.equivariance import (
    ANGLES,
    MIRRORS,
    OUTSIDE,
    ROTATIONS,
    angle_errors,
    exact_symmetry,
    moved,
    turned,
)
from mobileq.data.synthetic import synthetic_tissue
from mobileq.errors import GraphError, InputError
from mobileq.models.masks import circular_mask
from mobileq.quant.affine import Affine
from support.function_runner import FunctionRunner, corner, disc_means, disc_sums


def noise(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """(count, size, size, 3) random pixels."""
    shape = (count, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_an_invariant_function_changes_nothing() -> None:
    """Sums of integers over a disc are the same for all eight symmetries."""
    runner, images = FunctionRunner(disc_means), noise(BATCH + 1, 9)
    for motions in (ROTATIONS, MIRRORS):
        found = exact_symmetry(runner, images, motions)
        assert found.compared == len(images) * len(motions)
        assert (found.changed, found.max_relative, found.changed_predictions) == (
            0,
            0,
            0,
        )


def test_a_function_of_a_corner_changes() -> None:
    """Each turn brings another quadrant, and every output shows it."""
    found = exact_symmetry(FunctionRunner(corner), noise(20, 9))
    assert found.changed == found.compared == 60
    assert found.max_relative > 0
    assert found.changed_predictions > 0


def test_mirror_images_are_told_from_turns() -> None:
    """A function of a sense of rotation is invariant to turns alone."""

    def handed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Of the eight points that the square's symmetries make of one, four are turns
        # of it; which point follows which tells clockwise from counter-clockwise.
        four = np.stack([np.rot90(pixels[..., 0], k, (1, 2)) for k in range(4)])
        first = four[:, :, 0, 1].astype(np.int64)
        after = four[:, :, 0, 3].astype(np.int64)
        sums = np.stack([(first**2 * after).sum(0), (first * after).sum(0)], axis=1)
        return sums.astype(np.float32)

    images = noise(10, 5)
    assert exact_symmetry(FunctionRunner(handed), images, ROTATIONS).changed == 0
    assert exact_symmetry(FunctionRunner(handed), images, MIRRORS).changed == 40


def test_one_bit_is_a_change() -> None:
    """Zero and minus zero are equal numbers, but not the same bits."""

    def signed_zero(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        sign = np.where(pixels[:, 0, 0, 0] > 0, -1.0, 1.0)
        return np.stack([0 * sign, np.ones(len(sign))], axis=1).astype(np.float32)

    images = np.zeros((1, 5, 5, 3), np.uint8)
    images[0, 0, 0] = 1
    found = exact_symmetry(FunctionRunner(signed_zero), images)
    assert (found.changed, found.max_relative) == (3, 0.0)


def test_integer_outputs_are_compared_as_they_are_and_measured_as_real() -> None:
    """Bits are those of int8; the relative error is that of dequantized logits."""

    def integers(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
        first = np.where(pixels[:, 0, 0, 0] > 0, 30, 10)
        return np.stack([first, np.full(len(first), 10)], axis=1).astype(np.int8)

    images = np.zeros((1, 5, 5, 3), np.uint8)
    images[0, 0, 0] = 1
    runner = FunctionRunner(integers, integer=True)
    found = exact_symmetry(runner, images, dequantize=Affine(0.5, 10))
    # Real logits are (10, 0), and (0, 0) for the turned image: a relative error of 1.
    assert (found.changed, found.max_relative) == (3, 1.0)
    with pytest.raises(GraphError, match="scale and zero point"):
        exact_symmetry(runner, images)


@given(
    size=st.integers(2, 20),
    turns=st.integers(-4, 8),
    seed=st.integers(0, 2**16),
)
def test_quarter_turns_by_resampling_are_exact(
    size: int, turns: int, seed: int
) -> None:
    """The code for any angle gives, at multiples of 90, the pixels of an exact turn."""
    images = noise(2, size, seed)
    inside = circular_mask(size).astype(bool)
    exact = moved(images, (turns % 4, False))
    found = turned(images, 90 * turns)
    assert np.array_equal(found[:, inside], exact[:, inside])
    assert (found[:, ~inside] == OUTSIDE).all()


@given(angle=st.floats(-360, 360), seed=st.integers(0, 2**16))
def test_turning_forth_and_back_keeps_a_smooth_image(angle: float, seed: int) -> None:
    """Same direction, centre and scale: two opposite turns cancel."""
    size = 31
    rng = np.random.default_rng(seed)
    along, down = rng.uniform(-3, 3, 2)
    row, column = np.indices((size, size)) - (size - 1) / 2
    ramp = 128 + along * column + down * row
    images = np.repeat(ramp[None, :, :, None], 3, axis=3).round().astype(np.uint8)
    back = turned(turned(images, angle), -angle)
    # Away from the disc's edge a ramp is interpolated exactly; three roundings of half
    # a grey level each remain, the first in the image itself.
    middle = np.hypot(row, column) < size / 2 - 3
    error = np.abs(back[..., 0].astype(float) - images[..., 0])[:, middle]
    assert error.max() <= 2


def test_positive_angles_turn_counter_clockwise() -> None:
    """A spot on the right goes to the upper right at 45 degrees."""
    images = np.zeros((1, 21, 21, 3), np.uint8)
    images[0, 9:12, 16:19] = 255
    row, column = np.unravel_index(
        turned(images, 45)[0, 3:18, 3:18, 0].argmax(), (15, 15)
    )
    assert row < 7 < column


def test_a_mean_over_the_disc_hardly_changes_at_any_angle() -> None:
    """On tissue, all that is left is resampling at the circle's edge."""
    images = synthetic_tissue(6, seed=3, size=65).images
    results = angle_errors(FunctionRunner(disc_means), images)
    assert [result.degrees for result in results] == list(ANGLES)
    for result in results:
        # An edge of 200 pixels out of 3,300, each off by a fraction of its contrast;
        # found: 0.004.
        assert result.mean <= result.max < 0.02
        if result.on_grid:
            assert result.max == 0.0
    assert max(result.max for result in results) > 0


def test_a_function_of_a_corner_changes_at_every_angle() -> None:
    """Also at the multiples of 90 degrees, where nothing is interpolated."""
    images = synthetic_tissue(6, seed=3, size=65).images
    for result in angle_errors(FunctionRunner(corner), images, (15, 90, 200)):
        assert result.mean > 0.001
        assert result.max >= result.mean


def test_an_image_with_logits_of_zero_does_not_decide_alone() -> None:
    """Its error is taken relative to a share of the mean length, and stays finite."""

    def centred(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        sums = disc_sums(pixels)
        return (sums - sums[:1]).astype(np.float32)

    images = noise(4, 9)
    found = angle_errors(FunctionRunner(centred), images, (45,))[0]
    assert np.isfinite(found.max)


@pytest.mark.parametrize("shape", [(0, 5, 5, 3), (1, 5, 6, 3)])
def test_images_must_exist_and_be_square(shape: tuple[int, ...]) -> None:
    """Otherwise there is one clear error from both measurements."""
    images = np.zeros(shape, np.uint8)
    with pytest.raises(InputError, match="at least one image"):
        exact_symmetry(FunctionRunner(disc_means), images)
    with pytest.raises(InputError, match="at least one image"):
        angle_errors(FunctionRunner(disc_means), images)


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A map of two logits for every pixel, (N, 2, S, S), that turns with the image."""
    grey = images.astype(np.float64).mean(axis=3) - 127.5
    return np.stack([grey, -grey], axis=1)


def test_a_map_that_turns_with_the_image_changes_nothing() -> None:
    """Outputs for every pixel are compared where they are moved to."""
    images = noise(3, 9)
    runner = FunctionRunner(brightness)
    for motions in (ROTATIONS, MIRRORS):
        found = exact_symmetry(runner, images, motions)
        assert (found.changed, found.max_relative) == (0, 0.0)
        assert found.changed_predictions == 0


def test_a_map_that_stays_where_it_is_changes() -> None:
    """A ramp over the grid does not turn; about half of its pixels change class."""

    def ramp(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        grey = np.broadcast_to(np.arange(9.0) - 3.5, (len(images), 9, 9))
        return np.stack([grey, -grey], axis=1)

    found = exact_symmetry(FunctionRunner(ramp), noise(4, 9), ((2, False),))
    assert found.changed == found.compared == 4
    assert found.changed_predictions > 2


def test_a_smooth_map_hardly_changes_at_any_angle() -> None:
    """What is left is the rounding of turned pixels to whole grey levels.

    10 %: half a grey level against a contrast of tens, two interpolations, and the edge
    of the disc, beyond which turned images are grey.
    """
    images = synthetic_tissue(2, seed=1, size=64).images
    smooth = np.stack([_blurred(image) for image in images])
    errors = angle_errors(FunctionRunner(brightness), smooth, (15, 90, 200))
    assert errors[1].mean == 0
    assert max(error.mean for error in errors) < 0.1


def _blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A low-pass filtered image."""
    return np.asarray(gaussian_filter(image, (3, 3, 0)), np.uint8)
