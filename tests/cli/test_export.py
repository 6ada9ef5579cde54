"""`mobileq export` as a user types it: bundles, and every kind of bad input."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from conftest import Cli
from mobileq.bundle import open_bundle
from mobileq.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network as a user has it: the shipped one, as a .pt file."""
    path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    save_checkpoint(path, load_checkpoint("pcam-equivariant"))
    return path


@pytest.mark.slow
def test_export_writes_a_verified_bundle(checkpoint: Path, cli: Cli) -> None:
    """The spelling of the README makes five files and an unbroken ladder."""
    shutil.copy(checkpoint, checkpoint.parent / "copy.pt")
    done = cli(["export", "copy.pt", "--int8"], cwd=checkpoint.parent)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(checkpoint.parent / "copy.mobileq")
    assert set(bundle.manifest["files"]) == {
        "model.float.onnx",
        "model.int8.onnx",
        "model.float.tflite",
        "model.int8.tflite",
    }
    assert all(rung["passed"] for rung in bundle.manifest["ladder"])
    assert bundle.manifest["exact_symmetry"]["motions"] == [[1, False]]
    for name in bundle.manifest["files"]:
        assert bundle.read(name)
    again = cli(["export", "copy.pt", "--int8"], cwd=checkpoint.parent)
    assert again.returncode == 2
    assert "copy.mobileq: exists already" in again.stderr
    assert open_bundle(bundle.path).manifest == bundle.manifest


@pytest.mark.slow
def test_float_export_of_one_format(checkpoint: Path, cli: Cli, tmp_path: Path) -> None:
    """Without --int8 and with one format there is one file, and no quantization."""
    out = tmp_path / "x.mobileq"
    done = cli(["export", checkpoint, "--formats", "onnx", "--out", out, "-q"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(out)]
    manifest = open_bundle(out).manifest
    assert set(manifest["files"]) == {"model.float.onnx"}
    assert "quantization" not in manifest


class _Bomb:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


def _bad_files(tmp_path: Path, good: Path) -> dict[str, tuple[Path, str]]:
    """Bad checkpoints by kind, each with what the message must say."""
    whole = good.read_bytes()
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(whole[: len(whole) // 2])
    foreign = tmp_path / "foreign.pt"
    foreign.write_text("not a model")
    module = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 2), module)
    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(pickle.dumps(_Bomb(tmp_path / "exploded")))
    torch_bomb = tmp_path / "torch_bomb.pt"
    torch.save({"weights": _Bomb(tmp_path / "exploded")}, torch_bomb)
    newer = tmp_path / "newer.pt"
    content = torch.load(good, weights_only=True)
    torch.save({**content, "version": 99}, newer)
    return {
        "missing": (tmp_path / "missing.pt", "no such file"),
        "truncated": (truncated, "truncated"),
        "foreign": (foreign, "neither a torch nor a safetensors file"),
        "module": (module, "holds Python objects"),
        "bomb": (bomb, "neither a torch nor a safetensors file"),
        "torch_bomb": (torch_bomb, "holds Python objects"),
        "newer": (newer, "checkpoint format 99"),
    }


KINDS = ("missing", "truncated", "foreign", "module", "bomb", "torch_bomb", "newer")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_checkpoints_are_one_line(
    kind: str, checkpoint: Path, cli: Cli, tmp_path: Path
) -> None:
    """One line on stderr that names the file, exit code 2, nothing written or run."""
    path, message = _bad_files(tmp_path, checkpoint)[kind]
    before = sorted(tmp_path.iterdir())
    done = cli(["export", path, "--int8", "--out", tmp_path / "out.mobileq"])
    assert done.returncode == 2
    assert message in done.stderr
    assert path.name in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_bad_options_are_one_line(checkpoint: Path, cli: Cli, tmp_path: Path) -> None:
    """An unknown format or recipe option is refused before anything is written."""
    recipe = tmp_path / "odd.toml"
    recipe.write_text("[ranges]\nsigma = 3\n")
    out = tmp_path / "out.mobileq"
    for options, message in (
        (["--recipe", recipe], "unknown option 'sigma'"),
        (["--recipe", "nonsense"], "no such recipe"),
        (["--formats", "onnx,coreml"], "format is 'coreml'"),
        (["--formats", ","], "no format"),
        (["--images", recipe], "cannot be read as an array"),
    ):
        done = cli(["export", checkpoint, "--int8", "--out", out, *options])
        assert done.returncode == 2, options
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not out.exists()


def test_overwrite_replaces_bundles_only(
    checkpoint: Path, cli: Cli, tmp_path: Path
) -> None:
    """--overwrite never removes a directory that is not a bundle."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    done = cli(["export", checkpoint, "--out", precious, "--overwrite"])
    assert done.returncode == 2
    assert "is not a bundle" in done.stderr
    assert (precious / "thesis.tex").read_text() == "years of work"


def test_models_lists_what_is_shipped(cli: Cli) -> None:
    """Both shipped names appear, with the scores of their cards."""
    done = cli(["models", "--json"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"pcam-conventional", "pcam-equivariant"}
    for entry in found.values():
        assert 0.5 < entry["training"]["test"]["accuracy"] <= 1
        assert Path(entry["path"]).stat().st_size < 2_000_000
