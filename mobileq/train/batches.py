"""Augmented batches, the same ones for the same seed, epoch and step.

The random numbers of a step depend on nothing but (seed, epoch, step), so that a run
that was interrupted anywhere sees the batches that it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import Patches
from mobileq.data.transforms import (
    center_crop,
    normalize,
    square_symmetries,
    stain_jitter,
)
from mobileq.train.config import TrainConfig

_Value = TypeVar("_Value")
Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@runtime_checkable
class OrderedPatches(Protocol):
    """A source that is read fastest in an order of its own making."""

    def epoch_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a random permutation of all indices, (N,), decided by `rng` alone."""


@dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training run.

    Attributes:
        patches: Training set.
        config: Seed, batch size and augmentation.
        input_size: Height and width that images are cropped to, in pixels.
    """

    patches: Patches
    config: TrainConfig
    input_size: int

    @property
    def batch_size(self) -> int:
        """Images per step; the whole set where that is smaller."""
        return min(self.config.batch_size, len(self.patches))

    @property
    def steps(self) -> int:
        """Steps per epoch; an incomplete last batch is left out."""
        return len(self.patches) // self.batch_size

    def epoch(self, epoch: int, first_step: int = 0) -> Generator[Batch, None, None]:
        """Batches of one epoch from `first_step` on, each prepared one step ahead.

        Args:
            epoch: From 0; decides the order and the augmentation.
            first_step: Steps to leave out, as when a run is resumed.

        Yields:
            Images (B, 3, S, S) float32 NCHW and labels (B,).
        """
        rng = np.random.default_rng([self.config.seed, epoch])
        if isinstance(self.patches, OrderedPatches):
            order = self.patches.epoch_order(rng)
        else:
            order = rng.permutation(len(self.patches))

        def prepare(step: int) -> Batch:
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            seed = [self.config.seed, epoch, step]
            return self._augmented(rows, np.random.default_rng(seed))

        return _prefetch(prepare, range(first_step, self.steps))

    def _augmented(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Read, crop, turn, stain and normalize the images of `rows`."""
        images = center_crop(self.patches.read(rows), self.input_size)
        if self.config.symmetries:
            images = square_symmetries(images, rng)
        if self.config.stain_jitter:
            images = stain_jitter(images, rng, strength=self.config.stain_jitter)
        return normalize(images), self.patches.labels[rows].astype(np.int64)


def plain_batches(
    patches: Patches, *, input_size: int, batch_size: int
) -> Generator[NDArray[np.float32], None, None]:
    """All images in order, cropped and normalized, without augmentation.

    Yields:
        (B, 3, S, S) float32 NCHW.
    """

    def prepare(start: int) -> NDArray[np.float32]:
        rows = np.arange(start, min(start + batch_size, len(patches)))
        return normalize(center_crop(patches.read(rows), input_size))

    return _prefetch(prepare, range(0, len(patches), batch_size))


def _prefetch(
    prepare: Callable[[int], _Value], keys: Iterable[int]
) -> Generator[_Value, None, None]:
    """Yield `prepare(key)` in order, computing the next one in a thread meanwhile.

    The thread ends with the generator: closing it waits for the value in preparation.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        coming: Future[_Value] | None = None
        for key in keys:
            following = pool.submit(prepare, key)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
