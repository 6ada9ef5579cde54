"""Labelled images in one `.npz` file, as numpy.savez writes it.

    images   (N, H, W, C) or (N, H, W), uint8       or `x`
    labels   (N,), integers from 0                  or `y`
    split    (N,), names of splits; may be left out
    classes  (K,), names of the classes; may be left out

Nothing is unpickled. The archive says how large its arrays are before any is read: one
that is stored is read piece by piece, one that is compressed is unpacked into memory up
to a limit. All of it is read once when it is opened, to compare it with its checksum.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mobileq.data.blocks import one_line
from mobileq.data.npz_arrays import Archive, Header
from mobileq.data.patches import (
    MAX_CLASSES,
    ArrayPatches,
    Patches,
    check_indices,
    most_channels,
)
from mobileq.data.splits import NAMES, Split, no_splits, rows_of
from mobileq.data.stored_rows import StoredRows
from mobileq.errors import DataError

MAX_UNPACKED = 2**30
"""Most bytes of compressed images that are unpacked; PCam's test split fits."""

_BLOCK = 2**20
_KEYS = (("images", "labels"), ("x", "y"))


@dataclass(frozen=True, eq=False)
class NpzPatches:
    """Images that lie in a file as they are; implements `Patches`.

    Attributes:
        rows: Their place in the file.
        chosen: (N,) which of them are used.
        labels: shape (N,), uint8, class indices.
    """

    rows: StoredRows
    chosen: NDArray[np.int64]
    labels: NDArray[np.uint8]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.shape[0], self.rows.shape[1]

    @property
    def channels(self) -> int:
        """Channels C."""
        return self.rows.shape[2]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.chosen)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images at `indices`, (B, H, W, C) uint8.

        Raises:
            DataError: an index is out of range; the file is gone or has changed.
        """
        return self.rows.read(self.chosen[check_indices(indices, len(self))])


def open_npz(
    path: Path,
    split: Split,
    *,
    limit: int | None = None,
    labels: Sequence[str] | None = None,
) -> Patches:
    """Open one split of an `.npz` file.

    Args:
        path: The file.
        split: "train", "valid" or "test"; a file without splits is a test set.
        limit: Use so many images, evenly spread over all of them.
        labels: Names of the classes in the order of the logits, for a file that names
            its own ones in another order.

    Raises:
        DataError: the file is missing, damaged or too large to unpack; an array is
            missing or has another type or shape; a label is out of range or unknown;
            nothing is in it.
    """
    try:
        with zipfile.ZipFile(path) as zipped:
            return _patches(Archive(path, zipped), split, limit, labels)
    except DataError:
        raise
    except Exception as error:
        # zipfile's, zlib's and numpy's errors on damaged files have no common base.
        raise DataError(
            f"{path}: cannot be read as an .npz file ({one_line(error)}); wanted one "
            f"that numpy.savez wrote (save or copy it again)"
        ) from error


def _patches(
    archive: Archive, split: Split, limit: int | None, names: Sequence[str] | None
) -> Patches:
    """The images of a split."""
    image_key, label_key = _keys(archive)
    header = archive.header(image_key)
    shape = _shape(archive, header)
    labels = _labels(archive, label_key, header.shape[0], names)
    every = _rows_of_split(archive, split, header.shape[0])
    rows = rows_of(every, limit, str(archive.path))
    if not len(rows):
        raise DataError(f"{archive.path}: 0 images; wanted at least 1 (save it again)")
    images = _read_through(archive, header, rows, math.prod(shape))
    if images is not None:
        return ArrayPatches(images.reshape(-1, *shape), labels[rows])
    stored = StoredRows(archive.path, archive.offset(header), shape)
    return NpzPatches(stored, rows, labels[rows])


def _keys(archive: Archive) -> tuple[str, str]:
    """Names of images and labels."""
    for pair in _KEYS:
        if archive.keys.issuperset(pair):
            return pair
    raise DataError(
        f"{archive.path}: arrays {', '.join(sorted(archive.keys)[:9]) or '(none)'}; "
        f"wanted 'images' and 'labels', or 'x' and 'y' (save it with these names)"
    )


def _shape(archive: Archive, header: Header) -> tuple[int, int, int]:
    """Height, width and channels of the images."""
    if header.dtype == np.uint8 and len(header.shape) in (3, 4):
        height, width, channels = (*header.shape[1:], 1)[:3]
        if min(height, width) > 0 and 1 <= channels <= most_channels(height, width):
            return height, width, channels
    raise archive.wrong(header, "(N, H, W, C) or (N, H, W) of uint8")


def _labels(
    archive: Archive, key: str, count: int, names: Sequence[str] | None
) -> NDArray[np.uint8]:
    """Class indices, in the order of `names` where the file has names too."""
    found = archive.integers(key, count)
    own = archive.names("classes")
    limit = MAX_CLASSES if own is None else min(len(own), MAX_CLASSES)
    outside = (found < 0) | (found >= limit)
    if outside.any():
        where = int(outside.argmax())
        raise DataError(
            f"{archive.path}: label {found[where]} at index {where}; wanted 0 to "
            f"{limit - 1} (relabel it)"
        )
    if own is None or names is None:
        return found.astype(np.uint8)
    for name in own:
        if name not in names:
            raise DataError(
                f"{archive.path}: a class is called {name!r}; wanted the network's "
                f"labels {', '.join(list(names)[:5])} (rename it in 'classes')"
            )
    return np.asarray([names.index(name) for name in own], np.uint8)[found]


def _rows_of_split(archive: Archive, split: Split, count: int) -> NDArray[np.int64]:
    """Indices of the images of a split, in order."""
    found = archive.names("split", count)
    if found is None:
        no_splits(archive.path, split, "add an array 'split' of names")
        return np.arange(count)
    names = np.asarray(found)
    for name in NAMES[split]:
        if (names == name).any():
            return np.flatnonzero(names == name)
    raise DataError(
        f"{archive.path}: has splits {', '.join(sorted(set(found))[:5])}; wanted "
        f"{split} (use another split)"
    )


def _read_through(
    archive: Archive, header: Header, rows: NDArray[np.int64], row_bytes: int
) -> NDArray[np.uint8] | None:
    """Images (N, bytes) of `rows` if they are compressed; None if they are stored.

    Either way the entry is read to its end, where zipfile compares checksums.
    """
    size = len(rows) * row_bytes
    if not header.stored and size > MAX_UNPACKED:
        raise DataError(
            f"{archive.path}: {header}, compressed, and {size:,} bytes of it would be "
            f"unpacked; wanted at most {MAX_UNPACKED:,} (save it with numpy.savez, or "
            f"use fewer images)"
        )
    with archive.zipped.open(header.part) as stream:
        stream.read(header.start)
        unpacked = None if header.stored else _chosen(stream, rows, row_bytes)
        while stream.read(_BLOCK):
            pass
    return unpacked


def _chosen(
    stream: IO[bytes], rows: NDArray[np.int64], row_bytes: int
) -> NDArray[np.uint8]:
    """Rows of a stream that come in ascending order, (N, row_bytes)."""
    found = np.empty((len(rows), row_bytes), np.uint8)
    at = 0
    for place, row in enumerate(rows.tolist()):
        stream.seek((row - at) * row_bytes, 1)
        found[place] = np.frombuffer(stream.read(row_bytes), np.uint8)
        at = row + 1
    return found
