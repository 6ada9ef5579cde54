"""Patches without numpy are what numpy makes of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from mobileq.verify.runner import PixelMap
from mobileq_android.errors import PhoneError
from mobileq_android.images import Patches, read_patches

SHAPES = st.tuples(*[st.integers(1, 5)] * 2, st.integers(1, 3)).map(
    lambda s: (s[0], s[1], s[1], s[2])
)


def patches_of(array: np.ndarray) -> Patches:
    """The same pixels."""
    count, height, width, channels = array.shape
    return Patches(array.tobytes(), (count, height, width, channels))


@given(hn.arrays(np.uint8, SHAPES), st.integers(-5, 9))
def test_turns(array: np.ndarray, quarters: int) -> None:
    """Quarter turns counter-clockwise, as numpy.rot90 does them."""
    found = patches_of(array).turned(quarters)
    wanted = np.rot90(array, quarters, axes=(1, 2))
    assert found.data == wanted.tobytes()
    assert len(found.images()) == len(array)


@given(hn.arrays(np.uint8, SHAPES), st.floats(1e-3, 2), st.integers(0, 255))
def test_inputs(array: np.ndarray, scale: float, zero: int) -> None:
    """Raw inputs of every type are those that this machine's runner makes."""
    patches = patches_of(array)
    assert patches.as_input("uint8") == array.tobytes()
    assert patches.as_input("int8") == (array.astype(int) - 128).astype("i1").tobytes()
    found = np.frombuffer(patches.as_input("float32", scale, zero), np.float32)
    wanted = PixelMap(scale, zero).real(array).ravel()
    # Here float32 is rounded twice, there once.
    np.testing.assert_allclose(found, wanted, rtol=2e-7, atol=0)
    exact = np.frombuffer(patches.as_input("float32", 1 / 128, 128), np.float32)
    np.testing.assert_array_equal(exact, PixelMap().real(array).ravel())


def test_other_types_are_refused() -> None:
    """Of inputs that no file of ours has."""
    with pytest.raises(PhoneError, match="float16"):
        Patches(b"\0", (1, 1, 1, 1)).as_input("float16")


def test_files(tmp_path: Path) -> None:
    """What numpy.save writes is read, in every version of the format."""
    array = np.arange(2 * 3 * 3 * 1, dtype=np.uint8).reshape(2, 3, 3, 1)
    for version in ((1, 0), (2, 0), (3, 0)):
        path = tmp_path / "a.npy"
        with path.open("wb") as file:
            np.lib.format.write_array(file, array, version)
        assert read_patches(path) == patches_of(array)
        assert read_patches(path).square


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 3, 3, 3), np.float32),
        np.zeros((3, 3, 3), np.uint8),
        np.zeros((0, 3, 3, 3), np.uint8),
        np.asfortranarray(np.zeros((2, 3, 3, 3), np.uint8)),
    ],
    ids=["float", "one image", "none", "other order"],
)
def test_other_arrays_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    """With the file's name and what is wanted."""
    path = tmp_path / "a.npy"
    np.save(path, array)
    with pytest.raises(PhoneError, match=r"a\.npy: .*wanted a \.npy file") as caught:
        read_patches(path)
    assert "\n" not in str(caught.value)


@given(data=st.data())
def test_damaged_files(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any bytes, and any header, end in patches or in one line; no code is run."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((1, 2, 2, 1), np.uint8))
    whole = bytearray(buffer.getvalue())
    place = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.binary(max_size=8))
    whole[place : place + data.draw(st.integers(0, 8))] = new
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    path.write_bytes(whole)
    complaint = ""
    try:
        assert read_patches(path).count > 0
    except PhoneError as error:
        complaint = str(error)
    assert "\n" not in complaint


def test_missing_file(tmp_path: Path) -> None:
    """Is named."""
    with pytest.raises(PhoneError, match="No such file"):
        read_patches(tmp_path / "none.npy")
