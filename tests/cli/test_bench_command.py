"""`mobileq bench` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Cli
from mobileq.bundle import MANIFEST, open_bundle, write_bundle
from mobileq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mobileq.cli.bench_target import (
    checkpoint_of,
    file_subjects,
    find_target,
    network_of_bundle,
    torch_subject,
)
from mobileq.errors import BundleError, CheckpointError, UnsupportedError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from support.handmade import handmade_graph, handmade_spec
from support.manifests import sound

SPEC = ModelSpec(group="C4", width=0.1, input_size=31, reduced_strides=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    save_checkpoint(path, Checkpoint(SPEC, build_model(SPEC).state_dict()))
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four files of a handmade graph, said to come from `checkpoint`."""
    from mobileq_onnx import float_writer as onnx_float
    from mobileq_onnx import qdq_writer
    from mobileq_tflite import float_writer, int8_writer

    graph = handmade_graph(size=SPEC.input_size)
    spec = handmade_spec(graph)
    files = {
        "model.float.onnx": onnx_float.write_float(graph),
        "model.int8.onnx": qdq_writer.write_int8(graph, spec),
        "model.float.tflite": float_writer.write_float(graph),
        "model.int8.tflite": int8_writer.write_int8(graph, spec),
    }
    output = spec.activations[graph.output]
    image = graph.input
    path = tmp_path_factory.mktemp("bundle") / "made.mobileq"
    manifest = sound(
        group="C1",
        classes=2,
        input={
            "shape": list(image.shape),
            "pixel_scale": image.pixel_scale,
            "pixel_zero": image.pixel_zero,
        },
        quantization={
            "output": {"scale": output.scale, "zero_point": output.zero_point},
            "passes": [],
            "notes": [],
        },
        checkpoint={
            "source": str(checkpoint),
            "sha256": load_checkpoint(checkpoint).sha256,
        },
    )
    write_bundle(path, files, manifest)
    return path


def altered(bundle: Path, target: Path, **changes: Any) -> Path:
    """A copy of a bundle with other keys in its manifest; None removes one."""
    shutil.copytree(bundle, target)
    manifest = json.loads((target / MANIFEST).read_text())
    manifest.update(changes)
    kept = {key: value for key, value in manifest.items() if value is not None}
    (target / MANIFEST).write_text(json.dumps(kept))
    return target


def test_bench_measures_the_bundle_that_lies_here(bundle: Path, cli: Cli) -> None:
    """Without a target: the only bundle of the directory, on every runtime."""
    runtimes = [f"--runtime={name}" for name in ("tflite", "onnx", "torch")]
    kernels = [f"--kernels={name}" for name in ("xnnpack", "reference")]
    small = ["--data=synthetic", "--limit=6", "--images=3", "--runs=5"]
    done = cli(
        ["bench", *runtimes, *kernels, *small, "--json=out.json"], cwd=bundle.parent
    )
    assert done.returncode == 0, done.stderr
    assert "Synthetic tissue says nothing" in done.stdout
    values = json.loads((bundle.parent / "out.json").read_text())
    labels = [row["label"] for row in values["rows"]]
    assert [(n["runtime"], n["precision"], n["kernel"]) for n in labels] == [
        ("tflite", "float", "xnnpack"),
        ("tflite", "float", "reference"),
        ("tflite", "int8", "xnnpack"),
        ("tflite", "int8", "reference"),
        ("onnx", "float", "cpu"),
        ("onnx", "int8", "cpu"),
        ("torch", "float", "eager"),
    ]
    assert values["group"] == "conventional"
    for row in values["rows"]:
        assert row["scores"]["count"] == 6
        assert row["rotations"]["compared"] == 9
        assert row["latency"]["runs"] == 5
        assert row["label"]["file_bytes"] > 0


def test_bench_measures_a_checkpoint_without_exporting_it(
    checkpoint: Path, cli: Cli
) -> None:
    """On torch alone no file is needed; the trained network turns with its image."""
    args = ["bench", checkpoint, "--runtime", "torch", "--images", "2", "--runs", "2"]
    done = cli([*args, "--no-angles", "--json", "torch.json"], cwd=checkpoint.parent)
    assert done.returncode == 0, done.stderr
    values = json.loads((checkpoint.parent / "torch.json").read_text())
    (row,) = values["rows"]
    assert (values["group"], row["label"]["runtime"]) == ("C4", "torch")
    # Float rounding, a thousand times below any real asymmetry.
    assert row["rotations"]["max_relative"] < 1e-3
    assert row["angles"] == []


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["--runtime", "coreml"], "--runtime is 'coreml'; wanted tflite or onnx"),
        (["--kernels", "fast"], "--kernels is 'fast'; wanted xnnpack or builtin"),
        (["--split", "all"], "'all' is not one of 'train', 'valid', 'test'"),
        (["--data", "nowhere"], "nowhere: no such directory"),
        (["--json", "taken.json"], "taken.json: exists already"),
        (["missing.pt"], "missing.pt: no such file"),
        (["missing.mobileq"], "missing.mobileq/manifest.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    args: list[str], wanted: str, bundle: Path, cli: Cli
) -> None:
    """Exit code 2, a line on stderr, nothing on stdout."""
    (bundle.parent / "taken.json").touch()
    done = cli(["bench", *args], cwd=bundle.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (bundle.parent / "taken.json").read_text() == ""


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"classes": 3}, "two classes"),
        ({"input": {"shape": [3, 99, 99], "pixel_scale": 1, "pixel_zero": 0}}, "99x99"),
    ],
)
def test_data_that_do_not_fit_are_one_line(
    changes: dict[str, Any], wanted: str, bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    """Another number of classes, or images smaller than the network's input."""
    other = altered(bundle, tmp_path / "other.mobileq", **changes)
    done = cli(["bench", other, "--data", "synthetic", "--limit", "4"])
    assert done.returncode == 2
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_several_bundles_are_named(bundle: Path, tmp_path: Path) -> None:
    """The user must choose; a directory that is no bundle does not count."""
    (tmp_path / "empty.mobileq").mkdir()
    for name in ("one.mobileq", "two.mobileq"):
        shutil.copytree(bundle, tmp_path / name)
    with pytest.raises(BundleError, match=r"2 bundles here \(one\.mobileq, two\."):
        find_target(None, tmp_path)
    found = find_target(None, tmp_path / "one.mobileq")
    assert not isinstance(found, str)
    assert found.path == tmp_path / "one.mobileq"


def test_without_bundle_the_shipped_checkpoint_is_taken(tmp_path: Path) -> None:
    """An empty directory leads to the network that comes with mobileq."""
    try:
        assert find_target(None, tmp_path) == "pcam-equivariant"
    except CheckpointError as error:
        assert str(error).startswith("pcam-equivariant: ")  # noqa: PT017


def test_a_directory_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """The error names the manifest that is missing."""
    with pytest.raises(BundleError, match=r"manifest\.json: cannot be read"):
        find_target(str(tmp_path), tmp_path)


@pytest.mark.parametrize("key", ["group", "classes", "input"])
def test_an_incomplete_manifest_is_named(
    key: str, bundle: Path, tmp_path: Path
) -> None:
    """A missing key shows in the message."""
    other = open_bundle(altered(bundle, tmp_path / "other.mobileq", **{key: None}))
    with pytest.raises(BundleError, match=f"json: {key}: field required"):
        network_of_bundle(other, "other")


def test_networks_for_other_images_are_refused(bundle: Path, tmp_path: Path) -> None:
    """Only square RGB images can be turned here."""
    image = {"shape": [1, 9, 9], "pixel_scale": 1.0, "pixel_zero": 0}
    other = open_bundle(altered(bundle, tmp_path / "other.mobileq", input=image))
    with pytest.raises(UnsupportedError, match=r"the input is \(1, 9, 9\)"):
        network_of_bundle(other, "other")


def test_a_float_bundle_has_float_rows_only(bundle: Path, tmp_path: Path) -> None:
    """INT8 files that were not exported are not missed."""
    files = open_bundle(bundle).manifest["files"]
    kept = {name: files[name] for name in files if "float" in name}
    path = altered(bundle, tmp_path / "f.mobileq", files=kept, quantization=None)
    other = open_bundle(path)
    network = network_of_bundle(other, "f")
    subjects = file_subjects(other, network, "onnx", kernels=(), threads=1)
    assert [subject.label.precision for subject in subjects] == ["float"]


def test_a_runtime_without_files_is_refused(bundle: Path, tmp_path: Path) -> None:
    """The error says which files there are."""
    files = open_bundle(bundle).manifest["files"]
    kept = {name: files[name] for name in files if name.endswith("onnx")}
    other = open_bundle(altered(bundle, tmp_path / "o.mobileq", files=kept))
    network = network_of_bundle(other, "o")
    with pytest.raises(BundleError, match=r"holds no model\.float\.tflite"):
        list(file_subjects(other, network, "tflite", kernels=("xnnpack",), threads=1))


def test_a_checkpoint_of_another_size_is_refused(
    bundle: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """A manifest that contradicts the checkpoint is damaged; torch would fail in it."""
    image = {"shape": [3, 9, 9], "pixel_scale": 1.0, "pixel_zero": 0}
    other = open_bundle(altered(bundle, tmp_path / "other.mobileq", input=image))
    network = network_of_bundle(other, "other")
    with pytest.raises(BundleError, match=r"images of 9 px .* wants 31 px"):
        torch_subject(checkpoint_of(other), network, threads=1)


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        (None, "names no checkpoint"),
        ({"source": "gone.pt", "sha256": "0"}, "gone.pt: no such file"),
        ({"sha256": "0" * 64}, "the manifest says 000000000000"),
    ],
)
def test_torch_needs_the_checkpoint_of_the_bundle(
    origin: dict[str, str] | None,
    wanted: str,
    bundle: Path,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    """Absent, gone or changed: the remedy is to pass the checkpoint."""
    changed = origin and {"source": str(checkpoint), **origin}
    path = altered(bundle, tmp_path / "other.mobileq", checkpoint=changed)
    with pytest.raises(BundleError, match=wanted) as caught:
        checkpoint_of(open_bundle(path))
    assert "pass the checkpoint" in str(caught.value)
