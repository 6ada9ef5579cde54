"""What a user of a bundle needs to know, as plain values."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from mobileq import __version__
from mobileq.deploy.files import Deployment
from mobileq.recipe import Recipe
from mobileq.verify.ladder import Rung
from mobileq.verify.symmetry import asymmetry

PACKAGES = ("torch", "escnn", "onnx", "onnxruntime", "tensorflow-cpu", "ai-edge-litert")


def manifest_of(
    made: Deployment, recipe: Recipe, rungs: Sequence[Rung]
) -> dict[str, Any]:
    """What a user of the bundle needs to know, as plain values."""
    image = made.graph.input
    reason = asymmetry(made.graph)
    manifest: dict[str, Any] = {
        "mobileq": __version__,
        "group": image.fields.group,
        "input": {
            "shape": list(image.shape),
            "pixel_scale": image.pixel_scale,
            "pixel_zero": image.pixel_zero,
            "float_files": "float32, (pixel - pixel_zero) * pixel_scale",
            "int8_files": "uint8, raw pixels",
            "layout": {"onnx": "NCHW", "tflite": "NHWC"},
        },
        "classes": made.graph.shapes[made.graph.output][0],
        "multiply_adds": made.graph.multiply_adds,
        "exact_symmetry": {
            "motions": [] if reason else [list(m) for m in image.fields.motions],
            "why_not": reason,
        },
        "ladder": [rung.to_dict() for rung in rungs],
        "environment": _environment(),
    }
    if made.quantized is not None:
        quantized = made.quantized
        output = quantized.spec.activations[quantized.graph.output]
        manifest["recipe"] = recipe.to_dict()
        manifest["quantization"] = {
            "output": {"scale": output.scale, "zero_point": output.zero_point},
            "passes": [stage.name for stage in quantized.stages],
            "notes": list(quantized.notes),
            "ranges": {
                name: {"low": r.low, "high": r.high, "source": r.source}
                for name, r in quantized.ranges.items()
            },
        }
    return manifest


def _environment() -> dict[str, str]:
    """Versions that made the files."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
