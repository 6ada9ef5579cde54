"""What is to be run: the TFLite files of a bundle, or bare ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobileq_android.errors import PhoneError, one_line
from mobileq_android.flatfile import Tensor, ends_of

MANIFEST = "manifest.json"
MOST_MANIFEST = 2**24
NAMES = ("model.float.tflite", "model.int8.tflite")


@dataclass(frozen=True)
class Model:
    """A TFLite file.

    Attributes:
        path: Of the file.
        size: In bytes.
        sha256: Of its content.
        source: Its input.
        made: Its output.
        pixels: Scale and zero of a real input, (pixel - zero) * scale; None where
            nothing says so.
    """

    path: Path
    size: int
    sha256: str
    source: Tensor
    made: Tensor
    pixels: tuple[float, float] | None


def models_of(path: Path) -> tuple[Model, ...]:
    """The TFLite files of a bundle, or one file.

    Raises:
        PhoneError: it cannot be read, is damaged, or holds none.
    """
    if not path.is_dir():
        return (_model(path, None),)
    manifest = _manifest(path / MANIFEST)
    try:
        files, image = manifest["files"], manifest["input"]
        names = [name for name in NAMES if name in files]
        hashes = [str(files[name]["sha256"]) for name in names]
        pixels = float(image["pixel_scale"]), float(image["pixel_zero"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise PhoneError(
            f"{path / MANIFEST}: {type(error).__name__} {one_line(str(error))}; wanted "
            f"the manifest of 'mobileq export' (export again)"
        ) from error
    if not names:
        raise PhoneError(
            f"{path}: holds no TFLite file; wanted {' or '.join(NAMES)} (export again "
            f"with --formats tflite)"
        )
    models = tuple(_model(path / name, pixels) for name in names)
    for model, sha256 in zip(models, hashes, strict=True):
        if model.sha256 != sha256:
            raise PhoneError(
                f"{model.path}: SHA-256 is {model.sha256[:12]}..., the manifest says "
                f"{one_line(sha256)[:12]}...; wanted the file that was exported"
            )
    return models


def _manifest(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        PhoneError: it is missing, too large, or no JSON.
    """
    wanted = "wanted a bundle of 'mobileq export', or a .tflite file"
    try:
        if path.stat().st_size > MOST_MANIFEST:
            raise PhoneError(f"{path}: has more than {MOST_MANIFEST:,} bytes; {wanted}")
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise PhoneError(f"{path}: cannot be read ({error.strerror}); {wanted}") from (
            error
        )
    except (ValueError, RecursionError) as error:
        raise PhoneError(
            f"{path}: is no JSON ({one_line(str(error))}); {wanted}"
        ) from (error)
    if not isinstance(values, dict):
        raise PhoneError(f"{path}: is no manifest; {wanted}")
    return values


def _model(path: Path, pixels: tuple[float, float] | None) -> Model:
    """Read a file.

    Raises:
        PhoneError: it cannot be read, or is no TFLite file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PhoneError(
            f"{path}: cannot be read ({error.strerror}); wanted a .tflite file"
        ) from error
    if data[4:8] != b"TFL3":
        raise PhoneError(f"{path}: is no TFLite file; wanted one ('mobileq export')")
    source, made = ends_of(data, str(path))
    digest = hashlib.sha256(data).hexdigest()
    return Model(path, len(data), digest, source, made, pixels)
