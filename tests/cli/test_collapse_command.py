"""`mobileq collapse`, and an export of what it writes without torch and escnn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import SOURCE_ROOTS, Cli
from mobileq.bundle import open_bundle
from mobileq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mobileq.collapse.collapse import collapse
from mobileq.collapsed import load_collapsed, save_collapsed
from mobileq.deploy import export_checkpoint
from mobileq.deploy.climb import NOT_CLIMBED
from mobileq.deploy.collapsing import collapse_checkpoint
from mobileq.deploy.sources import Source
from mobileq.errors import CheckpointError, InputError, VerificationError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.recipe import load_recipe
from mobileq.verify import ladder
from mobileq.verify.torch_runner import torch_threads
from support.networks import normalized, random_pixels, randomize_norms
from support.same_graph import require_same_graph

SMALL = ModelSpec(group="D4", width=0.05, input_size=17)
FILES = (
    "model.float.onnx",
    "model.int8.onnx",
    "model.float.tflite",
    "model.int8.tflite",
)

# A finder that stands before all others: as if neither were installed.
WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "escnn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from mobileq.cli.app import main
main()
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with the statistics of noise, as a .pt file."""
    shape = (SMALL.in_channels, SMALL.input_size, SMALL.input_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_model(SMALL)
        randomize_norms(network, normalized(random_pixels(16, shape, 0)))
    path = tmp_path_factory.mktemp("collapse") / "small.pt"
    training = {"epochs": 3, "test": {"auc": 0.9}}
    save_checkpoint(path, Checkpoint(SMALL, network.state_dict(), training))
    return path


@pytest.fixture(scope="module")
def collapsed(checkpoint: Path) -> Path:
    """The same, collapsed."""
    path = checkpoint.with_name("small.collapsed.safetensors")
    collapse_checkpoint(checkpoint, path)
    return path


@pytest.mark.slow
def test_the_command_writes_the_graph(
    checkpoint: Path, cli: Cli, tmp_path: Path
) -> None:
    """Its name follows the checkpoint's; it holds graph, origin, training, rungs."""
    done = cli(["collapse", checkpoint])
    assert done.returncode == 0, done.stderr
    path = tmp_path / "small.collapsed.safetensors"
    assert path.name in done.stdout
    assert "collapsed against network as trained: relative error" in done.stdout
    found, wanted = load_collapsed(path), load_checkpoint(checkpoint)
    with torch_threads(1):
        graph = collapse(wanted.build(), (3, 17, 17)).graph
    require_same_graph(found.graph, graph)
    assert found.training == wanted.training
    assert found.origin["sha256"] == wanted.sha256
    assert [rung["name"] for rung in found.ladder] == [
        "collapsed, 1 thread",
        "graph, collapsed",
    ]
    again = cli(["collapse", checkpoint])
    assert again.returncode == 2
    assert "exists already" in again.stderr
    replaced = cli(["collapse", checkpoint, "--overwrite", "-q"])
    assert replaced.stdout.split() == ["small.collapsed.safetensors"]
    assert list(tmp_path.iterdir()) == [path]


def test_two_collapses_are_one_file(checkpoint: Path, tmp_path: Path) -> None:
    """Byte for byte."""
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    collapse_checkpoint(checkpoint, first)
    collapse_checkpoint(checkpoint, second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["dfq", "calibrated"])
def test_export_without_torch_and_escnn(
    checkpoint: Path, collapsed: Path, recipe: str, tmp_path: Path
) -> None:
    """The files are those of a direct export, bit for bit, and so is the proof."""
    images = random_pixels(8, (3, 17, 17), 1)
    np.save(tmp_path / "images.npy", images)
    options = ["--int8", "--explain", "--require-certificate", "--out", "x.mobileq"]
    options += ["--recipe", recipe, "--calibration", "images.npy"]
    done = _without_torch(["export", str(collapsed), *options], tmp_path)
    assert done.returncode == 0, done.stderr
    found = open_bundle(tmp_path / "x.mobileq")
    direct = export_checkpoint(
        checkpoint,
        tmp_path / "direct.mobileq",
        recipe=load_recipe(recipe),
        calibration=images,
        explain=True,
    )
    for name in FILES:
        assert found.read(name) == direct.read(name), name
    assert found.manifest["certificates"] == direct.manifest["certificates"]
    assert found.manifest["quantization"] == direct.manifest["quantization"]
    assert json.loads(found.read("explain.json"))["layers"]


def _without_torch(args: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `mobileq ARGS` as if torch and escnn were not installed."""
    paths = {"PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS)), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *args],
        cwd=cwd,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_manifest_says_what_was_not_climbed(
    collapsed: Path, tmp_path: Path
) -> None:
    """The two representations that are not there, and their rungs from the file."""
    bundle = export_checkpoint(
        collapsed, tmp_path / "x.mobileq", int8=False, formats=["onnx"]
    )
    manifest = open_bundle(bundle.path).manifest
    source = load_collapsed(collapsed)
    missing = manifest["ladder_not_climbed"]
    assert missing["representations"] == list(NOT_CLIMBED)
    assert missing["climbed_at_collapse"] == list(source.ladder)
    names = [rung["name"] for rung in manifest["ladder"]]
    assert names[0] == "graph, folded"
    assert not any(name.startswith(tuple(NOT_CLIMBED)) for name in names)
    assert manifest["checkpoint"]["sha256"] == source.sha256
    assert manifest["checkpoint"]["collapsed_from"] == source.origin


def test_a_direct_export_climbs_everything(checkpoint: Path, tmp_path: Path) -> None:
    """Then there is nothing to be said."""
    out = tmp_path / "x.mobileq"
    bundle = export_checkpoint(checkpoint, out, int8=False, formats=["onnx"])
    assert "ladder_not_climbed" not in bundle.manifest
    assert bundle.manifest["ladder"][0]["name"] == "collapsed, 1 thread"


def test_recipes_that_need_gradients_say_so(collapsed: Path, tmp_path: Path) -> None:
    """Without torch, images cannot be synthesised: one line with the remedy."""
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[images]\nsource = "synthesised"\n[ranges]\nmethod = "min-max"\n'
    )
    done = _without_torch(
        ["export", str(collapsed), "--int8", "--recipe", str(recipe), "--out", "x"],
        tmp_path,
    )
    assert done.returncode == 2, done.stderr
    assert "synthesises images, which takes torch" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_network_that_disagrees_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rungs are climbed before anything is written."""
    monkeypatch.setattr(ladder, "relative_error", lambda found, wanted: 0.5)
    with pytest.raises(
        VerificationError, match=r"^collapsed, .* relative error is 0.5"
    ):
        collapse_checkpoint(checkpoint, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_is_collapsed_is_not_collapsed_again(
    collapsed: Path, cli: Cli, tmp_path: Path
) -> None:
    """Nor made into a torch network."""
    done = cli(["collapse", collapsed, "--out", "x.safetensors"])
    assert done.returncode == 2
    assert "collapsed already; wanted" in done.stderr
    with pytest.raises(CheckpointError, match="a collapsed checkpoint, from which no"):
        load_checkpoint(collapsed)
    for source in (
        Source(collapsed, factory="a:b"),
        Source(collapsed, trust_pickle=True),
        Source(collapsed, shape=(3, 9, 9)),
    ):
        with pytest.raises(InputError, match="is read as a collapsed checkpoint"):
            collapse_checkpoint(source, tmp_path / "x.safetensors")


def test_a_damaged_file_is_one_line(collapsed: Path, cli: Cli, tmp_path: Path) -> None:
    """On the command line as well: exit code 2, nothing written."""
    path = tmp_path / "x.collapsed.safetensors"
    path.write_bytes(collapsed.read_bytes()[:-100])
    done = cli(["export", path, "--int8"])
    assert done.returncode == 2
    assert f"{path}: damaged, truncated" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_not_replaced(checkpoint: Path, tmp_path: Path) -> None:
    """Whatever --overwrite says."""
    with pytest.raises(CheckpointError, match="exists already"):
        collapse_checkpoint(checkpoint, tmp_path, overwrite=True)


def test_images_that_do_not_fit(checkpoint: Path, tmp_path: Path) -> None:
    """Images to verify with have the network's shape."""
    images = np.zeros((2, 9, 9, 3), np.uint8)
    with pytest.raises(InputError, match=r"wanted uint8 of shape \(N, 17, 17, 3\)"):
        collapse_checkpoint(checkpoint, tmp_path / "x", images=images)


def test_a_loaded_network_can_be_saved_again(collapsed: Path, tmp_path: Path) -> None:
    """Reading and writing changes no byte."""
    save_collapsed(tmp_path / "x", load_collapsed(collapsed))
    assert (tmp_path / "x").read_bytes() == collapsed.read_bytes()
