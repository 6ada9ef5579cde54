"""Batches depend on seed, epoch and step alone, and are augmented as they should."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.data.patches import ArrayPatches
from mobileq.data.transforms import center_crop, normalize
from mobileq.errors import DataError
from mobileq.train.batches import TrainingBatches, plain_batches
from mobileq.train.config import TrainConfig
from support.small_runs import ActingPatches, noise

PLAIN = TrainConfig(batch_size=8, symmetries=False, stain_jitter=0)
SIZE = 9


def shades(count: int) -> ArrayPatches:
    """Patches of one grey level each, which says which one it is."""
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    images[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return ArrayPatches(images, (np.arange(count) % 2).astype(np.uint8))


def visited(batches: TrainingBatches, epoch: int) -> NDArray[np.int64]:
    """Numbers of the `shades` of an epoch, (steps, B)."""
    images = [batch[0][:, 0, 0, 0] * 128 + 128 for batch in batches.epoch(epoch)]
    return np.stack(images).astype(np.int64)


@given(
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 1000),
    first=st.integers(0, 4),
)
def test_a_later_start_sees_the_same_batches(seed: int, epoch: int, first: int) -> None:
    """Leaving steps out does not change the steps that follow."""
    config = TrainConfig(batch_size=8, seed=seed)
    batches = TrainingBatches(noise(33, seed=0), config, input_size=15)
    whole = list(batches.epoch(epoch))
    assert len(whole) == batches.steps == 4
    later = list(batches.epoch(epoch, first))
    assert len(later) == 4 - first
    for (images, labels), (again, labels_again) in zip(
        whole[first:], later, strict=True
    ):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)


def test_every_image_once_in_another_order() -> None:
    """An epoch visits each image once; epochs and seeds differ in order."""
    batches = TrainingBatches(shades(64), PLAIN, SIZE)
    first, second = visited(batches, 0), visited(batches, 1)
    other = visited(replace(batches, config=replace(PLAIN, seed=1)), 0)
    for order in (first, second, other):
        assert sorted(order.ravel()) == list(range(64))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_labels_belong_to_their_images() -> None:
    """Shuffling moves labels and images together."""
    batches = TrainingBatches(shades(64), PLAIN, SIZE)
    for (_, labels), numbers in zip(batches.epoch(3), visited(batches, 3), strict=True):
        np.testing.assert_array_equal(labels, numbers % 2)
        assert labels.dtype == np.int64


def test_without_augmentation_pixels_are_kept() -> None:
    """Crop and normalization are all that happens where augmentation is off."""
    patches = noise(8, seed=4, size=17)
    images, labels = next(TrainingBatches(patches, PLAIN, 15).epoch(0))
    wanted = normalize(center_crop(patches.images, 15))
    for image, label in zip(images, labels, strict=True):
        matches = [i for i in range(8) if np.array_equal(wanted[i], image)]
        assert [patches.labels[i] for i in matches] == [label]


def test_eight_symmetries() -> None:
    """Copies of one image come in all eight positions of the square, and no other."""
    image = noise(1, seed=5, size=SIZE).images[0]
    patches = ArrayPatches(np.stack([image] * 128), np.zeros(128, np.uint8))
    config = replace(PLAIN, batch_size=128, symmetries=True)
    images, _ = next(TrainingBatches(patches, config, SIZE).epoch(0))
    turned = [np.rot90(side, k) for side in (image, image[:, ::-1]) for k in range(4)]
    wanted = {normalize(np.ascontiguousarray(t)[None])[0].tobytes() for t in turned}
    # All eight are missed by 128 draws with a probability of 8 * (7/8)**128 < 1e-6.
    assert {found.tobytes() for found in images} == wanted
    assert len(wanted) == 8


def test_stain_jitter() -> None:
    """Every image gets a stain of its own; the strength decides how much."""
    image = noise(1, seed=6, size=SIZE).images[0] // 2 + 64
    patches = ArrayPatches(np.stack([image] * 8), np.zeros(8, np.uint8))
    plain = normalize(image[None])[0]
    distances = []
    for strength in (0.02, 0.2):
        config = replace(PLAIN, stain_jitter=strength)
        images, _ = next(TrainingBatches(patches, config, SIZE).epoch(0))
        assert len({found.tobytes() for found in images}) == 8
        assert images.min() >= -1
        assert images.max() < 1
        distances.append(float(np.abs(images - plain).mean()))
    assert 0 < distances[0] < distances[1]


@dataclass(frozen=True, eq=False)
class Backwards(ActingPatches):
    """Patches with an order of their own."""

    def epoch_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """From the last to the first."""
        return np.arange(len(self))[::-1].copy()


def test_a_source_may_choose_the_order() -> None:
    """Where the source has an `epoch_order`, that is what is used."""
    patches = Backwards(shades(20), lambda: None)
    order = visited(TrainingBatches(patches, PLAIN, SIZE), 0)
    np.testing.assert_array_equal(order.ravel(), np.arange(19, 3, -1))


def test_incomplete_batches() -> None:
    """The last images of an epoch are left out; a small set is one batch."""
    assert TrainingBatches(shades(23), PLAIN, SIZE).steps == 2
    small = TrainingBatches(shades(5), PLAIN, SIZE)
    assert (small.batch_size, small.steps) == (5, 1)


def test_plain_batches() -> None:
    """All images in their order, the last batch as short as it is."""
    batches = list(plain_batches(shades(11), input_size=7, batch_size=4))
    assert [batch.shape for batch in batches] == [(4, 3, 7, 7)] * 2 + [(3, 3, 7, 7)]
    shade = np.concatenate(batches)[:, 0, 3, 3] * 128 + 128
    np.testing.assert_array_equal(shade, np.arange(11))


def prefetching() -> list[str]:
    """Names of the threads that prepare batches."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("prefetch")]


def test_the_thread_ends_with_the_generator() -> None:
    """A loop that is left early leaves no thread behind."""
    source = TrainingBatches(shades(64), PLAIN, SIZE).epoch(0)
    next(source)
    assert prefetching()
    source.close()
    assert not prefetching()


def test_errors_of_the_source_arrive() -> None:
    """What goes wrong in the thread is raised where the batch was asked for."""

    def fail() -> None:
        raise DataError("x.h5: gone")

    patches = ActingPatches(shades(16), fail)
    with pytest.raises(DataError, match=r"x\.h5: gone"):
        next(TrainingBatches(patches, PLAIN, SIZE).epoch(0))
    assert not prefetching()
