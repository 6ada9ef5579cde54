"""The output directory: exported files, and a manifest that says what they are.

    model.mobileq/
        model.float.onnx  model.int8.onnx  model.float.tflite  model.int8.tflite
        manifest.json     source, recipe, hashes, verification ladder

A bundle is written beside its target and renamed, so that it is there whole or not at
all; an existing one is kept unless it may be overwritten.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobileq.errors import BundleError
from mobileq.reading import read_bounded

SUFFIX = ".mobileq"
MANIFEST = "manifest.json"
FORMAT = "mobileq-bundle"
VERSION = 1
MOST_MANIFEST = 2**26
"""Bytes; a network of a thousand layers has one of one million."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """An exported network on disk.

    Attributes:
        path: The directory.
        manifest: Content of manifest.json.
    """

    path: Path
    manifest: Mapping[str, Any]

    def read(self, name: str) -> bytes:
        """Bytes of one file, checked against the manifest's hash.

        Raises:
            BundleError: the file is missing or has changed.
        """
        entry = self.manifest["files"].get(name)
        if entry is None:
            raise BundleError(
                f"{self.path}: holds no {name}; wanted one of "
                f"{', '.join(self.manifest['files'])} (export again with --formats)"
            )
        file = self.path / name
        try:
            data = read_bounded(file)
        except OSError as error:
            raise BundleError(
                f"{file}: cannot be read ({error.strerror}); wanted the file that the "
                f"manifest names (export again)"
            ) from error
        found = hashlib.sha256(data).hexdigest()
        if found != entry["sha256"]:
            raise BundleError(
                f"{file}: SHA-256 is {found[:12]}..., the manifest says "
                f"{entry['sha256'][:12]}...; wanted the exported file (export again)"
            )
        return data


def write_bundle(
    path: Path,
    files: Mapping[str, bytes],
    manifest: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle, whole or not at all.

    Args:
        path: Directory to make.
        files: Content by file name.
        manifest: Everything but format, version and the files' hashes.
        overwrite: Replace an existing bundle.

    Raises:
        BundleError: the target exists, is not a bundle, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    complete = _complete(manifest, files)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        text = json.dumps(complete, indent=1, allow_nan=False)
        (temporary / MANIFEST).write_text(text + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        _exchange(temporary, path)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be written ({error.strerror or error}); wanted a writable "
            f"directory with free space; nothing was changed"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return Bundle(path, complete)


def _complete(
    manifest: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, Any]:
    """The manifest with format, version, and size and hash of each file."""
    return {
        "format": FORMAT,
        "version": VERSION,
        **manifest,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in files.items()
        },
    }


def open_bundle(path: Path) -> Bundle:
    """Open a bundle.

    Raises:
        BundleError: it is missing, damaged, or of a newer format.
    """
    file = path / MANIFEST
    try:
        manifest = json.loads(read_bounded(file, MOST_MANIFEST).decode("utf-8"))
    except OSError as error:
        raise BundleError(
            f"{file}: cannot be read ({error.strerror}); wanted a bundle made by "
            f"'mobileq export'"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not JSON ({error}); wanted a manifest") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{file}: not a manifest of mobileq; wanted one")
    version = manifest.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise BundleError(
            f"{file}: bundle format {version!r}; this mobileq reads up to {VERSION} "
            f"(install a newer mobileq)"
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    ):
        raise BundleError(f"{file}: names no files; wanted them with their hashes")
    for name in files:
        if Path(name).name != name or name in ("", ".", "..", MANIFEST):
            raise BundleError(
                f"{file}: names the file {name!r}; wanted files in the bundle itself "
                f"(do not trust this bundle)"
            )
    return Bundle(path, manifest)


def is_bundle(path: Path) -> bool:
    """Whether a directory is a bundle: its manifest says so."""
    try:
        open_bundle(path)
    except BundleError:
        return False
    return True


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Check that a bundle may be written to `path`.

    Raises:
        BundleError: something is there that may not be replaced.
    """
    if not (path.exists() or path.is_symlink()):
        return
    if not overwrite:
        raise BundleError(
            f"{path}: exists already; wanted a new name (or --overwrite to replace it)"
        )
    empty = path.is_dir() and not any(path.iterdir())
    if path.is_symlink() or not (is_bundle(path) or empty):
        raise BundleError(
            f"{path}: is not a bundle, and --overwrite replaces only those; wanted "
            f"another --out"
        )


def _exchange(temporary: Path, path: Path) -> None:
    """Put `temporary` in the place of `path`, keeping the old one until it is there."""
    if not path.exists():
        temporary.replace(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    try:
        path.replace(old / path.name)
        try:
            temporary.replace(path)
        except BaseException:
            # An interruption may come after the exchange as well as before it.
            if not path.exists():
                (old / path.name).replace(path)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
