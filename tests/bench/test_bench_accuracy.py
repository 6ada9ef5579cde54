"""Accuracy and agreement of runners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.bench.accuracy import BATCH, accuracy, agreement, predicted
from mobileq.data.patches import ArrayPatches
from mobileq.data.synthetic import synthetic_tissue
from mobileq.errors import DataError, GraphError
from mobileq.quant.affine import Affine
from support.function_runner import FunctionRunner, disc_sums


def coded(labels: NDArray[np.uint8], size: int = 8) -> ArrayPatches:
    """Patches whose middle pixel says the label."""
    images = np.zeros((len(labels), size, size, 3), np.uint8)
    images[:, size // 2 - 1, size // 2 - 1] = labels[:, None]
    return ArrayPatches(images, labels)


def read_middle(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits that say what `coded` wrote into a crop of odd size."""
    middle = pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2, 0].astype(np.float32)
    return np.stack([0.5 - middle, middle - 0.5], axis=1)


@given(st.lists(st.integers(0, 1), min_size=2, max_size=3 * BATCH))
def test_reading_the_label_is_always_right(values: list[int]) -> None:
    """Crop, batches and order of labels fit: a runner that knows the label scores 1."""
    patches = coded(np.asarray(values, np.uint8))
    scores = accuracy(FunctionRunner(read_middle), patches, input_size=7)
    assert scores.accuracy == 1.0
    assert scores.count == len(values)


def test_integer_logits_are_scored_as_real_numbers() -> None:
    """The loss of an integer runner is that of the dequantized logits."""
    patches = synthetic_tissue(BATCH + 3, seed=1, size=64)
    affine = Affine(0.25, -3)

    def integers(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
        return (disc_sums(pixels) % 100).astype(np.int8)

    def real(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        return (integers(pixels).astype(np.float64) + 3) * 0.25

    quantized = FunctionRunner(integers, integer=True)
    found = accuracy(quantized, patches, input_size=63, dequantize=affine)
    assert found == accuracy(FunctionRunner(real), patches, input_size=63)


def test_integer_logits_need_their_scale() -> None:
    """Without scale and zero point there is an error, not a wrong figure."""
    runner = FunctionRunner(lambda p: disc_sums(p).astype(np.int8), integer=True)
    with pytest.raises(GraphError, match="scale and zero point"):
        predicted(runner, synthetic_tissue(2, seed=1, size=64), input_size=63)


def test_a_label_without_a_logit_is_refused() -> None:
    """A network of one class cannot be scored on two."""
    runner = FunctionRunner(lambda p: read_middle(p)[:, :1])
    with pytest.raises(DataError, match="1 logits, but a label is 1"):
        accuracy(runner, coded(np.asarray([0, 1], np.uint8)), input_size=7)


@pytest.mark.parametrize("count", [1, BATCH, 2 * BATCH + 3])
def test_progress_is_told_after_each_batch(count: int) -> None:
    """It rises to the number of images, and never says more than is done."""
    seen: list[tuple[int, int]] = []
    runs: list[int] = []

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        runs.append(len(pixels))
        return read_middle(pixels)

    def note(done: int, total: int) -> None:
        assert done == sum(runs)
        seen.append((done, total))

    labels = np.arange(count).astype(np.uint8) % 2
    logits = predicted(FunctionRunner(run), coded(labels), input_size=7, progress=note)
    assert (logits.argmax(1) == labels).all()
    assert [total for _, total in seen] == [count] * len(runs)
    assert [done for done, _ in seen] == np.cumsum(runs).tolist()
    assert seen[-1] == (count, count)


def test_a_label_without_a_logit_is_found_early() -> None:
    """After one batch, not after minutes."""
    runs: list[int] = []

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        runs.append(len(pixels))
        return read_middle(pixels)

    labels = np.zeros(5 * BATCH, np.uint8)
    labels[-1] = 2
    with pytest.raises(DataError, match="2 logits, but a label is 2"):
        predicted(FunctionRunner(run), coded(labels), input_size=7)
    assert len(runs) == 1


def test_images_that_cannot_be_read_end_the_run() -> None:
    """The reader's error comes out, although a thread of its own reads ahead."""

    class Broken(ArrayPatches):
        """Fails at its second batch."""

        def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
            """Read, or fail."""
            if indices[0] >= BATCH:
                raise DataError("the disk is gone")
            return super().read(indices)

    inner = coded(np.zeros(3 * BATCH, np.uint8))
    with pytest.raises(DataError, match="the disk is gone"):
        predicted(
            FunctionRunner(read_middle),
            Broken(inner.images, inner.labels),
            input_size=7,
        )


def test_images_that_are_too_small_are_refused() -> None:
    """A crop larger than the images is an error that names both sizes."""
    with pytest.raises(DataError, match="crop of 9 px from images of 8x8"):
        accuracy(
            FunctionRunner(read_middle),
            coded(np.asarray([0, 1], np.uint8)),
            input_size=9,
        )


def test_agreement_counts_equal_predictions() -> None:
    """Three of four images in the same class is 0.75, whatever the size of logits."""
    first = np.asarray([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    second = np.asarray([[9.0, 1], [2, 3], [0, 5], [-4, -1]])
    assert agreement(first, second) == 0.75
