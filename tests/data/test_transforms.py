"""Crop, symmetries of the square, stain jitter and normalisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.data.patches import ArrayPatches
from mobileq.data.transforms import (
    STAINS,
    center_crop,
    normalize,
    read_cropped,
    square_symmetries,
    stain_jitter,
)
from mobileq.errors import DataError

seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Return random bytes of `shape`."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def orbit(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the eight symmetric versions of one square image, (S, S, 3)."""
    return [
        np.rot90(version, turns)
        for version in (image, image[:, ::-1])
        for turns in range(4)
    ]


def test_crop_to_95_keeps_rows_and_columns_0_to_94() -> None:
    """An odd remainder leaves its pixel at the end."""
    images = noise(0, 2, 96, 96, 3)
    np.testing.assert_array_equal(center_crop(images, 95), images[:, :95, :95])


@given(st.integers(1, 12), st.integers(1, 12), st.data())
@settings(deadline=None, max_examples=15)
def test_crop_is_centred(height: int, width: int, data: st.DataObject) -> None:
    """The borders cut off on opposite sides differ by one pixel at most."""
    size = data.draw(st.integers(1, min(height, width)))
    rows, cols = np.indices((height, width), dtype=np.uint8)
    images = np.stack([rows, cols, rows], axis=-1)[None]
    crop = center_crop(images, size)[0]
    assert crop.shape == (size, size, 3)
    for axis, extent in ((0, height), (1, width)):
        before, after = crop[0, 0, axis], extent - 1 - crop[-1, -1, axis]
        assert after - before in (0, 1)


@pytest.mark.parametrize("size", [0, -1, 9])
def test_crop_rejects_sizes_that_do_not_fit(size: int) -> None:
    """The message names the crop, the image and what would fit."""
    with pytest.raises(
        DataError, match=rf"crop of {size} px .* 8x10 px, wanted 1 to 8"
    ):
        center_crop(noise(0, 1, 8, 10, 3), size)


def test_large_patches_are_cropped_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same middles come out, with less in memory, in the order asked for."""
    patches = ArrayPatches(noise(3, 7, 8, 10, 3), np.zeros(7, np.uint8))
    rows = np.array([6, 0, 0, 3, 5])
    wanted = center_crop(patches.images[rows], 6)
    np.testing.assert_array_equal(read_cropped(patches, rows, 6), wanted)
    for room in (1, 2 * 8 * 10 * 3, 4 * 8 * 10 * 3):
        monkeypatch.setattr("mobileq.data.patches._READ_BYTES", room)
        np.testing.assert_array_equal(read_cropped(patches, rows, 6), wanted)


@given(seeds, st.integers(0, 9))
@settings(deadline=None, max_examples=15)
def test_each_image_moves_within_its_own_orbit(seed: int, count: int) -> None:
    """Every result is one of the eight symmetric versions of the image in its place."""
    images = noise(seed, count, 5, 5, 3)
    moved = square_symmetries(images, np.random.default_rng(seed))
    assert moved.shape == images.shape
    for before, after in zip(images, moved, strict=True):
        assert any(np.array_equal(after, version) for version in orbit(before))


def test_the_eight_symmetries_are_equally_likely() -> None:
    """Over 4000 copies of one image each element appears about 500 times."""
    image = noise(1, 3, 3, 3)
    moved = square_symmetries(
        np.broadcast_to(image, (4000, 3, 3, 3)), np.random.default_rng(0)
    )
    counts = [int((moved == version).all((1, 2, 3)).sum()) for version in orbit(image)]
    assert sum(counts) == 4000
    # Binomial(4000, 1/8) has standard deviation 21; 5 of them is 105.
    assert all(abs(count - 500) < 105 for count in counts)


def test_symmetries_need_squares() -> None:
    """Rotating a rectangle by 90 degrees would change its shape."""
    with pytest.raises(DataError, match=r"images are 4x6 px, wanted squares"):
        square_symmetries(noise(0, 1, 4, 6, 3), np.random.default_rng(0))


@given(seeds)
@settings(deadline=None, max_examples=15)
def test_jitter_of_strength_0_changes_nothing(seed: int) -> None:
    """The way to stain amounts and back is the identity."""
    images = noise(seed, 3, 7, 5, 3)
    same = stain_jitter(images, np.random.default_rng(seed), strength=0.0)
    # float32 keeps grey levels to 1e-3, far from the half where rounding would change.
    np.testing.assert_array_equal(same, images)


def test_jitter_follows_the_definition() -> None:
    """The one-matrix form equals projecting, perturbing and unprojecting in float64."""
    images = noise(3, 4, 9, 9, 3)
    rng = np.random.default_rng(5)
    scale = rng.uniform(0.8, 1.2, size=(4, 1, 1, 3))
    shift = rng.uniform(-0.2, 0.2, size=(4, 1, 1, 3))
    stains = -np.log((images + 1.0) / 256) @ np.linalg.inv(STAINS)
    light = 256 * np.exp(-(stains * scale + shift) @ STAINS) - 1
    wanted = np.rint(np.clip(light, 0, 255))
    found = stain_jitter(images, np.random.default_rng(5), strength=0.2)
    # One grey level: float32 against float64 may fall on either side of a half.
    assert np.abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 0.01  # and a half is rare
    assert np.abs(wanted - images).max() > 10


def test_jitter_colours_each_image_by_itself() -> None:
    """Equal images get different stains, and equal pixels of one image stay equal."""
    images = np.full((6, 4, 4, 3), (180, 90, 160), np.uint8)
    jittered = stain_jitter(images, np.random.default_rng(0))
    assert (jittered == jittered[:, :1, :1]).all()
    assert len(np.unique(jittered[:, 0, 0], axis=0)) == 6


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_jitter_rejects_strengths_outside_0_to_1(strength: float) -> None:
    """A negative width means nothing and more than 1 would invert a stain."""
    with pytest.raises(DataError, match=r"strength is (-0.1|1.5|nan), wanted 0 to 1"):
        stain_jitter(noise(0, 1, 4, 4, 3), np.random.default_rng(0), strength=strength)


def test_random_transforms_repeat_with_their_generator() -> None:
    """The same generator state gives the same bytes, and inputs stay untouched."""
    images = noise(2, 8, 6, 6, 3)
    before = images.copy()
    for transform in (square_symmetries, stain_jitter):
        first = transform(images, np.random.default_rng(9))
        np.testing.assert_array_equal(
            first, transform(images, np.random.default_rng(9))
        )
        assert not np.array_equal(first, transform(images, np.random.default_rng(10)))
    np.testing.assert_array_equal(images, before)


@given(seeds)
@settings(deadline=None, max_examples=15)
def test_normalised_pixels_are_exact(seed: int) -> None:
    """Undoing (pixel - 128) / 128 gives back every byte, channels first."""
    images = noise(seed, 2, 4, 3, 3)
    scaled = normalize(images)
    assert scaled.dtype == np.float32
    assert scaled.flags.c_contiguous
    np.testing.assert_array_equal(scaled.transpose(0, 2, 3, 1) * 128 + 128, images)


def test_grey_128_becomes_0_and_the_ends_stay_in_range() -> None:
    """128 maps to exactly 0, 0 to -1 and 255 to 127/128."""
    levels = np.array([0, 128, 255], np.uint8).reshape(1, 1, 1, 3)
    assert normalize(levels).ravel().tolist() == [-1.0, 0.0, 127 / 128]


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 3, 8, 8), np.uint8), np.zeros((8, 8, 3), np.uint8)],
    ids=["NCHW", "one image"],
)
def test_images_of_another_layout_are_rejected(images: NDArray[np.uint8]) -> None:
    """A wrong layout is named instead of producing garbage."""
    with pytest.raises(DataError, match=r"normalize: found shape .* wanted \(N, H, W"):
        normalize(images)


def test_float_images_are_rejected() -> None:
    """Images that were normalised already must not pass a second time."""
    with pytest.raises(DataError, match=r"of float32, wanted .* of uint8"):
        normalize(np.zeros((1, 8, 8, 3), np.float32))  # type: ignore[arg-type]
