"""Labelled images in .npz files."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.data import npz
from mobileq.data.npz import NpzPatches
from mobileq.data.patches import ArrayPatches, Patches
from mobileq.data.source import open_split
from mobileq.errors import DataError
from support.images import random_pixels

IMAGES = random_pixels(12, (3, 9, 7), seed=1)
LABELS = np.arange(12) % 3


def save(path: Path, *, packed: bool = False, **arrays: NDArray[Any]) -> str:
    """Write an .npz file as numpy does."""
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return str(path)


def read_all(patches: Patches) -> NDArray[np.uint8]:
    """All images of a set."""
    return patches.read(np.arange(len(patches)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y")])
def test_what_was_saved_is_read(
    keys: tuple[str, str], packed: bool, tmp_path: Path
) -> None:
    """Stored and compressed files, under both pairs of names, in any order."""
    path = save(
        tmp_path / "a.npz",
        packed=packed,
        **dict(zip(keys, (IMAGES, LABELS), strict=True)),
    )
    found = open_split(path, "test")
    assert isinstance(found, ArrayPatches if packed else NpzPatches)
    assert (len(found), found.size, found.channels) == (12, (9, 7), 3)
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, LABELS)
    np.testing.assert_array_equal(read_all(found), IMAGES)
    rows = np.array([11, 3, 3, 0])
    np.testing.assert_array_equal(found.read(rows), IMAGES[rows])
    with pytest.raises(DataError, match="patch index 12 is out of range"):
        found.read(np.array([12]))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("limit", [1, 5, 12, 99])
def test_a_limit_is_spread_evenly(limit: int, packed: bool, tmp_path: Path) -> None:
    """Labels and images of the same rows are used, from the whole file."""
    path = save(tmp_path / "a.npz", packed=packed, images=IMAGES, labels=LABELS)
    found = open_split(path, "test", limit=limit)
    rows = np.arange(min(limit, 12)) * 12 // min(limit, 12)
    np.testing.assert_array_equal(found.labels, LABELS[rows])
    np.testing.assert_array_equal(read_all(found), IMAGES[rows])


@pytest.mark.parametrize("packed", [False, True])
def test_grey_and_other_channels(packed: bool, tmp_path: Path) -> None:
    """(N, H, W) is one channel, and the network's number of channels must be met."""
    grey = save(tmp_path / "g.npz", packed=packed, images=IMAGES[..., 0], labels=LABELS)
    found = open_split(grey, "test", channels=1)
    np.testing.assert_array_equal(read_all(found), IMAGES[..., :1])
    with pytest.raises(DataError, match="images of 1 channels; wanted 3"):
        open_split(grey, "test")
    six = np.concatenate([IMAGES, IMAGES], axis=3)
    many = save(tmp_path / "m.npz", packed=packed, images=six, labels=LABELS)
    np.testing.assert_array_equal(
        read_all(open_split(many, "test", channels=6, resize=7)), six[:, 1:8]
    )


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int64, np.dtype(">i4"), np.uint64, np.bool_]
)
def test_labels_of_any_integer_type(dtype: Any, tmp_path: Path) -> None:
    """They become bytes."""
    labels = (LABELS % 2).astype(dtype)
    path = save(tmp_path / "a.npz", images=IMAGES, labels=labels)
    np.testing.assert_array_equal(open_split(path, "test").labels, LABELS % 2)


@pytest.mark.parametrize("packed", [False, True])
def test_splits_and_names_of_classes(packed: bool, tmp_path: Path) -> None:
    """An array of splits chooses rows; names bring labels into the network's order."""
    splits = np.array(["train", "val", "test", "test"] * 3)
    path = save(
        tmp_path / "a.npz",
        packed=packed,
        x=IMAGES,
        y=LABELS,
        split=splits,
        classes=np.array(["c", "a", "b"]),
    )
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        found = open_split(path, split, labels=["a", "b", "c"])  # type: ignore[arg-type]
        np.testing.assert_array_equal(read_all(found), IMAGES[splits == name])
        wanted = np.array([2, 0, 1])[LABELS[splits == name]]
        np.testing.assert_array_equal(found.labels, wanted)
    with pytest.raises(DataError, match=r"class is called 'c'; wanted .* a, b, d"):
        open_split(path, "test", labels=["a", "b", "d"])


def test_a_set_without_splits_is_a_test_set(tmp_path: Path) -> None:
    """Training on it is refused: it would be tested on the same images."""
    path = save(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    with pytest.raises(DataError, match=r"without splits.*wanted the train split"):
        open_split(path, "train")
    other = save(
        tmp_path / "b.npz", images=IMAGES, labels=LABELS, split=np.array(["test"] * 12)
    )
    with pytest.raises(DataError, match="has splits test; wanted train"):
        open_split(other, "train")


def test_blood_cells(shared_data: Path) -> None:
    """A real, compressed file of three classes with splits of its own."""
    path = shared_data / "data" / "bccd_cells_96.npz"
    with np.load(path) as pack:
        images, labels = pack["x"][pack["split"] == "val"], pack["y"]
        labels = labels[pack["split"] == "val"]
    found = open_split(str(path), "valid", labels=["Platelets", "RBC", "WBC"])
    np.testing.assert_array_equal(read_all(found), images)
    np.testing.assert_array_equal(found.labels, (labels + 1) % 3)


Arrays = dict[str, NDArray[Any]]
OBJECTS = np.array([IMAGES[0], None], object)
BAD: dict[str, tuple[Arrays, str]] = {
    "one array": ({"images": IMAGES}, "arrays images; wanted 'images' and 'labels'"),
    "mixed names": ({"images": IMAGES, "y": LABELS}, "arrays images, y; wanted"),
    "float": (
        {"images": IMAGES / 255, "labels": LABELS},
        r"'images' has shape \(12, 9, 7, 3\) of float64; wanted .* of uint8",
    ),
    "NCHW": (
        {"images": IMAGES.transpose(0, 3, 1, 2).copy(), "labels": LABELS},
        r"shape \(12, 3, 9, 7\) of uint8; wanted \(N, H, W, C\)",
    ),
    "flat": ({"images": IMAGES.reshape(12, -1), "labels": LABELS}, r"\(12, 189\)"),
    "objects": ({"images": OBJECTS, "labels": LABELS[:2]}, "in Python objects"),
    "label objects": (
        {"images": IMAGES, "labels": LABELS.astype(object)},
        "'labels' has shape .* in Python objects, and was not opened",
    ),
    "Fortran": ({"images": np.asfortranarray(IMAGES), "labels": LABELS}, "Fortran"),
    "few labels": (
        {"images": IMAGES, "labels": LABELS[:5]},
        r"'labels' has shape \(5,\) of int64; wanted \(12,\) of integers",
    ),
    "columns": ({"images": IMAGES, "labels": LABELS[:, None]}, r"wanted \(12,\)"),
    "real labels": ({"images": IMAGES, "labels": LABELS / 2}, "float64; wanted"),
    "negative": ({"images": IMAGES, "labels": LABELS - 1}, "label -1 at index 0"),
    "large": ({"images": IMAGES, "labels": LABELS + 255}, "label 256 at index 1"),
    "nameless": (
        {"images": IMAGES, "labels": LABELS, "classes": np.array(["a", "b"])},
        "label 2 at index 2; wanted 0 to 1",
    ),
    "numbers for names": (
        {"images": IMAGES, "labels": LABELS, "split": LABELS},
        r"'split' has shape \(12,\) of int64; wanted \(12,\) of names",
    ),
    "nothing": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "0 images; wanted"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", BAD)
def test_arrays_of_another_kind(kind: str, packed: bool, tmp_path: Path) -> None:
    """One line names the array, what it is, and what was wanted."""
    arrays, message = BAD[kind]
    path = save(tmp_path / "bad.npz", packed=packed, **arrays)
    with pytest.raises(DataError, match=rf"bad.npz: .*{message}") as caught:
        open_split(path, "test")
    assert "\n" not in str(caught.value)


def header(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of bytes."""
    buffer = io.BytesIO()
    values = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, values)
    return buffer.getvalue()


def zipped(path: Path, parts: dict[str, bytes], method: int) -> str:
    """Write an archive of just these parts."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return str(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_asks_for_more_than_there_is(method: int, tmp_path: Path) -> None:
    """A few bytes that claim to be a terabyte are refused before any is set aside."""
    parts = {"x.npy": header((2**20, 2**10, 2**10)) + b"123", "y.npy": header((2**20,))}
    path = zipped(tmp_path / "a.npz", parts, method)
    with pytest.raises(DataError, match=r"which is not the .* bytes that it has"):
        open_split(path, "test")


def test_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Much that was compressed to little stays compressed: memory stays small."""
    monkeypatch.setattr(npz, "MAX_UNPACKED", 2**20)
    blank = np.zeros((4096, 64, 64, 3), np.uint8)
    path = save(
        tmp_path / "a.npz", packed=True, images=blank, labels=np.zeros(4096, int)
    )
    assert Path(path).stat().st_size < 2**17
    del blank
    tracemalloc.start()
    with pytest.raises(DataError, match="compressed, and 50,331,648 bytes of it would"):
        open_split(path, "test")
    few = open_split(path, "test", limit=16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(few) == 16
    # 16 images are 192 KiB; blocks of 1 MiB are read on the way to them.
    assert peak < 2**23


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(method: int, tmp_path: Path) -> None:
    """numpy writes none of them."""
    parts = {"x.npy": header((1, 4, 4)) + bytes(16), "y.npy": header((1,)) + b"\0"}
    path = zipped(tmp_path / "a.npz", parts, method)
    with pytest.raises(DataError, match="compressed in a way that numpy does not use"):
        open_split(path, "test")


FOREIGN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"no archive",
    "one array": lambda: header((1, 4, 4)) + bytes(16),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_files_that_are_no_archives(kind: str, tmp_path: Path) -> None:
    """They are named in a line."""
    path = tmp_path / "a.npz"
    path.write_bytes(FOREIGN[kind]())
    with pytest.raises(DataError, match=r"a.npz: cannot be read as an .npz file"):
        open_split(str(path), "test")


def test_a_missing_file(tmp_path: Path) -> None:
    """So is a file that is not there."""
    with pytest.raises(DataError, match=r"a.npz: cannot be read as an .npz file"):
        open_split(str(tmp_path / "a.npz"), "test")


@pytest.mark.parametrize("packed", [False, True])
def test_a_flipped_bit_is_found(packed: bool, tmp_path: Path) -> None:
    """Pixels are compared with the archive's checksum when the file is opened."""
    path = Path(save(tmp_path / "a.npz", packed=packed, images=IMAGES, labels=LABELS))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read as an .npz file"):
        open_split(str(path), "test")


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    """Reading goes on only from the file that was opened."""
    path = save(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    found = open_split(path, "test")
    with Path(path).open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"cannot be read any more .it has changed."):
        found.read(np.array([0]))
    Path(path).unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        found.read(np.array([0]))


def whole() -> bytes:
    """A small archive with all kinds of arrays but names of classes."""
    buffer = io.BytesIO()
    names = np.array(["test"] * 3)
    np.savez(buffer, images=IMAGES[:3], labels=LABELS[:3], split=names)
    return buffer.getvalue()


WHOLE = whole()
DAMAGE = st.lists(
    st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6
)


@settings(max_examples=200)
@given(DAMAGE, st.integers(0, len(WHOLE)))
def test_damaged_files_never_end_in_a_traceback(
    scratch: Path, changes: list[tuple[int, int]], length: int
) -> None:
    """Any damage is a DataError in one line, or leaves a set that can be read."""
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    path = scratch / "damaged.npz"
    path.write_bytes(data[:length] if length % 3 == 0 else data)
    message = ""
    try:
        read_all(open_split(str(path), "test"))
    except DataError as error:
        message = str(error)
    assert "\n" not in message


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for all examples of a property."""
    return tmp_path_factory.mktemp("npz")
