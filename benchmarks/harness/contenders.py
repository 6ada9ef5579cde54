"""Files of one network by our quantizer and by the runtimes' own."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.others import (
    LITERT_INSTALL,
    MOST_KEPT,
    ORT_METHODS,
    OtherOnnx,
    OtherTflite,
    left_in_float,
    litert_static,
    ort_static,
)
from mobileq.certify import certify
from mobileq.checkpoint import load_checkpoint
from mobileq.collapse.collapse import collapse
from mobileq.deploy.files import deploy
from mobileq.errors import InputError
from mobileq.quant.affine import Affine
from mobileq.recipe import load_recipe
from mobileq.verify.runner import PixelMap, Runner
from mobileq.verify.torch_runner import torch_threads
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite.runner import TfliteRunner


@dataclass(frozen=True, eq=False)
class Contender:
    """One file.

    Attributes:
        name: Who made it.
        format: `TFLite` or `ONNX`.
        images: How many it was made with.
        runner: What runs it.
        dequantize: Of an integer runner's logits.
        group: What is proven of it, or why nothing was.
        left: Operators that are not in integers.
    """

    name: str
    format: str
    images: int
    runner: Runner
    dequantize: Affine | None = None
    group: str = ""
    left: tuple[str, ...] = ()


def contenders(
    name: str, calibration: NDArray[np.uint8]
) -> tuple[list[Contender], list[str]]:
    """All files of one network, float ones first in their format, and remarks."""
    checkpoint = load_checkpoint(name)
    size = checkpoint.spec.input_size
    pixels = PixelMap()
    with torch_threads(1):
        collapsed = collapse(checkpoint.build(), (3, size, size))
        made = {
            recipe: deploy(
                collapsed,
                recipe=load_recipe(recipe),
                calibration=None if recipe == "dfq" else calibration,
            )
            for recipe in ("dfq", "calibrated")
        }
    files = made["dfq"].files
    onnx, tflite = files["model.float.onnx"], files["model.float.tflite"]
    found = [
        Contender("float", "TFLite", 0, OtherTflite(tflite, pixels)),
        Contender("float", "ONNX", 0, OtherOnnx(onnx, pixels, integer=False)),
    ]
    for recipe, deployment in made.items():
        count = 0 if recipe == "dfq" else len(calibration)
        quantized = deployment.quantized
        assert quantized is not None
        output = quantized.spec.activations[quantized.graph.output]
        for kind in ("TFLite", "ONNX"):
            data = deployment.files[f"model.int8.{kind.lower()}"]
            runner: Runner = (
                TfliteRunner(data, kernels="xnnpack", pixels=pixels)
                if kind == "TFLite"
                else OnnxRunner(data, pixels=pixels)
            )
            group, left = proven(data), left_in_float(data, tflite=kind == "TFLite")
            who = f"mobileq, {recipe}"
            found.append(Contender(who, kind, count, runner, output, group, left))
    others, notes = _others(onnx, tflite, calibration, pixels)
    return found + others, notes


def _others(
    onnx: bytes, tflite: bytes, calibration: NDArray[np.uint8], pixels: PixelMap
) -> tuple[list[Contender], list[str]]:
    """Files by the runtimes' own quantizers."""
    images, count = pixels.normalize(calibration), len(calibration)
    found, notes = [], []
    for method in ORT_METHODS:
        name = f"ONNX Runtime, {method}"
        given = images if method == "MinMax" else images[:: -(-count // MOST_KEPT)]
        started = time.perf_counter()
        try:
            data = ort_static(onnx, given, method)
        except Exception as error:
            # What another quantizer cannot do is a result.
            notes.append(f"{name}: no file ({type(error).__name__}: {error}).")
            continue
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        runner: Runner = OtherOnnx(data, pixels)
        group, left = proven(data), left_in_float(data, tflite=False)
        found.append(Contender(name, "ONNX", len(given), runner, None, group, left))
    try:
        data = litert_static(tflite, images)
    except InputError:
        notes.append(f"LiteRT's quantizer is not installed ({LITERT_INSTALL}).")
        return found, notes
    group = proven(data)
    runner, left = OtherTflite(data, pixels), left_in_float(data, tflite=True)
    who = "LiteRT, static_wi8_ai8"
    found.append(Contender(who, "TFLite", count, runner, None, group, left))
    return found, notes


def proven(data: bytes) -> str:
    """The group of a file's certificate, or the reason for there being none."""
    try:
        certificate = certify(data, "file.tflite" if data[4:8] == b"TFL3" else "file")
    except InputError as error:
        return f"not read: {error}"
    if certificate.group == "C1":
        return f"none: {certificate.first_break}"
    return certificate.group
