"""onnxruntime-web, which runs in browsers and in Node, computes what we compute."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.contract import Contract, Head
from mobileq_onnx.float_writer import write_float
from mobileq_onnx.qdq_writer import ActivationType, write_int8
from mobileq_onnx.runner import OnnxRunner
from support.handmade import handmade_graph, handmade_spec, random_pixels

FOLDER = "MOBILEQ_ORT_WEB"
CLIENT = Path(__file__).parents[1] / "support" / "ort_web_client.cjs"
FLOAT_ERROR = 1e-5
"""The same float32 program, compiled to WebAssembly: sums are made in another order."""


@pytest.fixture(scope="module")
def folder() -> str:
    """Where npm installed onnxruntime-web."""
    found = os.environ.get(FOLDER)
    if not found:
        pytest.skip(
            f"{FOLDER} names no folder with onnxruntime-web (npm install --prefix DIR "
            f"onnxruntime-web@1.30.0)"
        )
    return found


def run(
    folder: str, work: Path, jobs: list[tuple[bytes, NDArray[Any]]]
) -> list[NDArray[np.float32]]:
    """Outputs of files for inputs (N, C, H, W), in Node."""
    asked = []
    for number, (file, values) in enumerate(jobs):
        path = work / f"{number}.onnx"
        path.write_bytes(file)
        asked.append(
            {
                "model": str(path),
                "type": str(values.dtype),
                "dims": list(values.shape),
                "data": base64.b64encode(values.tobytes()).decode(),
            }
        )
    list_ = work / "jobs.json"
    list_.write_text(json.dumps(asked))
    command = ["node", str(CLIENT), folder, str(list_)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [
        np.array(answer["data"], np.float32).reshape(answer["dims"])
        for answer in json.loads(done.stdout)
    ]


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_integer_files_give_the_same_integers(
    activations: ActivationType, folder: str, tmp_path: Path
) -> None:
    """Logits to the bit, image by image and all at once; scores to 1e-6 (float32)."""
    graph = handmade_graph(size=31)
    spec, pixels = handmade_spec(graph), random_pixels(graph, 5)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    any_batch = Contract(batch=None)
    scored = Contract(batch=5, head=Head.SOFTMAX)
    files = [
        write_int8(graph, spec, contract, activation_type=activations)
        for contract in (any_batch, scored)
    ]
    single, together, scores = run(
        folder,
        tmp_path,
        [(files[0], planes[:1]), (files[0], planes), (files[1], planes)],
    )
    wanted = OnnxRunner(files[0]).outputs(pixels)
    affine = spec.activations[graph.output]
    assert np.array_equal(affine.quantize(together), wanted)
    assert np.array_equal(affine.quantize(single), wanted[:1])
    (own,) = OnnxRunner(files[1])._session.run(["scores"], {"input": planes})
    assert np.abs(scores - own).max() <= 1e-6


def test_float_files_give_the_same_logits(folder: str, tmp_path: Path) -> None:
    """Raw pixels, which the file normalizes, and normalized ones."""
    graph = handmade_graph(size=31)
    pixels = random_pixels(graph, 3)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    normalized = (planes.astype(np.float32) - 128) / np.float32(128)
    raw = write_float(graph, Contract(end_type="uint8", batch=3))
    plain = write_float(graph, Contract(batch=None))
    found = run(folder, tmp_path, [(raw, planes), (plain, normalized)])
    wanted = OnnxRunner(plain).outputs(pixels)
    for values in found:
        assert np.abs(values - wanted).max() <= FLOAT_ERROR
