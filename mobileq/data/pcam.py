"""PatchCamelyon (Veeling et al. 2018, arXiv:1806.03962) in its official HDF5 layout.

A split is two files, `camelyonpatch_level_2_split_{split}_x.h5` with data set `x`,
(N, 96, 96, 3) uint8, and `..._y.h5` with data set `y`, (N, 1, 1, 1) uint8. The images
of the training split are 7 GB: they are read in blocks as needed, only labels are
loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.data.blocks import BlockReader, block_rows, one_line
from mobileq.data.patches import check_indices, check_labels
from mobileq.data.splits import Split
from mobileq.errors import DataError

PATCH = 96
"""Edge of a PCam patch, in pixels."""

_SOURCE = "https://zenodo.org/records/2546921"


@dataclass(frozen=True, eq=False)
class PcamPatches:
    """One split of PCam on disk; implements `mobileq.data.patches.Patches`.

    Attributes:
        labels: shape (N,), uint8, 1 where the central 32x32 px contain tumour.
        reader: the images' block reader, (>= N, 96, 96, 3) uint8.
    """

    labels: NDArray[np.uint8]
    reader: BlockReader

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return PATCH, PATCH

    @property
    def channels(self) -> int:
        """RGB."""
        return 3

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the patches at `indices`, (B, 96, 96, 3) uint8; repeats are allowed.

        Raises:
            DataError: an index is out of range; the file is gone or unreadable.
        """
        return self.reader.read(check_indices(indices, len(self)))

    def epoch_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a random order of all patches, shape (N,), that reads each block once.

        See `shuffled_order`; the window is what the reader's cache holds.
        """
        return shuffled_order(
            len(self), self.reader.rows, rng, window=self.reader.capacity
        )


def shuffled_order(
    length: int, chunk: int, rng: np.random.Generator, window: int
) -> NDArray[np.int64]:
    """Return a permutation that is random, yet visits few chunks at a time.

    The chunks are shuffled, then the patches within each run of `window` chunks. With
    one window over everything it is a uniform permutation.

    Args:
        length: number of patches N.
        chunk: patches in a chunk.
        rng: source of the order; the same state gives the same order.
        window: chunks in memory together.

    Returns:
        Shape (N,), int64, a permutation of 0 to N - 1.

    Raises:
        DataError: `chunk` or `window` is below 1, or `length` below 0.
    """
    if length < 0 or chunk < 1 or window < 1:
        raise DataError(
            f"shuffled_order: length {length}, chunk {chunk}, window {window}; wanted "
            "length >= 0, chunk >= 1 and window >= 1"
        )
    chunks = rng.permutation(-(-length // chunk))
    order: NDArray[np.int64] = (chunks[:, None] * chunk + np.arange(chunk)).ravel()
    # Cut before dropping the places after the end, so that runs stay on chunk borders.
    runs = np.split(order, range(window * chunk, len(order), window * chunk))
    order = np.concatenate([rng.permutation(run[run < length]) for run in runs])
    return order.astype(np.int64, copy=False)


def open_pcam(
    directory: Path, split: Split, *, limit: int | None = None
) -> PcamPatches:
    """Open one split of PCam and check it.

    Args:
        directory: the folder with the unpacked HDF5 files.
        split: "train", "valid" or "test".
        limit: use the first `limit` patches only.

    Raises:
        DataError: a file is missing, no HDF5, truncated or of another layout; images
            and labels differ in number; a label is not 0 or 1; nothing is in it.
    """
    if limit is not None and limit < 1:
        raise DataError(f"PCam {split}: limit is {limit}, wanted at least 1 patch")
    if not directory.is_dir():
        raise DataError(
            f"{directory}: no such directory, wanted the one with PCam's HDF5 files: "
            f"`mobileq data pcam {directory}` downloads and unpacks them"
        )
    images = _find(directory, split, "x")
    labels = _find(directory, split, "y")
    reader = _open_images(images)
    values = _load_labels(labels)
    if len(values) != reader.shape[0]:
        raise DataError(
            f"{labels}: {len(values)} labels, wanted {reader.shape[0]} as there are "
            f"images in {images.name}: take both files from one download"
        )
    if not len(values):
        raise DataError(f"{images}: 0 patches, wanted at least 1: download it again")
    return PcamPatches(values[:limit].copy(), reader)


def _find(directory: Path, split: Split, key: str) -> Path:
    path = directory / f"camelyonpatch_level_2_split_{split}_{key}.h5"
    if path.is_file():
        return path
    packed = path.with_name(path.name + ".gz")
    what = "unpacks" if packed.is_file() else "downloads and unpacks"
    raise DataError(
        f"{path}: no such file, wanted PCam's {split} split: `mobileq data pcam "
        f"{directory}` {what} {packed.name}"
    )


def _open_images(path: Path) -> BlockReader:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            data = _dataset(file, path, "x", (PATCH, PATCH, 3))
            shape = tuple(int(extent) for extent in data.shape)
            rows = block_rows(data.chunks, int(np.prod(shape[1:])))
        return BlockReader(path, "x", shape, rows, path.stat().st_size)
    except OSError as error:
        raise _unreadable(path, error) from error


def _load_labels(path: Path) -> NDArray[np.uint8]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            labels: NDArray[np.uint8] = _dataset(file, path, "y", (1, 1, 1))[()]
    except OSError as error:
        raise _unreadable(path, error) from error
    check_labels(labels.reshape(-1), str(path))
    return labels.reshape(-1)


def _dataset(file: Any, path: Path, key: str, row: tuple[int, ...]) -> Any:
    import h5py

    data = file.get(key)
    if not isinstance(data, h5py.Dataset):
        raise DataError(
            f"{path}: no data set '{key}' (found {sorted(file)}), wanted PCam's "
            f"layout: download the file from {_SOURCE}"
        )
    if data.dtype != np.uint8 or data.shape[1:] != row or len(data.shape) != 4:
        raise DataError(
            f"{path}: '{key}' has shape {data.shape} of {data.dtype}, wanted "
            f"(N, {', '.join(map(str, row))}) of uint8: download it from {_SOURCE}"
        )
    return data


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: not a readable HDF5 file ({one_line(error)}), wanted PCam's layout: "
        f"the download is incomplete or still packed, fetch it from {_SOURCE} again"
    )
