"""What a checkpoint, a bundle or a bare file is, as plain values.

Nothing is run, no network is built, and no code from a file is executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobileq.bundle import MANIFEST, Bundle, open_bundle
from mobileq.certify import TFLITE_MAGIC
from mobileq.checkpoint import Checkpoint, load_checkpoint, resolve
from mobileq.errors import BundleError, InputError, MobileqError
from mobileq.facts import FileFacts
from mobileq.reading import read_bounded

CHECKPOINT, BUNDLE, FILE = "checkpoint", "bundle", "file"
"""Kinds of things that can be inspected."""

SUFFIXES = (".tflite", ".onnx")
"""Of bare files."""


def inspect(target: str) -> dict[str, Any]:
    """Describe whatever a name stands for.

    Args:
        target: A bundle's directory, an exported file, a checkpoint's path or the name
            of a shipped one.

    Returns:
        Plain values; `kind` is one of `checkpoint`, `bundle`, `file`.

    Raises:
        MobileqError: it is none of these, or damaged.
    """
    path = Path(target)
    if path.is_dir() or path.name == MANIFEST:
        return _bundle(open_bundle(path if path.is_dir() else path.parent))
    if path.suffix in SUFFIXES:
        data = _read(path)
        return {"kind": FILE, "path": target, **_file(data, target)}
    return _checkpoint(load_checkpoint(target), resolve(target))


def _checkpoint(checkpoint: Checkpoint, path: Path) -> dict[str, Any]:
    """Architecture, weights and training."""
    dtypes: dict[str, int] = {}
    for tensor in checkpoint.weights.values():
        name = str(tensor.dtype).removeprefix("torch.")
        dtypes[name] = dtypes.get(name, 0) + tensor.numel()
    return {
        "kind": CHECKPOINT,
        "path": str(path),
        "sha256": checkpoint.sha256,
        "bytes": path.stat().st_size,
        "spec": checkpoint.spec.to_dict(),
        "tensors": len(checkpoint.weights),
        "numbers": dtypes,
        "training": dict(checkpoint.training),
    }


def _bundle(bundle: Bundle) -> dict[str, Any]:
    """The manifest, and each of its files as it is now."""
    files: dict[str, Any] = {}
    for name in bundle.manifest["files"]:
        try:
            data = bundle.read(name)
            files[name] = {"intact": True, **_content(data, name, bundle)}
        except MobileqError as error:
            files[name] = {"intact": False, "problem": str(error)}
    extra = sorted(
        entry.name
        for entry in bundle.path.iterdir()
        if entry.name not in {*files, MANIFEST}
    )
    return {
        "kind": BUNDLE,
        "path": str(bundle.path),
        "manifest": dict(bundle.manifest),
        "files": files,
        "not in the manifest": extra,
    }


def _content(data: bytes, name: str, bundle: Bundle) -> dict[str, Any]:
    """What an intact file of a bundle is; its size alone where it is no network."""
    if Path(name).suffix in SUFFIXES:
        return _file(data, str(bundle.path / name))
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _file(data: bytes, name: str) -> dict[str, Any]:
    """Size, hash and facts of an exported file."""
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **asdict(describe(data, name)),
    }


def describe(data: bytes, name: str) -> FileFacts:
    """Read a file of either format.

    Args:
        data: Its content; TFLite is known by its first bytes.
        name: For messages.

    Raises:
        InputError: it cannot be read.
    """
    if data[4:8] == TFLITE_MAGIC or name.endswith(".tflite"):
        from mobileq_tflite.describe import describe as read
    else:
        from mobileq_onnx.describe import describe as read
    return read(data, name)


def _read(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        InputError: missing or not readable.
    """
    try:
        return read_bounded(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); wanted a .tflite or .onnx file"
        ) from error


def require_intact(found: Mapping[str, Any]) -> None:
    """Check that every file of a bundle is the one that was exported.

    Args:
        found: What `inspect` returned.

    Raises:
        BundleError: naming the first that is not.
    """
    for entry in found["files"].values() if found["kind"] == BUNDLE else ():
        if not entry["intact"]:
            raise BundleError(entry["problem"])
