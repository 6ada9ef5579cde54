"""`mobileq bench` as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from conftest import SOURCE_ROOTS, Cli
from mobileq.bench.result import schema
from mobileq.bench.spec import KERNELS
from mobileq.bench.subject import Candidate
from mobileq.bundle import MANIFEST, open_bundle, write_bundle
from mobileq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mobileq.cli import bench_candidates
from mobileq.cli.bench_candidates import Choice, candidates_of
from mobileq.cli.bench_target import find_target, network_of_bundle
from mobileq.errors import BundleError, CheckpointError, InputError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from support.handmade import handmade_graph, handmade_spec
from support.manifests import sound
from support.signals import hear_interrupts
from support.user_code import CODE

IMAGE = {"pixel_scale": 1, "pixel_zero": 0}
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
            "spec": SPEC.to_dict(),
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


QUICK = ["--images=3", "--runs=5", "--seconds=0", "--batch=4"]


@pytest.mark.slow
def test_everything_is_measured_kept_and_resumed(bundle: Path, cli: Cli) -> None:
    """The only bundle of the directory, on every runtime; a second run measures none.

    Times that are equal to the last digit were not measured twice.
    """
    out = bundle.parent / "out"
    command = ["bench", "--data=synthetic", "--limit=6", *QUICK, "--threads=1,2"]
    command += ["--profile", f"--out={out}"]
    done = cli(command, cwd=bundle.parent)
    assert done.returncode == 0, done.stderr
    assert "Synthetic tissue says nothing" in done.stdout
    values = json.loads((out / "bench.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(values)
    labels = [row["label"] for row in values["rows"]]
    assert [(n["runtime"], n["precision"], n["kernel"]) for n in labels[::2]] == [
        ("torch", "float", "eager"),
        ("torch", "float", "collapsed"),
        ("onnx", "float", "cpu"),
        ("onnx", "int8", "cpu"),
        ("tflite", "float", "xnnpack"),
        ("tflite", "float", "builtin"),
        ("tflite", "float", "reference"),
        ("tflite", "int8", "xnnpack"),
        ("tflite", "int8", "builtin"),
        ("tflite", "int8", "reference"),
    ]
    assert [label["threads"] for label in labels] == [1, 2] * 10
    assert (values["group"], values["data"]) == ("conventional", "synthetic, test")
    for one, two in zip(values["rows"][::2], values["rows"][1::2], strict=True):
        assert one["accuracy"]["count"] == 6
        assert one["rotations"]["compared"] == 9
        assert len(one["angles"]) == 23
        assert two["accuracy"] is two["rotations"] is None
        for row in (one, two):
            assert row["label"]["file_bytes"] > 0
            assert row["cost"]["latency"]["runs"] >= 5
            assert row["cost"]["latency"]["threads"] == row["label"]["threads"]
            assert row["cost"]["images_per_second"] > 0
    assert values["rows"][0]["agreement"] is None
    counts = [row["agreement"]["accuracy"]["count"] for row in values["rows"][2::2]]
    assert counts == [6] * 9
    assert (out / "report.html").read_bytes().startswith(b"<!doctype html>")

    refused = cli(command, cwd=bundle.parent)
    assert refused.returncode == 2
    assert "bench.json: exists already" in refused.stderr
    again = cli([*command, "--resume"], cwd=bundle.parent)
    assert again.returncode == 0, again.stderr
    later = json.loads((out / "bench.json").read_text())
    for name in ("measured", "command", "machine"):
        values.pop(name)
        later.pop(name)
    assert later == values

    shown = cli(["report", out, "--out", "both.html"], cwd=bundle.parent)
    assert shown.returncode == 0, shown.stderr
    assert b"tflite int8 xnnpack" in (bundle.parent / "both.html").read_bytes()


@pytest.mark.slow
def test_bench_measures_a_checkpoint_without_exporting_it(
    checkpoint: Path, cli: Cli
) -> None:
    """On torch alone no file is needed; the trained network turns with its image."""
    args = ["bench", checkpoint, "--runtime", "torch", "--per-layer", *QUICK]
    done = cli(
        [*args, "--no-angles", "--json-file", "torch.json"], cwd=checkpoint.parent
    )
    assert done.returncode == 0, done.stderr
    values = json.loads((checkpoint.parent / "torch.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(values)
    # In integers a quarter turn changes nothing, in any tensor.
    assert {tensor["changed_values"] for tensor in values["layers"]["tensors"]} == {0}
    assert "INT8: a quarter turn changes no value of any tensor." in done.stdout
    assert values["group"] == "C4"
    assert [row["label"]["kernel"] for row in values["rows"]] == ["eager", "collapsed"]
    for row in values["rows"]:
        # Float rounding, a thousand times below any real asymmetry.
        assert row["rotations"]["max_relative"] < 1e-3
        assert row["angles"] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on(
    number: signal.Signals, bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    """What was kept before the signal is used by the next run; Ctrl-C says so."""
    args = ["bench", str(bundle), "--runtime=tflite", "--kernels=xnnpack"]
    args += ["--kernels=reference", "--data=synthetic", "--limit=9", *QUICK]
    args += [f"--out={tmp_path / 'out'}"]
    results = tmp_path / "out" / "results"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))}
    command = [sys.executable, "-m", "mobileq.cli.app", *args]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    ) as process:
        for _ in range(1200):
            if process.poll() is not None or [*results.glob("*.logits.json")]:
                break
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert err.splitlines() == [
            f"mobileq: interrupted; what was measured is kept in {tmp_path / 'out'}: "
            "give the same command to go on"
        ]
    kept = {path: path.stat().st_mtime_ns for path in results.glob("*.logits.json")}
    assert kept
    assert not (tmp_path / "out" / "bench.json").exists()
    done = cli(args)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert "measured again" not in done.stdout
    assert len(json.loads((tmp_path / "out/bench.json").read_text())["rows"]) == 4
    # Measured again on purpose: everything is new.
    done = cli([*args, "--overwrite"])
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns > kept[path] for path in kept)


@pytest.mark.skipif(os.name != "posix", reason="there are no pseudo-terminals")
def test_progress_is_shown_on_a_terminal(bundle: Path) -> None:
    """On standard error; tables stay on stdout."""
    import pty

    ours, theirs = pty.openpty()
    args = ["bench", str(bundle), "--runtime=onnx", "--data=synthetic", "--limit=9"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))}
    environment |= {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-m", "mobileq.cli.app", *args, *QUICK],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = bytearray()
        # Reading a terminal that nobody holds any more is an error on Linux.
        with suppress(OSError):
            while part := os.read(ours, 4096):
                shown += part
        out, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0
    # Ten pictures a second: what takes less may never be seen, a start takes more.
    assert b"loading model.float.onnx" in shown
    assert b"loading model" not in out
    assert b"onnx int8 cpu" in out


def test_conditions_decide_the_exit_code(
    bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    """A condition that holds is a line with both figures, and code 1."""
    args = ["bench", bundle, "--runtime=onnx", "--no-angles", *QUICK]
    done = cli([*args, "--json-file=old.json", "--fail-if", "p50>100000"])
    assert done.returncode == 0, done.stderr
    assert "1 condition checked: it does not hold" in done.stdout
    done = cli([*args, "--baseline=old.json", "--fail-if", "size>+0,changed<+100000"])
    assert done.returncode == 1
    assert "--fail-if" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "changed" in done.stdout


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (
            ["--runtime", "coreml"],
            "--runtime is 'coreml'; wanted all or android or tflite",
        ),
        (["--kernels", "fast"], "--kernels is 'fast'; wanted xnnpack or builtin"),
        (["--split", "all"], "'all' is not one of 'train', 'valid', 'test'"),
        (["--data", "nowhere"], "nowhere: no such directory"),
        (["--json-file", "taken.json"], "taken.json: exists already"),
        (["--report", "taken.json"], "taken.json: exists already"),
        (["--out", "taken.json"], "taken.json/results: cannot hold results"),
        (["--threads", "1,0"], "--threads is '1,0'; wanted whole numbers from 1"),
        (["--threads", "two"], "--threads is 'two'; wanted whole numbers from 1"),
        (["--baseline", "taken.json"], "--baseline taken.json without --fail-if"),
        (["--fail-if", "speed>3"], "'speed' is no metric"),
        (["--fail-if", "p50>+3"], "--fail-if p50>+3 compares with a baseline"),
        (
            ["--fail-if", "p50>+3", "--baseline", "taken.json"],
            "taken.json: is no JSON",
        ),
        (["--factory", "here:build"], "wanted a model (name the file"),
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
        ({"classes": 1}, "has 2 classes or more; "),
        ({"input": {"shape": [3, 99, 99], "pixel_scale": 1, "pixel_zero": 0}}, "99x99"),
        (
            {"input": {"shape": [1, 31, 31], "pixel_scale": 1, "pixel_zero": 0}},
            "wanted 1",
        ),
    ],
)
def test_data_that_do_not_fit_are_one_line(
    changes: dict[str, Any], wanted: str, bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    """Fewer classes than the data have, larger images, or grey ones."""
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


def rows_of(path: Path, **choice: Any) -> list[Candidate]:
    """What would be measured of a bundle, by default on all runtimes."""
    bundle = open_bundle(path)
    chosen = {"runtimes": tuple(KERNELS), "kernels": KERNELS, **choice}
    return candidates_of(bundle, network_of_bundle(bundle, "net"), Choice(**chosen))


def test_a_float_bundle_has_float_rows_only(bundle: Path, tmp_path: Path) -> None:
    """INT8 files that were not exported are not missed."""
    files = open_bundle(bundle).manifest["files"]
    kept = {name: files[name] for name in files if "float" in name}
    path = altered(bundle, tmp_path / "f.mobileq", files=kept, quantization=None)
    found = rows_of(path, runtimes=("onnx",))
    assert [candidate.label.precision for candidate in found] == ["float"]


def test_a_runtime_without_files(bundle: Path, tmp_path: Path) -> None:
    """Asked for by name it is an error; among all it is a row that says what lacks."""
    files = open_bundle(bundle).manifest["files"]
    kept = {name: files[name] for name in files if name.endswith("onnx")}
    path = altered(bundle, tmp_path / "o.mobileq", files=kept)
    with pytest.raises(BundleError, match=r"holds no model\.float\.tflite"):
        rows_of(path, runtimes=("tflite",))
    (row,) = (c for c in rows_of(path, lenient=True) if c.label.runtime == "tflite")
    assert row.spec is None
    assert "holds no model.float.tflite" in str(row.unavailable)


def test_a_runtime_that_is_not_installed_is_a_row(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was asked for by name: the row has the line that installs it."""
    monkeypatch.setattr(
        bench_candidates,
        "missing",
        lambda runtime: "not there (pip install it)" if runtime == "onnx" else None,
    )
    found = rows_of(bundle, runtimes=("onnx", "tflite"))
    assert [c.unavailable for c in found[:2]] == ["not there (pip install it)"] * 2
    assert all(c.spec is None for c in found[:2])
    assert all(c.spec is not None for c in found[2:])


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        (None, "names no checkpoint"),
        ({"source": "gone.pt", "sha256": "0" * 64}, "gone.pt: no such file"),
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
        rows_of(path, runtimes=("torch",))
    assert "pass the checkpoint" in str(caught.value)


def test_code_is_imported_where_the_user_names_it(
    bundle: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """A manifest that names a function has no say; the message names the option."""
    origin = {**open_bundle(bundle).manifest["checkpoint"], "factory": "os:abort"}
    origin.pop("spec")
    path = altered(bundle, tmp_path / "own.mobileq", checkpoint=origin)
    with pytest.raises(InputError, match="--factory os:abort"):
        rows_of(path, runtimes=("torch",))
    found = rows_of(path, runtimes=("torch",), factory="nets:build")
    assert {c.spec and c.spec.factory for c in found} == {"nets:build"}


@pytest.mark.slow
def test_a_network_of_ones_own_on_pictures_in_folders(tmp_path: Path, cli: Cli) -> None:
    """Grey images that are not square, three classes, every runtime, own labels."""
    (tmp_path / "nets.py").write_text(CODE)
    namespace: dict[str, Any] = {}
    exec(CODE, namespace)  # the test's own text
    torch.manual_seed(0)
    network = namespace["build"]()
    with torch.no_grad():
        for _ in range(50):
            network.train()(torch.rand(16, 1, 9, 13))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    rng = np.random.default_rng(0)
    for name in ("birch", "elm", "oak"):
        (tmp_path / "leaves" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (11, 14), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "leaves" / name / f"{number}.png")
    args = ["weights.pt", "--factory=nets:build", "--input-shape=1,9,13", *QUICK]
    done = cli(
        ["bench", *args, "--data=leaves", "--json-file=own.json", "--report=own.html"]
    )
    assert done.returncode == 0, done.stderr
    assert "Images of 9x13 pixels are not turned" in done.stdout
    values = json.loads((tmp_path / "own.json").read_text())
    assert {row["label"]["runtime"] for row in values["rows"]} == {*KERNELS}
    for row in values["rows"]:
        assert row["unavailable"] is None
        assert row["accuracy"]["count"] == 9
        assert row["accuracy"]["auc"] is None
        assert len(row["accuracy"]["confusion"]) == 3
        assert row["rotations"] is None
    # INT8 and all kernels agree with torch on what noise is taken for.
    assert all(r["agreement"]["same_class"]["value"] > 0.5 for r in values["rows"][1:])
