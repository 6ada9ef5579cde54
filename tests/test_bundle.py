"""The output directory: whole or not at all, and never over something else."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mobileq.bundle import (
    MANIFEST,
    VERSION,
    is_bundle,
    open_bundle,
    refuse_existing,
    write_bundle,
)
from mobileq.errors import BundleError

FILES = {"model.int8.tflite": b"integers", "model.float.onnx": bytes(1000)}


def _written(path: Path, **manifest: Any) -> Path:
    """A bundle at `path`."""
    write_bundle(path, FILES, {"source": "pcam", **manifest})
    return path


def test_round_trip(tmp_path: Path) -> None:
    """Files and manifest come back, with sizes and hashes."""
    path = _written(tmp_path / "deep" / "model.mobileq")
    bundle = open_bundle(path)
    assert {name: bundle.read(name) for name in FILES} == FILES
    assert bundle.manifest["source"] == "pcam"
    assert bundle.manifest["files"]["model.float.onnx"]["bytes"] == 1000
    assert is_bundle(path)
    assert sorted(p.name for p in path.iterdir()) == sorted([*FILES, MANIFEST])
    assert list(path.parent.iterdir()) == [path], "no temporary directory is left"


def test_an_existing_target_is_kept(tmp_path: Path) -> None:
    """Without overwrite nothing that exists is touched."""
    path = _written(tmp_path / "model.mobileq", source="first")
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("model.mobileq", "file", "link"):
        with pytest.raises(BundleError, match=f"{name}: exists already; wanted a new"):
            write_bundle(tmp_path / name, FILES, {})
    assert open_bundle(path).manifest["source"] == "first"
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_bundle_may_be_replaced(tmp_path: Path) -> None:
    """With overwrite the new one is there, and nothing of the old one."""
    path = _written(tmp_path / "model.mobileq")
    write_bundle(path, {"other.onnx": b"new"}, {"source": "second"}, overwrite=True)
    bundle = open_bundle(path)
    assert (bundle.manifest["source"], bundle.read("other.onnx")) == ("second", b"new")
    assert sorted(p.name for p in path.iterdir()) == [MANIFEST, "other.onnx"]
    assert list(tmp_path.iterdir()) == [path]
    empty = tmp_path / "empty"
    empty.mkdir()
    write_bundle(empty, FILES, {}, overwrite=True)
    assert is_bundle(empty)


@pytest.mark.parametrize("kind", ["file", "directory", "foreign manifest", "link"])
def test_only_bundles_are_replaced(tmp_path: Path, kind: str) -> None:
    """Overwrite is no licence to delete somebody's directory."""
    path = tmp_path / "target"
    kept = path / "thesis.tex"
    if kind == "file":
        path.write_bytes(b"mine")
    elif kind == "link":
        path.symlink_to(_written(tmp_path / "model.mobileq"))
    else:
        path.mkdir()
        kept.write_bytes(b"mine")
        if kind == "foreign manifest":
            (path / MANIFEST).write_text('{"name": "a web page"}')
    with pytest.raises(BundleError, match=r"target: is not a bundle, and --overwrite"):
        write_bundle(path, FILES, {}, overwrite=True)
    assert kind in ("file", "link") or kept.read_bytes() == b"mine"
    assert path.exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("existing", [True, False])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    existing: bool,
) -> None:
    """A full disk or Control-C in the middle keeps what was there."""
    path = tmp_path / "model.mobileq"
    if existing:
        _written(path, source="first")

    def fail(self: Path, data: str, **options: Any) -> int:
        raise error

    monkeypatch.setattr(Path, "write_text", fail)
    wanted = BundleError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        write_bundle(path, FILES, {}, overwrite=True)
    assert list(tmp_path.iterdir()) == ([path] if existing else [])
    assert not existing or open_bundle(path).manifest["source"] == "first"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [1, 2])
def test_an_interrupted_exchange_keeps_the_old_bundle(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    failing: int,
) -> None:
    """Whichever rename of the exchange fails, the old bundle is in its place."""
    path = _written(tmp_path / "model.mobileq", source="first")
    calls = []
    rename = os.replace

    def replace(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise error
        rename(self, target)
        return target

    monkeypatch.setattr(Path, "replace", replace)
    wanted = BundleError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        write_bundle(path, FILES, {"source": "second"}, overwrite=True)
    assert list(tmp_path.iterdir()) == [path]
    assert open_bundle(path).manifest["source"] == "first"


def test_changed_and_missing_files(tmp_path: Path) -> None:
    """A file is compared with its hash each time that it is read."""
    path = _written(tmp_path / "model.mobileq")
    bundle = open_bundle(path)
    changed = path / "model.int8.tflite"
    changed.write_bytes(b"integerz")
    with pytest.raises(BundleError, match=r"model.int8.tflite: SHA-256 is .* the mani"):
        bundle.read("model.int8.tflite")
    changed.unlink()
    with pytest.raises(BundleError, match=r"model.int8.tflite: cannot be read"):
        bundle.read("model.int8.tflite")
    with pytest.raises(BundleError, match=r"holds no model.int8.onnx; wanted one of"):
        bundle.read("model.int8.onnx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read (No such file or directory); wanted a bundle made by"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON (maximum recursion depth exceeded"),
        ("[]", "not a manifest of mobileq; wanted one"),
        ('{"format": "other"}', "not a manifest of mobileq; wanted one"),
        ({"version": VERSION + 1}, f"bundle format {VERSION + 1}; this mobileq reads"),
        ({"version": None}, "bundle format None; this mobileq reads up to"),
        ({"files": None}, "names no files; wanted them with their hashes"),
        ({"files": {"a": {}}}, "names no files; wanted them with their hashes"),
    ],
)
def test_damaged_manifests(tmp_path: Path, text: Any, message: str) -> None:
    """Each message names the manifest and what is wrong with it."""
    path = _written(tmp_path / "model.mobileq")
    file = path / MANIFEST
    if text is None:
        file.unlink()
    elif isinstance(text, dict):
        file.write_text(json.dumps({**json.loads(file.read_text()), **text}))
    else:
        file.write_text(text)
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)
    assert not is_bundle(path)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A file in the way of the parent directory is an error, not a traceback."""
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(BundleError, match=r"cannot be written .*; nothing was changed"):
        write_bundle(tmp_path / "file" / "model.mobileq", FILES, {})
    refuse_existing(tmp_path / "free", overwrite=False)
