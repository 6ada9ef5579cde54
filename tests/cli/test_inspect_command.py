"""`mobileq inspect` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Cli
from mobileq.bundle import write_bundle
from support.certified import small


def test_a_checkpoint_for_people_and_as_json(cli: Cli) -> None:
    """Both say the same; nothing goes to standard error."""
    shown = cli(["inspect", "pcam-equivariant"])
    parsed = cli(["inspect", "pcam-equivariant", "--json"])
    assert (shown.returncode, parsed.returncode) == (0, 0), shown.stderr
    assert shown.stderr == parsed.stderr == ""
    found = json.loads(parsed.stdout)
    assert found["sha256"] in shown.stdout
    assert "C4 MobileNetV2, width 0.5" in shown.stdout
    assert f"accuracy {found['training']['test']['accuracy']:.4f}" in shown.stdout


def test_a_bundle_that_changed(cli: Cli, tmp_path: Path) -> None:
    """All files are shown, the changed one is complained of; exit code 2."""
    path = tmp_path / "made.mobileq"
    files = {f"model.int8.{kind}": data for kind, data in small("C4").files.items()}
    write_bundle(path, files, {"group": "C4"})
    whole = cli(["inspect", path])
    assert whole.returncode == 0, whole.stderr
    (path / "model.int8.onnx").write_bytes(b"")
    done = cli(["inspect", path])
    assert done.returncode == 2
    assert "NOT INTACT" in done.stdout
    assert "CONV_2D" in done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "wanted the exported file" in done.stderr


def test_something_else(cli: Cli, tmp_path: Path) -> None:
    """Neither checkpoint nor bundle nor file: one line with what is wanted."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.onnx").write_text("hello")
    for target, message in (
        ("nothing", "wanted a checkpoint"),
        ("empty", "wanted a bundle"),
        ("text.onnx", "damaged or no ONNX file"),
        ("gone.tflite", "wanted a .tflite or .onnx file"),
    ):
        done = cli(["inspect", target])
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert message in done.stderr
