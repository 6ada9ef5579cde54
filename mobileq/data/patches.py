"""What a source of labelled patches looks like, and the source that lies in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import DataError


class Patches(Protocol):
    """A finite sequence of labelled RGB patches of one size."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Labels, shape (N,), uint8: 1 is tumour, 0 is normal tissue."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every patch, in pixels."""

    def __len__(self) -> int:
        """Return the number of patches N."""

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the patches at `indices`, in that order; repeats are allowed.

        Args:
            indices: shape (B,), integers from 0 to N - 1.

        Returns:
            Shape (B, H, W, 3), NHWC, uint8, owned by the caller.

        Raises:
            DataError: an index is out of range, or the source cannot be read any more.
        """


def check_indices(indices: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return `indices` as int64 after checking that each addresses a patch.

    Args:
        indices: shape (B,), any integer type.
        length: the number of patches N.

    Raises:
        DataError: not one-dimensional, not integers, or outside 0 to N - 1.
    """
    found = np.asarray(indices)
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        raise DataError(
            f"patch indices have shape {found.shape} and type {found.dtype}, wanted "
            "shape (B,) of integers: pass np.arange(...) or rng.permutation(...)"
        )
    if found.size and (found.min() < 0 or found.max() >= length):
        worst = found.min() if found.min() < 0 else found.max()
        raise DataError(
            f"patch index {worst} is out of range, wanted 0 to {length - 1}: "
            "use indices below len(patches)"
        )
    return found.astype(np.int64, copy=False)


@dataclass(frozen=True, eq=False)
class ArrayPatches:
    """Patches held in memory.

    Attributes:
        images: shape (N, H, W, 3), NHWC, uint8.
        labels: shape (N,), uint8, each 0 or 1.

    Raises:
        DataError: a shape, a type, a length or a label is not as above.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        check_images(self.images, "ArrayPatches.images")
        if self.labels.dtype != np.uint8 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"ArrayPatches.labels has shape {self.labels.shape} and type "
                f"{self.labels.dtype}, wanted ({len(self.images)},) of uint8: "
                "give one label per image"
            )
        check_labels(self.labels, "ArrayPatches.labels")

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[1], self.images.shape[2]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a copy of the patches at `indices`, (B, H, W, 3) uint8.

        Raises:
            DataError: an index is out of range.
        """
        return self.images[check_indices(indices, len(self))]


def check_images(images: NDArray[np.uint8], name: str) -> None:
    """Check that `images` is NHWC uint8 with three channels.

    Raises:
        DataError: it is not; the message starts with `name`.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise DataError(
            f"{name}: found shape {images.shape} of {images.dtype}, wanted "
            "(N, H, W, 3) of uint8: convert to RGB bytes with channels last"
        )


def check_labels(labels: NDArray[np.uint8], name: str) -> None:
    """Check that each of `labels`, shape (N,), is 0 or 1.

    Raises:
        DataError: one is not; the message starts with `name`.
    """
    wrong = np.flatnonzero(labels > 1)
    if wrong.size:
        raise DataError(
            f"{name}: label {labels[wrong[0]]} at index {wrong[0]}, wanted 0 or 1: "
            "this is not a two-class data set, relabel it"
        )
