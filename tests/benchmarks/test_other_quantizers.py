"""Adapters of other quantizers: their files run, and are what ours are held against."""

from __future__ import annotations

import importlib.util
from functools import cache

import numpy as np
import pytest

from benchmarks.harness.others import (
    ORT_METHODS,
    OtherOnnx,
    OtherTflite,
    left_in_float,
    litert_static,
    ort_static,
)
from mobileq.bench.equivariance import ROTATIONS, exact_symmetry
from mobileq.certify import certify
from mobileq.collapse.collapse import collapse
from mobileq.deploy.files import Deployment, deploy
from mobileq.errors import InputError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.verify.images import verification_images
from mobileq.verify.metrics import sqnr_db
from mobileq.verify.runner import PixelMap
from mobileq.verify.torch_runner import torch_threads

SPEC = ModelSpec(group="C4", width=0.1, input_size=23)
PIXELS = PixelMap()
CLOSE = 10.0
"""dB: an 8-bit network that was made from the right one is above it, by far; one of
wrong scales, layouts or images has about 0."""

needs_litert_quantizer = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_quantizer") is None,
    reason="ai_edge_quantizer is not installed",
)


@cache
def made() -> Deployment:
    """Files of a small network with random weights."""
    import torch

    torch.manual_seed(0)
    with torch_threads(1):
        model = build_model(SPEC).train()
        images = torch.from_numpy(PIXELS.normalize(pictures(0)))
        with torch.no_grad():
            for _ in range(12):
                model(images)
        return deploy(collapse(model.eval(), (3, SPEC.input_size, SPEC.input_size)))


def pictures(seed: int) -> np.ndarray:
    """Sixteen images of tissue."""
    shape = (3, SPEC.input_size, SPEC.input_size)
    return verification_images(shape, count=16, seed=seed)


@pytest.mark.parametrize("method", ORT_METHODS)
def test_a_file_by_onnx_runtime(method: str) -> None:
    """It runs in integers, close to the float file, in each way to find ranges."""
    model = made().files["model.float.onnx"]
    data = ort_static(model, PIXELS.normalize(pictures(0)), method)
    assert left_in_float(data, tflite=False) == ()
    wanted = OtherOnnx(model, PIXELS, integer=False).outputs(pictures(0))
    assert sqnr_db(OtherOnnx(data, PIXELS).outputs(pictures(0)), wanted) > CLOSE


@needs_litert_quantizer
def test_a_file_by_litert() -> None:
    """It runs in integers, close to the float file."""
    model = made().files["model.float.tflite"]
    data = litert_static(model, PIXELS.normalize(pictures(0)))
    assert left_in_float(data, tflite=True) == ()
    wanted = OtherTflite(model, PIXELS).outputs(pictures(0))
    assert sqnr_db(OtherTflite(data, PIXELS).outputs(pictures(0)), wanted) > CLOSE


@needs_litert_quantizer
def test_the_other_quantizer_keeps_snapped_orbits() -> None:
    """Orbits are equal in our float file, so each channel gets the scale of its orbit.

    What is proven of such a file is then also seen: no output changes.
    """
    model = made().files["model.float.tflite"]
    data = litert_static(model, PIXELS.normalize(pictures(0)))
    runner = OtherTflite(data, PIXELS)
    assert certify(data, "other.tflite").group == "C4"
    assert exact_symmetry(runner, pictures(1), ROTATIONS).changed == 0


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_float_operators_are_found(kind: str) -> None:
    """A float file has nothing in integers; ours of INT8 nothing in floats."""
    files = made().files
    tflite = kind == "tflite"
    assert left_in_float(files[f"model.float.{kind}"], tflite=tflite)
    assert left_in_float(files[f"model.int8.{kind}"], tflite=tflite) == ()


def test_an_unknown_method_is_refused() -> None:
    """The message names those that there are."""
    with pytest.raises(InputError, match="wanted MinMax, Entropy, Percentile"):
        ort_static(b"", np.zeros((1, 3, 5, 5), np.float32), "Guess")
