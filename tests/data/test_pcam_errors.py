"""PCam's HDF5 files: everything that may be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from data.pcam_files import (
    COUNT,
    images_path,
    labels_path,
    numbered,
    write_array,
    write_pcam,
)
from mobileq.data.pcam import open_pcam
from mobileq.errors import DataError


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """The message says what was wanted there and where to get it."""
    with pytest.raises(
        DataError, match=r"gone: no such .*`mobileq data pcam .*gone` downloads"
    ):
        open_pcam(tmp_path / "gone", "train")


@pytest.mark.parametrize("key", ["x", "y"])
def test_a_missing_file_is_named(tmp_path: Path, key: str) -> None:
    """The message names the file wanted and how to get it."""
    write_pcam(tmp_path)
    path = images_path(tmp_path) if key == "x" else labels_path(tmp_path)
    path.unlink()
    wanted = rf"train_{key}.h5: no such file, .* downloads and unpacks cam.*{key}.h5.gz"
    with pytest.raises(DataError, match=wanted):
        open_pcam(tmp_path, "train")


def test_a_packed_file_is_recognised(tmp_path: Path) -> None:
    """Where only the .gz lies there, unpacking is the remedy, not another download."""
    write_pcam(tmp_path)
    path = images_path(tmp_path)
    path.rename(path.with_name(path.name + ".gz"))
    with pytest.raises(DataError, match=r"no such file.* data pcam .*` unpacks camel"):
        open_pcam(tmp_path, "train")


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _overwrite(path: Path) -> None:
    path.write_bytes(b"not HDF5 at all" * 100)


@pytest.mark.parametrize("damage", [_truncate, _overwrite])
@pytest.mark.parametrize("where", [images_path, labels_path])
def test_damaged_files_are_rejected(
    tmp_path: Path,
    damage: Callable[[Path], None],
    where: Callable[[Path], Path],
) -> None:
    """A truncated or foreign file is an error of the data, on one line."""
    write_pcam(tmp_path)
    damage(where(tmp_path))
    with pytest.raises(DataError, match=r"_[xy].h5: not a readable HDF5") as caught:
        open_pcam(tmp_path, "train")
    assert "\n" not in str(caught.value)


WRONG: dict[str, tuple[str, str, NDArray[np.generic], str]] = {
    "image key": (
        "x",
        "images",
        numbered(4),
        r"no data set 'x' \(found \['images'\]\)",
    ),
    "label key": ("y", "z", np.zeros((4, 1, 1, 1), np.uint8), r"no data set 'y'"),
    "image type": ("x", "x", numbered(4) / 255, r"of float64, wanted \(N, 96, 96, 3\)"),
    "image shape": ("x", "x", np.zeros((4, 3, 96, 96), np.uint8), r"\(4, 3, 96, 96\)"),
    "image rank": ("x", "x", np.zeros((96, 96, 3), np.uint8), r"shape \(96, 96, 3\)"),
    "label type": ("y", "y", np.zeros((4, 1, 1, 1), np.float32), r"of float32, wanted"),
    "label shape": ("y", "y", np.zeros(4, np.uint8), r"shape \(4,\) of uint8, wanted"),
    "label value": (
        "y",
        "y",
        np.array([0, 1, 7, 0], np.uint8).reshape(4, 1, 1, 1),
        r"label 7 at index 2, wanted 0 or 1",
    ),
    "lengths": ("y", "y", np.zeros((5, 1, 1, 1), np.uint8), r"5 labels, wanted 4 as"),
}


@pytest.mark.parametrize(
    ("which", "key", "values", "message"), WRONG.values(), ids=WRONG
)
def test_files_of_another_layout_are_rejected(
    tmp_path: Path, which: str, key: str, values: NDArray[np.generic], message: str
) -> None:
    """Names, types, shapes, lengths and label values are checked at opening."""
    write_pcam(tmp_path, count=4, chunks=(4, 96, 96, 3))
    path = images_path(tmp_path) if which == "x" else labels_path(tmp_path)
    write_array(path, key, values)
    with pytest.raises(DataError, match=message):
        open_pcam(tmp_path, "train")


def test_an_empty_split_is_rejected(tmp_path: Path) -> None:
    """Files without any patch are useless."""
    write_array(images_path(tmp_path), "x", np.zeros((0, 96, 96, 3), np.uint8))
    write_array(labels_path(tmp_path), "y", np.zeros((0, 1, 1, 1), np.uint8))
    with pytest.raises(DataError, match=r"0 patches, wanted at least 1"):
        open_pcam(tmp_path, "train")


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_rejected(tmp_path: Path, limit: int) -> None:
    """A limit that leaves nothing is a mistake."""
    with pytest.raises(DataError, match=rf"limit is {limit}, wanted at least 1"):
        open_pcam(tmp_path, "train", limit=limit)


@pytest.mark.parametrize("handle_open", [False, True])
def test_a_file_that_vanishes_is_reported(tmp_path: Path, handle_open: bool) -> None:
    """Rows wanted after the file is gone are an error, opened already or not."""
    write_pcam(tmp_path)
    patches = open_pcam(tmp_path, "train")
    if handle_open:
        patches.read(np.arange(8))
    images_path(tmp_path).unlink()
    with pytest.raises(
        DataError, match=r"rows 32 to 39 of 'x' cannot be read any more"
    ):
        patches.read(np.array([COUNT - 1]))


def test_a_file_cut_short_while_reading_is_reported(tmp_path: Path) -> None:
    """HDF5 would fill the missing rows with zeros; they must not become images."""
    write_pcam(tmp_path, chunks=None)
    patches = open_pcam(tmp_path, "train")
    patches.read(np.arange(2))
    size = images_path(tmp_path).stat().st_size
    _truncate(images_path(tmp_path))
    with pytest.raises(DataError, match=rf"has {size // 2} bytes, wanted {size}"):
        patches.read(np.array([COUNT - 1]))


def test_a_block_that_cannot_be_unpacked_is_reported(tmp_path: Path) -> None:
    """Damage inside a chunk shows only when that chunk is read."""
    images = write_pcam(tmp_path, compression="gzip")
    with h5py.File(images_path(tmp_path)) as file:
        place = file["x"].id.get_chunk_info(2).byte_offset
    with images_path(tmp_path).open("r+b") as raw:
        raw.seek(place)
        raw.write(b"\xff" * 64)
    patches = open_pcam(tmp_path, "train")
    np.testing.assert_array_equal(patches.read(np.arange(16)), images[:16])
    with pytest.raises(
        DataError, match=r"rows 16 to 23 of 'x' cannot be read"
    ) as caught:
        patches.read(np.array([20]))
    assert "\n" not in str(caught.value)
