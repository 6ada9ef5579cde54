"""`mobileq compare` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conftest import Cli
from mobileq.bundle import write_bundle
from support.manifests import sound
from support.runner_files import RunnerFiles, write_runner_files

QUICK = ["--rounds", "3", "--seconds", "0.02"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RunnerFiles:
    """Small files of one network."""
    return write_runner_files(tmp_path_factory.mktemp("compared"))


def test_two_files(files: RunnerFiles, cli: Cli) -> None:
    """A table that fits 80 columns, a sentence, and all figures as JSON."""
    a, b = files.paths["int8.tflite"], files.paths["scores.tflite"]
    done = cli(["compare", a, b, *QUICK, "--json-file=c.json"], env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    table = lines[: next(n for n, line in enumerate(lines) if "interval" in line)]
    assert max(map(len, table)) <= 80
    assert any(line.startswith(" int8.tflite ") for line in table)
    assert any(line.startswith(" scores.tflite ") for line in table)
    assert "95 % interval" in done.stdout
    assert "Measured on" in done.stdout
    again = cli(["compare", a, b, *QUICK, "--json-file=c.json"])
    assert again.returncode == 2
    assert "c.json: exists already" in again.stderr


@pytest.mark.slow
def test_the_file_for_programs(files: RunnerFiles, tmp_path: Path, cli: Cli) -> None:
    """Both sides with hash and kernels, the ratio with its ends, machine and noise."""
    a, b = files.paths["int8.tflite"], files.paths["int8.onnx"]
    options = ["--kernels=reference", "--threads=2", "--json-file=c.json"]
    done = cli(["compare", a, b, *QUICK, *options])
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "c.json").read_text())
    assert (values["format"], values["version"]) == ("mobileq-compare", 1)
    assert values["a"]["kernel"] == "reference"
    assert values["b"]["kernel"] == "cpu"
    assert values["a"]["bytes"] == a.stat().st_size
    assert len(values["b"]["sha256"]) == 64
    ratio = values["ratio"]
    assert 0 < ratio["low"] <= ratio["value"] <= ratio["high"]
    assert values["rounds"] == 3
    assert values["runs_a"] > 0
    assert values["real"] == (not ratio["low"] <= 1 <= ratio["high"])
    assert values["machine"]["cores"] >= 1
    assert isinstance(values["noise"]["noisy"], bool)


@pytest.mark.slow
def test_two_bundles(files: RunnerFiles, tmp_path: Path, cli: Cli) -> None:
    """The INT8 file of each, which is called by its bundle."""
    data = files.paths["int8.tflite"].read_bytes()
    for name in ("one.mobileq", "two.mobileq"):
        write_bundle(tmp_path / name, {"model.int8.tflite": data}, sound())
    done = cli(["compare", "one.mobileq", "two.mobileq", *QUICK])
    assert done.returncode == 0, done.stderr
    assert "one.mobileq/model.int8.tflite" in done.stdout
    assert "two.mobileq/model.int8.tflite" in done.stdout
    done = cli(["compare", "one.mobileq", "two.mobileq", "--file=model.int8.onnx"])
    assert done.returncode == 2
    assert "holds no model.int8.onnx; wanted one of model.int8.tflite" in done.stderr


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["missing.tflite", "int8.tflite"], "missing.tflite: cannot be read (No such"),
        (["int8.tflite", "notes.txt"], "notes.txt: is neither .tflite nor .onnx"),
        (["int8.tflite", "empty"], "empty/manifest.json: cannot be read"),
        (["int8.tflite", "bad.tflite"], "bad.tflite"),
        (
            ["int8.tflite", "int8.tflite", "--kernels=fast"],
            "kernel of tflite is 'fast'",
        ),
        (["int8.tflite", "int8.tflite", "--rounds=2"], "greater than or equal to 3"),
    ],
)
def test_bad_input_is_one_line(
    args: list[str], wanted: str, files: RunnerFiles, tmp_path: Path, cli: Cli
) -> None:
    """Exit code 2, a line on stderr, no file written."""
    shutil.copy(files.paths["int8.tflite"], tmp_path)
    (tmp_path / "notes.txt").write_text("no network")
    (tmp_path / "bad.tflite").write_bytes(b"no network")
    (tmp_path / "empty").mkdir()
    done = cli(["compare", *args, "--json-file=c.json"])
    assert done.returncode == 2, done.stderr
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "c.json").exists()
