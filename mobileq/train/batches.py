"""Augmented batches, the same ones for the same seed, epoch and step.

The random numbers of a step depend on nothing but (seed, epoch, step), so that a run
that was interrupted anywhere sees the batches that it would have seen. Where several
ranks share a run, each reads and prepares its part of the batches of one process.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import Patches
from mobileq.data.prefetch import prefetch
from mobileq.data.transforms import (
    center_crop,
    normalize,
    square_symmetries,
    stain_jitter,
)
from mobileq.train.config import TrainConfig
from mobileq.train.ranks import ALONE, Ranks

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@runtime_checkable
class OrderedPatches(Protocol):
    """A source that is read fastest in an order of its own making."""

    def epoch_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a random permutation of all indices, (N,), decided by `rng` alone."""


class PartOfBatch(np.random.Generator):
    """Draws for all images of a batch, and hands out what concerns some of them.

    Args:
        seed: Decides the draws.
        part: Which images of the batch.
        count: How many images the whole batch has.
    """

    def __init__(self, seed: Sequence[int], part: slice, count: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.part, self.count = part, count

    def integers(self, high: int, *, size: int) -> NDArray[np.int64]:  # type: ignore[override]
        """Integers below `high`, one for each image of the part, (size,)."""
        drawn = np.asarray(super().integers(high, size=self.count))
        return drawn[self.part]

    def uniform(  # type: ignore[override]
        self, low: float, high: float, *, size: tuple[int, ...]
    ) -> NDArray[np.float64]:
        """Numbers of shape `size`, whose first axis counts the images of the part."""
        return super().uniform(low, high, size=(self.count, *size[1:]))[self.part]


@dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training run.

    Attributes:
        patches: Training set.
        config: Seed, batch size and augmentation.
        input_size: Height and width that images are cropped to, in pixels.
        ranks: Decides which part of each batch is prepared here.
    """

    patches: Patches
    config: TrainConfig
    input_size: int
    ranks: Ranks = ALONE

    @property
    def batch_size(self) -> int:
        """Images per step of all ranks; the whole set where that is smaller."""
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
            Images (B, 3, S, S) float32 NCHW and labels (B,): this rank's part.
        """
        rng = np.random.default_rng([self.config.seed, epoch])
        if isinstance(self.patches, OrderedPatches):
            order = self.patches.epoch_order(rng)
        else:
            order = rng.permutation(len(self.patches))

        def prepare(step: int) -> Batch:
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            part = self.ranks.part(len(rows))
            seed = [self.config.seed, epoch, step]
            return self._augmented(rows[part], PartOfBatch(seed, part, len(rows)))

        return prefetch(prepare, range(first_step, self.steps))

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

    return prefetch(prepare, range(0, len(patches), batch_size))
