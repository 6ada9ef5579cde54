"""Packages that only a part of mobileq needs, and what to tell whoever lacks one."""

from __future__ import annotations

from mobileq.errors import NotInstalledError

EXTRAS = {
    "ai_edge_litert": ("bench", "tflite"),
    "escnn": ("train",),
    "flatbuffers": ("bench", "tflite"),
    "h5py": ("bench", "train"),
    "jinja2": ("bench",),
    "lie_learn": ("train",),
    "matplotlib": ("bench",),
    "onnx": ("bench", "onnx"),
    "onnxruntime": ("bench", "onnx"),
    "pooch": ("train",),
    "requests": ("train",),
    "tensorflow": ("tflite",),
    "torch": ("train",),
    "urllib3": ("train",),
}
"""Extras of pyproject.toml that bring a module, by the name that it is imported by."""


def as_not_installed(error: ModuleNotFoundError) -> NotInstalledError | None:
    """What to tell a user whose installation lacks a module.

    Args:
        error: What an import raised.

    Returns:
        One line with the command that mends it; None if mobileq never asks for that
        module, so that the error is of another kind.
    """
    module = (error.name or "").partition(".")[0]
    extras = EXTRAS.get(module)
    if extras is None:
        return None
    wanted = " or ".join(f"pip install 'mobileq[{extra}]'" for extra in extras)
    return NotInstalledError(
        f"{module} is not installed, and this needs it; wanted {wanted} "
        f"(mobileq doctor shows what is there)"
    )
