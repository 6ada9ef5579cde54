"""Small files in PCam's official layout, for tests."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

COUNT = 37  # not a multiple of any chunk height that the tests use


def images_path(directory: Path, split: str = "train") -> Path:
    """Return where a split's images lie."""
    return directory / f"camelyonpatch_level_2_split_{split}_x.h5"


def labels_path(directory: Path, split: str = "train") -> Path:
    """Return where a split's labels lie."""
    return directory / f"camelyonpatch_level_2_split_{split}_y.h5"


def write_array(
    path: Path,
    key: str,
    values: NDArray[np.generic],
    chunks: tuple[int, ...] | None = None,
    compression: str | None = None,
) -> None:
    """Write one data set as the only one of a new file."""
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=values, chunks=chunks, compression=compression)


def numbered(count: int) -> NDArray[np.uint8]:
    """Return patches (count, 96, 96, 3) that differ from one another."""
    rng = np.random.default_rng(count)
    small = rng.integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)


def write_pcam(
    directory: Path,
    count: int = COUNT,
    chunks: tuple[int, ...] | None = (8, 96, 96, 3),
    compression: str | None = None,
) -> NDArray[np.uint8]:
    """Write a train split with labels 0, 1, 0, ... and return its images."""
    directory.mkdir(exist_ok=True)
    images = numbered(count)
    labels = (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)
    write_array(images_path(directory), "x", images, chunks, compression)
    write_array(labels_path(directory), "y", labels)
    return images
