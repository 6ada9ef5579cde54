"""What a source of labelled patches looks like, and the source that lies in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import DataError

FEW_CHANNELS = 4
"""More channels than these are taken for another layout if they exceed the edges."""

MAX_CLASSES = 256
"""Most classes; labels are bytes."""


_READ_BYTES = 2**25
"""Pixels in memory together where they are made smaller at once."""


class Patches(Protocol):
    """A finite sequence of labelled patches of one size and C channels."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Class indices, shape (N,), uint8; PCam's 1 is tumour, 0 is normal tissue."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every patch, in pixels."""

    @property
    def channels(self) -> int:
        """Channels C of every patch: 1 is grey, 3 is RGB."""

    def __len__(self) -> int:
        """Return the number of patches N."""

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the patches at `indices`, in that order; repeats are allowed.

        Args:
            indices: shape (B,), integers from 0 to N - 1.

        Returns:
            Shape (B, H, W, C), NHWC, uint8, owned by the caller.

        Raises:
            DataError: an index is out of range, or the source cannot be read any more.
        """


def read_in_parts(
    patches: Patches, indices: NDArray[np.int64]
) -> Iterator[NDArray[np.uint8]]:
    """Read patches, of large ones only a few at a time.

    Args:
        patches: where to read.
        indices: shape (B,); nothing is read where it is empty.

    Yields:
        Shape (some, H, W, C); together (B, H, W, C).

    Raises:
        DataError: as `Patches.read`.
    """
    height, width = patches.size
    step = max(1, _READ_BYTES // (height * width * patches.channels))
    for start in range(0, len(indices), step):
        yield patches.read(indices[start : start + step])


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
        images: shape (N, H, W, C), NHWC, uint8.
        labels: shape (N,), uint8, class indices.

    Raises:
        DataError: a shape, a type or a length is not as above.
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

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def channels(self) -> int:
        """Channels C."""
        return self.images.shape[3]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a copy of the patches at `indices`, (B, H, W, C) uint8.

        Raises:
            DataError: an index is out of range.
        """
        return self.images[check_indices(indices, len(self))]


def check_images(
    images: NDArray[np.uint8], name: str, *, channels: int | None = None
) -> None:
    """Check that `images` is NHWC uint8.

    Args:
        images: what to check.
        name: the message starts with it.
        channels: C, where only one number will do.

    Raises:
        DataError: it is not, or has another number of channels.
    """
    found = images.shape[3] if images.ndim == 4 else 0
    if channels is None:
        right = 1 <= found <= most_channels(*images.shape[1:3])
    else:
        right = found == channels
    if not right or images.dtype != np.uint8:
        shape = "(N, H, W, C)" if channels is None else f"(N, H, W, {channels})"
        raise DataError(
            f"{name}: found shape {images.shape} of {images.dtype}, wanted "
            f"{shape} of uint8: convert to bytes with channels last, 1 for grey or 3 "
            f"for RGB"
        )


def most_channels(height: int, width: int) -> int:
    """Most channels of an image; with more of them, it is of another layout."""
    return max(FEW_CHANNELS, min(height, width))


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
