"""Reading files of strangers: whole, within bounds, never waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.bundle import MANIFEST, open_bundle, write_bundle
from mobileq.errors import BundleError
from mobileq.reading import read_bounded


@given(data=st.binary(max_size=99), spare=st.integers(0, 3))
def test_a_file_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, spare: int
) -> None:
    """Up to the limit, and with the limit itself."""
    path = tmp_path_factory.mktemp("x") / "x"
    path.write_bytes(data)
    assert read_bounded(path, len(data) + spare) == data


def _pipe(path: Path) -> Path:
    """A named pipe that nobody writes to."""
    os.mkfifo(path)
    return path


def _large(path: Path) -> Path:
    """A terabyte of zeros that takes no space."""
    with path.open("wb") as file:
        file.truncate(2**40)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file or directory"),
        ("directory", "Is a directory"),
        ("pipe", "not a regular file"),
        ("device", "not a regular file"),
        ("large", r"1,099,511,627,776 bytes, more than 2,147,483,648"),
    ],
)
def test_what_is_no_file_is_refused(kind: str, reason: str, tmp_path: Path) -> None:
    """At once, with the reason in the error, and nothing is read into memory."""
    path = {
        "missing": lambda: tmp_path / "nothing",
        "directory": lambda: tmp_path,
        "pipe": lambda: _pipe(tmp_path / "pipe"),
        "device": lambda: Path("/dev/zero"),
        "large": lambda: _large(tmp_path / "large"),
    }[kind]()
    with pytest.raises(OSError, match=reason) as caught:
        read_bounded(path)
    assert caught.value.strerror is not None


@pytest.mark.parametrize("name", ["model.int8.onnx", MANIFEST])
def test_a_pipe_in_a_bundle_is_one_line(name: str, tmp_path: Path) -> None:
    """A program that waits for a file of a stranger would wait for ever."""
    path = tmp_path / "x.mobileq"
    write_bundle(path, {"model.int8.onnx": b"onnx"}, {})
    (path / name).unlink()
    _pipe(path / name)
    with pytest.raises(BundleError, match=f"{name}: cannot be read .not a regular"):
        open_bundle(path).read("model.int8.onnx")
