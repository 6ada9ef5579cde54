"""What a user of a bundle needs to know, as plain values."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from mobileq import __version__
from mobileq.certify import INTEGER
from mobileq.contract import Contract, Head
from mobileq.deploy.files import Deployment
from mobileq.quant.heads import SCORES
from mobileq.recipe import Recipe
from mobileq.verify.ladder import Rung
from mobileq.verify.symmetry import asymmetry

PACKAGES = ("torch", "escnn", "onnx", "onnxruntime", "tensorflow-cpu", "ai-edge-litert")


VALUES = {
    "uint8": "uint8, raw pixels",
    "int8": "int8, pixel - 128 (ONNX: uint8, raw pixels)",
    "float32": "float32, (pixel - pixel_zero) * pixel_scale",
}
"""What a file's input holds, by its type."""


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
            "float_files": VALUES[made.contract.end(integer=False)],
            "int8_files": VALUES[made.contract.end(integer=True)],
            "layout": {"onnx": "NCHW", "tflite": "NHWC"},
        },
        "contract": contract_of(made),
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


def contract_of(made: Deployment) -> dict[str, Any]:
    """What each file takes and returns, as plain values.

    Pixels are normalized as (pixel - mean) / std; a file whose input is uint8 or int8
    does so itself. Scores of an integer TFLite file have their scale and zero point in
    the signed domain; a uint8 output adds 128 to both integer and zero point.
    """
    contract, image = made.contract, made.graph.input
    told: dict[str, Any] = {
        "name": contract.name,
        "description": contract.description,
        "head": contract.head.value,
        "output": contract.head.output,
        "labels": list(contract.labels),
        "input_type": contract.end_type,
        "batch": contract.batch or "dynamic",
        "normalization": {"mean": image.pixel_zero, "std": 1 / image.pixel_scale},
        "files": {name: _ends(name, contract) for name in made.files},
    }
    if contract.head is not Head.NONE:
        told["scores"] = {"scale": SCORES.scale, "zero_point": SCORES.zero_point}
    return told


def _ends(name: str, contract: Contract) -> dict[str, Any]:
    """Types, layout and batch of one file."""
    onnx = name.endswith(".onnx")
    end: str = contract.end(integer=INTEGER in name)
    if onnx and end == "int8":
        end = "uint8"
    tflite_output = end if INTEGER in name else "float32"
    return {
        "input": end,
        "layout": "NCHW" if onnx else "NHWC",
        "output": "float32" if onnx else tflite_output,
        "batch": (contract.batch or "dynamic") if onnx else 1,
    }


def _environment() -> dict[str, str]:
    """Versions that made the files."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
