"""`mobileq export` with labels, heads, types and batches; and what reads the result."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path

import onnx
import pytest
import torch

from conftest import Cli
from mobileq.bundle import Bundle, open_bundle
from mobileq.certify import certify_path
from mobileq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mobileq.cli.bench_candidates import (
    Choice,
    all_kernels,
    candidates_of,
    subjects_of,
)
from mobileq.cli.bench_target import network_of_bundle
from mobileq.contract import Contract, Head
from mobileq.deploy import export_checkpoint
from mobileq.errors import CheckpointError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.verify.images import verification_images
from support.networks import normalized, random_pixels, randomize_norms

SPEC = ModelSpec(group="C4", width=0.05, input_size=17, num_classes=3)
LABELS = ("Fußgänger", "car", "a cat")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of three classes, with the statistics of noise."""
    shape = (SPEC.in_channels, SPEC.input_size, SPEC.input_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_model(SPEC)
        randomize_norms(network, normalized(random_pixels(16, shape, 0)))
    path = tmp_path_factory.mktemp("small") / "small.pt"
    notes = {"labels": list(LABELS)}
    save_checkpoint(path, Checkpoint(SPEC, network.state_dict(), notes))
    return path


@pytest.fixture(scope="module")
def softmax(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a softmax, the checkpoint's labels and any batch."""
    out = tmp_path_factory.mktemp("softmax") / "x.mobileq"
    contract = Contract(head=Head.SOFTMAX, batch=None)
    return export_checkpoint(
        checkpoint, out, contract=contract, require_certificate=True
    )


@pytest.mark.slow
def test_the_command_takes_all_options(
    checkpoint: Path, cli: Cli, tmp_path: Path
) -> None:
    """Labels of a file, int8 ends, a sigmoid, a batch of two: all in the manifest."""
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\r\nthree\n\n", encoding="utf-8")
    out = tmp_path / "x.mobileq"
    args = ["export", checkpoint, "--int8", "--out", out, "--labels", names, "-q"]
    args += ["--input-type", "int8", "--head", "sigmoid", "--batch", "2"]
    done = cli([*args, "--description", "Three things."])
    assert done.returncode == 0, done.stderr
    told = open_bundle(out).manifest["contract"]
    assert told["labels"] == ["one", "two", "three"]
    assert told["description"] == "Three things."
    assert (told["head"], told["output"]) == ("sigmoid", "scores")
    assert told["scores"] == {"scale": 1 / 256, "zero_point": -128}
    kinds = {
        name: (ends["input"], ends["output"], ends["batch"])
        for name, ends in told["files"].items()
    }
    assert kinds == {
        "model.float.onnx": ("float32", "float32", 2),
        "model.int8.onnx": ("uint8", "float32", 2),
        "model.float.tflite": ("float32", "float32", 1),
        "model.int8.tflite": ("int8", "int8", 1),
    }


def test_labels_of_the_checkpoint_are_in_every_file(softmax: Bundle) -> None:
    """As a zip archive behind TFLite files, as JSON in ONNX files."""
    for name in softmax.manifest["contract"]["files"]:
        data = softmax.read(name)
        if name.endswith(".onnx"):
            model = onnx.load_model_from_string(data)
            props = {entry.key: entry.value for entry in model.metadata_props}
            found = json.loads(props["labels"])
        else:
            archive = zipfile.ZipFile(io.BytesIO(data))
            found = archive.read("labels.txt").decode().split("\n")
        assert tuple(found) == LABELS, name


def test_heads_are_rungs_of_the_ladder(softmax: Bundle) -> None:
    """Each of the six ways to run a file has a rung for its softmax, and it holds."""
    rungs = softmax.manifest["ladder"]
    assert all(rung["passed"] for rung in rungs)
    heads = [rung for rung in rungs if rung["against"] == "softmax of logits"]
    assert len(heads) == 6
    exact = [r for r in heads if "xnnpack" in r["name"] and "int8" in r["name"]]
    # The simulator has the table of the kernel that XNNPACK leaves the softmax to.
    assert [rung["value"] for rung in exact] == [0]


def test_certificates_hold_with_a_head(softmax: Bundle) -> None:
    """A softmax of unchanged logits is unchanged; both INT8 files are proven."""
    found = certify_path(softmax.path)
    assert len(found) == 2
    assert all(certificate.covers([(1, False)]) for certificate in found.values())


def test_bench_measures_logits_of_files_with_a_head(
    softmax: Bundle, checkpoint: Path, tmp_path: Path
) -> None:
    """Logits that are read off the scores predict what the plain files predict.

    Not every image: scores of 8 bits may be equal where logits are not. Differences of
    float logits agree to 1e-3, since scores near 0 and 1 have few digits left.
    """
    plain = export_checkpoint(checkpoint, tmp_path / "plain.mobileq")
    images = verification_images((3, 17, 17))
    found: dict[str, list[torch.Tensor]] = {}
    for bundle in (plain, softmax):
        network = network_of_bundle(bundle, "x")
        for runtime in ("onnx", "tflite"):
            choice = Choice((runtime,), all_kernels(("xnnpack",)))
            for subject in subjects_of(candidates_of(bundle, network, choice)):
                real = subject.runner.outputs(images)
                if subject.dequantize is not None:
                    real = subject.dequantize.dequantize(real)
                values = torch.from_numpy(real).double()
                key = f"{subject.label.precision} {runtime}"
                centred = values - values.mean(dim=1, keepdim=True)
                found.setdefault(key, []).append(centred)
    for key, (wanted, headed) in found.items():
        tolerance = 1e-3 if key.startswith("float") else 0.05
        assert torch.allclose(headed, wanted, atol=tolerance, rtol=tolerance), key


def test_two_exports_are_equal(softmax: Bundle, checkpoint: Path) -> None:
    """Zip archives have no time of day: every file has the same bytes again."""
    contract = Contract(head=Head.SOFTMAX, batch=None)
    out = softmax.path.parent / "again.mobileq"
    again = export_checkpoint(checkpoint, out, contract=contract)
    assert again.manifest["files"] == softmax.manifest["files"]


def test_a_bad_option_is_one_line(checkpoint: Path, cli: Cli, tmp_path: Path) -> None:
    """Exit code 2, the value found and the values wanted, nothing written."""
    done = cli(["export", checkpoint, "--out", "x.mobileq", "--head", "softplus"])
    assert done.returncode == 2, done.stderr
    assert "head is 'softplus'; wanted none, softmax, sigmoid" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x.mobileq").exists()


def test_labels_that_do_not_fit_the_checkpoint(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Notes that name two of three classes are a damaged checkpoint."""
    whole = load_checkpoint(checkpoint)
    path = tmp_path / "odd.pt"
    save_checkpoint(path, dataclasses.replace(whole, training={"labels": ["a", "b"]}))
    with pytest.raises(CheckpointError, match="wanted a list of 3 names"):
        export_checkpoint(path, tmp_path / "x.mobileq")
