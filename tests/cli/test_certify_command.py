"""`mobileq certify` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import SOURCE_ROOTS, Cli
from mobileq.bundle import write_bundle
from support.certified import certify, small
from support.faults import editor, nudge

HEAVY = ("torch", "tensorflow", "escnn", "onnxruntime")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with INT8 files of three networks, and one with a wrong weight."""
    directory = tmp_path_factory.mktemp("files")
    for group in ("C4", "D4", "conventional"):
        for kind, data in small(group).files.items():
            (directory / f"{group}.{kind}").write_bytes(data)
    made = small("C4")
    for kind, data in made.files.items():
        changed = editor(kind, data)
        nudge(changed, made.names["stem"], "weight", (2, 0, 1, 1))
        (directory / f"wrong.{kind}").write_bytes(changed.data())
    return directory


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with both INT8 files of a network, and a file that is none."""
    files = {f"model.int8.{kind}": data for kind, data in small("C4").files.items()}
    path = tmp_path / "made.mobileq"
    write_bundle(path, {**files, "model.float.onnx": b"not looked at"}, {})
    return path


def _one_line(stderr: str) -> str:
    """The complaint, which is one line and no traceback."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    return lines[0]


def test_a_proof_is_printed(files: Path, cli: Cli) -> None:
    """What is proven, of how many numbers, under which assumptions; exit code 0."""
    done = cli(["certify", files / "C4.tflite"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, second, *_ = done.stdout.splitlines()
    assert "C4 is proven: turning the image by 90, 180 or 270 degrees" in first
    numbers = certify("tflite", (files / "C4.tflite").read_bytes()).proof.numbers
    assert f"{numbers:,} integers compared" in second
    assert "rests on these assumptions" in done.stdout


def test_a_break_is_printed(files: Path, cli: Cli) -> None:
    """Operator, channel, weight and difference; exit code 1 and one line."""
    done = cli(["certify", files / "wrong.onnx"])
    assert done.returncode == 1
    assert "wrong.onnx: no symmetry is proven" in _one_line(done.stderr)
    assert "nothing is proven" in done.stdout
    operator = small("C4").names["stem"]
    assert (
        f"'{operator}/real': weight[input channel 0, row 1, column 1] of channel 2"
        in (done.stdout)
    )
    assert "assumptions" not in done.stdout


@pytest.mark.parametrize(
    ("name", "group", "code"),
    [
        ("C4.tflite", "C2", 0),
        ("C4.onnx", "C4", 0),
        ("C4.tflite", "D4", 1),
        ("C4.tflite", "D2", 1),
        ("D4.onnx", "D4", 0),
        ("D4.tflite", "C4", 0),
        ("conventional.onnx", "C2", 1),
        ("C4.tflite", "C12", 2),
        ("missing.tflite", "C4", 2),
    ],
)
def test_what_is_required(
    name: str, group: str, code: int, files: Path, cli: Cli
) -> None:
    """0 if it is proven, 1 if it is not, 2 if that cannot be asked."""
    done = cli(["certify", files / name, "--require", group])
    assert done.returncode == code, done.stderr
    if code == 0:
        assert done.stderr == ""
    else:
        assert "wanted" in _one_line(done.stderr)


@pytest.mark.parametrize("name", ["D4.tflite", "wrong.onnx"])
def test_json(name: str, files: Path, cli: Cli) -> None:
    """One object per file on stdout, whatever the verdict; the same as in Python."""
    done = cli(["certify", files / name, "--json"])
    assert done.returncode == (1 if name.startswith("wrong") else 0)
    (found,) = json.loads(done.stdout)
    wanted = certify(name.rpartition(".")[2], (files / name).read_bytes()).to_dict()
    assert found == {"file": str(files / name), **wanted}


def test_a_bundle(bundle: Path, cli: Cli) -> None:
    """Both integer files; the others are not looked at."""
    done = cli(["certify", bundle, "--json"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [Path(one["file"]).name for one in found] == [
        "model.int8.tflite",
        "model.int8.onnx",
    ]
    assert {one["group"] for one in found} == {"C4"}


@pytest.mark.parametrize("name", ["model.int8.tflite", "model.int8.onnx"])
def test_a_bundle_with_another_byte(name: str, bundle: Path, cli: Cli) -> None:
    """The file is not the one that was exported: refused before anything is proven."""
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    done = cli(["certify", bundle])
    assert done.returncode == 2
    assert name in _one_line(done.stderr)
    assert "SHA-256" in done.stderr
    assert done.stdout == ""


def test_what_is_no_file(files: Path, bundle: Path, tmp_path: Path, cli: Cli) -> None:
    """Empty, cut off, of another kind, a directory, a bundle without integers."""
    (tmp_path / "empty.tflite").touch()
    (tmp_path / "empty.onnx").touch()
    data = (files / "C4.tflite").read_bytes()
    (tmp_path / "short.tflite").write_bytes(data[:3000])
    (tmp_path / "text.txt").write_text("hello")
    write_bundle(tmp_path / "float.mobileq", {"model.float.onnx": b""}, {})
    for path in sorted(tmp_path.iterdir()):
        if path != bundle:
            done = cli(["certify", path])
            assert done.returncode == 2, path
            assert "wanted" in _one_line(done.stderr)
    assert cli(["certify"]).returncode == 2


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_nothing_heavy_is_imported(kind: str, files: Path) -> None:
    """The file is parsed, not run: no runtime, no framework, not the other format."""
    program = (
        "import json, sys\n"
        "from mobileq.cli.app import app\n"
        "app(['certify', sys.argv[1]], standalone_mode=False)\n"
        "print(json.dumps(list(sys.modules)), file=sys.stderr)\n"
    )
    paths = os.pathsep.join(map(str, SOURCE_ROOTS))
    done = subprocess.run(
        [sys.executable, "-c", program, str(files / f"C4.{kind}")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    loaded = set(json.loads(done.stderr))
    unwanted = {*HEAVY, "onnx"} if kind == "tflite" else {*HEAVY, "ai_edge_litert"}
    assert not unwanted & loaded
    assert "mobileq.proof" in loaded
