"""Parts of a training set that lie in one another, trained for the same steps.

A run on few patches must not be a short one: the number of optimizer steps would
differ as well as the data. So an epoch has the same length for every size, and a
smaller set is gone through several times within it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import ArrayPatches, Patches, check_indices


def nested_order(labels: NDArray[np.uint8], seed: int) -> NDArray[np.int64]:
    """A random order whose every beginning has the classes in the shares of the whole.

    Args:
        labels: (N,) class indices.
        seed: Decides the order.

    Returns:
        (N,), a permutation of all indices. Among the first n, the number of patches of
        a class differs from n times its share by less than the number of classes.
    """
    rng = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        # Each class is spread evenly over the whole order.
        spread = (np.arange(len(rows)) + rng.random()) / len(rows)
        place[rows] = rng.permutation(spread)
    return np.argsort(place, kind="stable").astype(np.int64)


@dataclass(frozen=True, eq=False)
class RepeatedPatches:
    """A set that counts as a longer one; implements `mobileq.data.patches.Patches`.

    Where the length is no multiple of the set's, the first patches come once more.

    Attributes:
        inner: Patches of the set, n of them.
        length: As how many it counts, at least n.
    """

    inner: Patches
    length: int

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Labels (length,), uint8, those of the set again and again."""
        return np.resize(self.inner.labels, self.length)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.inner.size

    @property
    def channels(self) -> int:
        """Channels C."""
        return self.inner.channels

    def __len__(self) -> int:
        """Return the length."""
        return self.length

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the patches at `indices`, (B, H, W, C) uint8.

        Raises:
            DataError: an index is out of range.
        """
        return self.inner.read(check_indices(indices, self.length) % len(self.inner))

    def epoch_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a random permutation of all indices, (length,).

        Every patch is seen once before any is seen again.
        """
        count = len(self.inner)
        rounds = [
            start + rng.permutation(min(count, self.length - start))
            for start in range(0, self.length, count)
        ]
        order: NDArray[np.int64] = np.concatenate(rounds).astype(np.int64)
        return order


def subset_of(
    training: Patches, order: NDArray[np.int64], size: int, length: int
) -> Patches:
    """The first `size` patches of an order, as a training set of `length`.

    Args:
        training: All patches.
        order: From `nested_order`.
        size: How many are used. They are held in memory, 27 KiB each, except where they
            are all of `training`.
        length: As how many they count.

    Raises:
        DataError: they cannot be read.
    """
    if size == len(training):
        chosen = training
    else:
        # Sorted: a file is read from front to back.
        rows = np.sort(order[:size])
        chosen = ArrayPatches(training.read(rows), training.labels[rows])
    return chosen if length == size else RepeatedPatches(chosen, length)
