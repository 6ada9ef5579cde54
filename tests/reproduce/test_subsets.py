"""Parts of a training set: nested, balanced, and as long as the whole."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mobileq.reproduce.subsets import RepeatedPatches, nested_order, subset_of
from mobileq.train.batches import TrainingBatches
from mobileq.train.config import TrainConfig
from support.small_runs import noise


@given(st.lists(st.integers(0, 2), min_size=1, max_size=120), st.integers(0, 2**32 - 1))
def test_every_beginning_has_the_shares_of_the_whole(
    classes: list[int], seed: int
) -> None:
    """Off by less than the number of classes, at every length."""
    labels = np.array(classes, np.uint8)
    order = nested_order(labels, seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    number = len(set(classes))
    for label in set(classes):
        counts = np.cumsum(labels[order] == label)
        fair = np.arange(1, len(labels) + 1) * (labels == label).mean()
        # Rounding of the shares adds 1e-13 or so.
        assert np.abs(counts - fair).max() <= max(number - 1, 0) + 1e-9


def test_a_seed_decides_the_part() -> None:
    """The same one gives the same order, another one another."""
    labels = noise(50, seed=0).labels
    assert (nested_order(labels, 3) == nested_order(labels, 3)).all()
    assert (nested_order(labels, 3) != nested_order(labels, 4)).any()


@given(st.integers(2, 12), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_repeated_patches_are_all_seen_in_turn(
    count: int, more: int, seed: int
) -> None:
    """An epoch is a permutation; no patch comes again before all have come."""
    inner = noise(count, seed=1, size=9)
    patches = RepeatedPatches(inner, count + more)
    order = patches.epoch_order(np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(patches)))
    assert (patches.read(order) == inner.images[order % count]).all()
    assert (patches.labels[order] == inner.labels[order % count]).all()
    for start in range(0, len(order) - count + 1, count):
        assert len(set((order[start : start + count] % count).tolist())) == count


def test_parts_are_nested_and_as_long_as_the_whole() -> None:
    """Smaller ones lie in larger ones, and all have the same number of steps."""
    whole = noise(40, seed=2, size=9)
    order = nested_order(whole.labels, 5)
    config = TrainConfig(batch_size=8)
    seen: set[bytes] = set()
    for size in (6, 15, 40):
        part = subset_of(whole, order, size, 40)
        images = {image.tobytes() for image in part.read(np.arange(40))}
        assert len(images) == size
        assert seen <= images
        seen = images
        assert TrainingBatches(part, config, 9).steps == 5
        assert part.size == (9, 9)
    assert subset_of(whole, order, 40, 40) is whole
