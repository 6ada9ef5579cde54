"""What the script reads of a bundle, damaged ones included."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq_android.bundle import models_of
from mobileq_android.errors import PhoneError
from mobileq_android.flatfile import ends_of
from mobileq_tflite.runner import TfliteRunner
from support.certified import small
from support.manifests import sound

FILE = "model.int8.tflite"


def write(folder: Path, **changes: Any) -> Path:
    """A bundle with one file, and with other values in its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    data = small("C4").files["tflite"]
    (folder / FILE).write_bytes(data)
    manifest = {
        **sound(),
        "files": {
            FILE: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        },
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_bundle(tmp_path: Path) -> None:
    """Hash, and the ends, as LiteRT's own interpreter has them."""
    (model,) = models_of(write(tmp_path))
    data = (tmp_path / FILE).read_bytes()
    runner = TfliteRunner(data, kernels="xnnpack")
    assert (model.source.name, model.source.shape) == runner.source
    shape, kind = runner.made
    assert (model.made.shape, model.made.kind) == (shape, kind.name)
    assert model.made.item_bytes == kind.itemsize
    assert model.pixels == (1 / 128, 128)
    assert model.sha256 == hashlib.sha256(data).hexdigest()
    assert model.size == len(data)


def test_a_bare_file(tmp_path: Path) -> None:
    """It says what it takes, but not how pixels are normalized."""
    write(tmp_path)
    (model,) = models_of(tmp_path / FILE)
    assert model.source.kind == "uint8"
    assert model.pixels is None


def refused(path: Path) -> str:
    """What is said of it."""
    with pytest.raises(PhoneError) as caught:
        models_of(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    """Missing, of another kind, or changed since the export."""
    assert "cannot be read" in refused(tmp_path / "none.tflite")
    assert "cannot be read" in refused(tmp_path)
    other = tmp_path / "a.tflite"
    other.write_bytes(b"rubbish")
    assert "is no TFLite file" in refused(other)
    bundle = write(tmp_path / "b")
    (bundle / FILE).write_bytes((bundle / FILE).read_bytes() + b"x")
    assert "the manifest says" in refused(bundle)
    assert "holds no TFLite file" in refused(write(tmp_path / "c", files={}))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"files": 3}', "[" * 100_000, "\udcff"]
)
def test_manifests_that_are_none(text: str, tmp_path: Path) -> None:
    """One line that names the file."""
    write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert str(path) in refused(tmp_path)


@given(data=st.data())
def test_damaged_files(data: st.DataObject) -> None:
    """Any damage ends in what the file says, or in one line."""
    whole = bytearray(small("C4").files["tflite"])
    for _ in range(data.draw(st.integers(1, 4))):
        # Offsets are at the beginning, tensors at the end.
        near = st.integers(0, 4096) | st.integers(len(whole) - 8192, len(whole) - 1)
        place = data.draw(near)
        new = data.draw(st.binary(min_size=1, max_size=4))
        whole[place : place + len(new)] = new
    complaint = ""
    try:
        source, _ = ends_of(bytes(whole[: data.draw(st.integers(8, len(whole)))]), "f")
        assert source.shape
    except PhoneError as error:
        complaint = str(error)
    assert "\n" not in complaint


ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(
    key=st.sampled_from(["files", "input", "contract", "classes"]),
    value=ANYTHING | st.dictionaries(st.text(), ANYTHING),
)
def test_any_value_anywhere(
    key: str, value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Read or refused in one line."""
    bundle = write(tmp_path_factory.mktemp("bundle"), **{key: value})
    complaint = ""
    try:
        assert models_of(bundle)
    except PhoneError as error:
        complaint = str(error)
    assert "\n" not in complaint
