"""Certify integer files: read them in whatever format, and prove what can be proven."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mobileq.bundle import open_bundle
from mobileq.errors import InputError
from mobileq.proof import Certificate, certify_program
from mobileq.reading import read_bounded

TFLITE_MAGIC = b"TFL3"
INTEGER = ".int8."
"""In the names of a bundle's integer files."""


def certify(data: bytes, name: str) -> Certificate:
    """Prove what turning and mirroring the image cannot change in one file's output.

    Args:
        data: The file; TFLite is known by its first bytes, all else is read as ONNX.
        name: For messages.

    Raises:
        InputError: it cannot be read.
    """
    if data[4:8] == TFLITE_MAGIC or name.endswith(".tflite"):
        from mobileq_tflite.reader import read_program
    else:
        from mobileq_onnx.reader import read_program
    return certify_program(read_program(data, name), data)


def certify_files(files: Mapping[str, bytes]) -> dict[str, Certificate]:
    """Certify the integer files among some, by name."""
    return {
        name: certify(data, name) for name, data in files.items() if INTEGER in name
    }


def certify_path(path: Path) -> dict[str, Certificate]:
    """Certify a file, or the integer files of a bundle.

    Returns:
        Certificates by path as it was given.

    Raises:
        InputError: missing, not readable, or a bundle without integer files.
    """
    if path.is_dir():
        bundle = open_bundle(path)
        names = [name for name in bundle.manifest["files"] if INTEGER in name]
        if not names:
            raise InputError(
                f"{path}: holds no integer file; wanted one (export with --int8)"
            )
        return {str(path / n): certify(bundle.read(n), str(path / n)) for n in names}
    try:
        data = read_bounded(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); wanted a .tflite or .onnx "
            f"file, or a bundle"
        ) from error
    return {str(path): certify(data, str(path))}
