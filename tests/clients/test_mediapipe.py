"""MediaPipe's ImageClassifier takes our TFLite files as they are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileq.checkpoint import load_checkpoint
from mobileq.checkpoint_labels import labels_of
from mobileq.collapse.collapse import collapse
from mobileq.contract import Contract, EndType, Head
from mobileq.data.pcam import open_pcam
from mobileq.data.transforms import center_crop
from mobileq.deploy.files import deploy
from mobileq.quant.heads import SCORES
from mobileq_tflite.float_writer import write_float
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.runner import TfliteRunner
from support.handmade import handmade_graph, handmade_spec, random_pixels

PYTHON = "MOBILEQ_MEDIAPIPE_PYTHON"
CLIENT = Path(__file__).parents[1] / "support" / "mediapipe_client.py"
LABELS = ("Gänseblümchen", "not a daisy")
CASES: tuple[tuple[EndType | None, Head], ...] = (
    (None, Head.NONE),
    (None, Head.SOFTMAX),
    (None, Head.SIGMOID),
    ("float32", Head.SOFTMAX),
)
SIZE = 31


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of an environment that has mediapipe."""
    found = os.environ.get(PYTHON)
    if not found:
        pytest.skip(
            f"{PYTHON} names no interpreter with mediapipe, which needs an environment "
            f"of its own (python -m venv DIR; DIR/bin/pip install mediapipe==1.2.2)"
        )
    return found


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(4, H, W, 3) uint8 images."""
    return random_pixels(handmade_graph(size=SIZE), 4)


def ask(
    python: str, folder: Path, pixels: np.ndarray, files: dict[str, bytes]
) -> dict[str, Any]:
    """What MediaPipe says about each file, by its name."""
    images = folder / "images.npy"
    np.save(images, pixels)
    paths = {name: folder / f"{name}.tflite" for name in files}
    for name, path in paths.items():
        path.write_bytes(files[name])
    command = [python, str(CLIENT), str(images), *map(str, paths.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    return {name: told[str(path)] for name, path in paths.items()}


@pytest.fixture(scope="module")
def answers(
    python: str, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What MediaPipe says about each file, and each file, by its name."""
    folder = tmp_path_factory.mktemp("mediapipe")
    graph = handmade_graph(size=SIZE)
    spec = handmade_spec(graph)
    files = {}
    for end, head in CASES:
        contract = Contract(end_type=end, head=head, labels=LABELS, name="A network")
        files[f"int8 {end} {head.value}"] = write_int8(graph, spec, contract)
    plain = Contract(head=Head.SOFTMAX, labels=LABELS, name="A network")
    files["float None softmax"] = write_float(graph, plain)
    told = ask(python, folder, pixels, files)
    return {name: {**answer, "file": files[name]} for name, answer in told.items()}


@pytest.mark.parametrize(("end", "head"), CASES)
def test_it_returns_our_labels_and_scores(
    end: EndType | None, head: Head, answers: dict[str, Any], pixels: np.ndarray
) -> None:
    """INT8 files: the very integers that LiteRT computes with the same delegate.

    1e-6: MediaPipe dequantizes in float32.
    """
    answer = answers[f"int8 {end} {head.value}"]
    runner = TfliteRunner(answer["file"], kernels="xnnpack")
    graph = handmade_graph(size=SIZE)
    affine = SCORES
    if head is Head.NONE:
        affine = handmade_spec(graph).activations[graph.output]
    wanted = affine.dequantize(runner.outputs(pixels))
    assert np.abs(np.array(answer["scores"]) - wanted).max() <= 1e-6
    assert tuple(answer["labels"]) == LABELS


def test_it_normalizes_for_a_float_file(
    answers: dict[str, Any], pixels: np.ndarray
) -> None:
    """It reads mean and standard deviation from the metadata.

    1e-5: the same float32 program on another release of the runtime.
    """
    answer = answers["float None softmax"]
    wanted = TfliteRunner(answer["file"], kernels="xnnpack").outputs(pixels)
    assert np.abs(np.array(answer["scores"]) - wanted).max() <= 1e-5
    assert tuple(answer["labels"]) == LABELS


def test_its_schema_reads_our_metadata(answers: dict[str, Any]) -> None:
    """Tables that are written slot by slot have the meaning that the schema gives."""
    told = answers["int8 None softmax"]["metadata"]
    assert told == {
        "identifier": "M001",
        "name": "A network",
        "parser": "1.0.0",
        "mean": [128.0],
        "std": [128.0],
        "range": [0.0, 255.0],
        "size": [SIZE, SIZE],
        "colours": 1,
        "output": "scores",
    }
    real = answers["int8 float32 softmax"]["metadata"]["range"]
    assert real == [-1.0, 127 / 128]


@pytest.mark.slow
def test_it_agrees_about_real_patches(
    python: str, pcam_dir: Path, tmp_path: Path
) -> None:
    """The shipped network with a softmax: PCam's names, and LiteRT's very scores.

    INT8 to 1e-6 (MediaPipe dequantizes in float32), float to 1e-5 (another release).
    """
    checkpoint = load_checkpoint("pcam-equivariant")
    shape = (3, checkpoint.spec.input_size, checkpoint.spec.input_size)
    labels = labels_of(checkpoint.source, checkpoint.training, 2)
    contract = Contract(head=Head.SOFTMAX, labels=labels)
    collapsed = collapse(checkpoint.build(), shape)
    files = deploy(collapsed, formats=("tflite",), contract=contract).files
    found = open_pcam(pcam_dir, "test")
    patches = center_crop(found.read(np.arange(len(found))), shape[1])
    told = ask(python, tmp_path, patches, dict(files))
    for name, error in (("model.int8.tflite", 1e-6), ("model.float.tflite", 1e-5)):
        wanted = TfliteRunner(files[name], kernels="xnnpack").outputs(patches)
        scores = SCORES.dequantize(wanted) if "int8" in name else wanted
        assert told[name]["labels"] == ["normal", "tumour"]
        assert np.abs(np.array(told[name]["scores"]) - scores).max() <= error
