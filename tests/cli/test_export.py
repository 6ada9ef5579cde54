"""`mobileq export` as a user types it: bundles, and every kind of bad input."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Cli
from mobileq.bundle import open_bundle
from mobileq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mobileq.deploy import export_checkpoint, export_module
from mobileq.deploy.explain import Explanation
from mobileq.deploy.export import GRAPH
from mobileq.errors import DataError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.recipe import load_recipe
from mobileq.verify.images import verification_images
from support.networks import normalized, random_pixels, randomize_norms

SMALL = ModelSpec(group="C4", width=0.05, input_size=17)


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
        GRAPH,
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
    assert set(manifest["files"]) == {"model.float.onnx", GRAPH}
    assert "quantization" not in manifest


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with the statistics of noise, as a .pt file."""
    shape = (SMALL.in_channels, SMALL.input_size, SMALL.input_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_model(SMALL)
        randomize_norms(network, normalized(random_pixels(16, shape, 0)))
    path = tmp_path_factory.mktemp("small") / "small.pt"
    save_checkpoint(path, Checkpoint(SMALL, network.state_dict(), {}))
    return path


@pytest.mark.slow
def test_a_recipe_that_needs_images_says_so(
    small: Path, cli: Cli, tmp_path: Path
) -> None:
    """Exit code 2, one line that names the option, nothing written."""
    out = tmp_path / "x.mobileq"
    done = cli(["export", small, "--int8", "--recipe", "calibrated", "--out", out])
    assert done.returncode == 2
    assert "recipe 'calibrated' needs calibration images" in done.stderr
    assert "--calibration" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2, 17, 17, 3), np.float32),
        ((2, 16, 17, 3), np.uint8),
        ((0, 17, 17, 3), np.uint8),
    ],
)
def test_calibration_images_that_do_not_fit(
    shape: tuple[int, ...], kind: type[np.generic], small: Path, tmp_path: Path
) -> None:
    """Another type, too small a grid and no image are refused, nothing is written."""
    out = tmp_path / "x.mobileq"
    with pytest.raises(DataError, match=r"wanted uint8 of shape \(N, 17, 17, 3\)"):
        export_checkpoint(
            small,
            out,
            recipe=load_recipe("calibrated"),
            calibration=np.zeros(shape, kind),  # type: ignore[arg-type]
        )
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["dfq", "dfq-per-tensor"])
def test_the_same_bytes_again(recipe: str, cli: Cli, tmp_path: Path) -> None:
    """Two exports of a checkpoint are the same, whatever the number of threads."""
    made = []
    for threads in (1, 2):
        out = tmp_path / str(threads) / "x.mobileq"
        options = ["--int8", "--recipe", recipe, "--out", out]
        done = cli(
            ["export", "pcam-equivariant", *options],
            env={"OMP_NUM_THREADS": str(threads)},
        )
        assert done.returncode == 0, done.stderr
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert made[0].keys() == made[1].keys()
    assert [name for name in made[0] if made[0][name] != made[1][name]] == []


@pytest.mark.slow
def test_calibration_images_are_used(cli: Cli, tmp_path: Path) -> None:
    """A .npy file of larger images makes a bundle whose ranges rest on it."""
    np.save(tmp_path / "images.npy", verification_images((3, 96, 96), count=8, seed=1))
    options = ["--recipe", "calibrated", "--calibration", "images.npy", "--int8"]
    options += ["--formats", "tflite", "--out", "x.mobileq", "-q"]
    done = cli(["export", "pcam-conventional", *options])
    assert done.returncode == 0, done.stderr
    manifest = open_bundle(tmp_path / "x.mobileq").manifest
    assert manifest["recipe"]["name"] == "calibrated"
    assert manifest["quantization"]["notes"] == []
    found = manifest["quantization"]["ranges"]
    sources = {name: entry["source"] for name, entry in found.items()}
    assert sources.pop("input", "8-bit pixel") == "8-bit pixel"
    assert not any("sigma" in source for source in sources.values())


@pytest.mark.parametrize("given", [True, False])
def test_networks_without_statistics_leave_a_note(given: bool, tmp_path: Path) -> None:
    """It says what means and ranges rest on, whether or not there were images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
            torch.nn.ReLU6(),
            torch.nn.Conv2d(8, 8, 1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(8, 3),
        ).eval()
    pixels = random_pixels(8, (3, 9, 9), 2)
    out = tmp_path / "x.mobileq"
    bundle = export_module(
        network,
        (3, 9, 9),
        out=out,
        images=pixels[:4],
        calibration=pixels if given else None,
    )
    (note,) = bundle.manifest["quantization"]["notes"]
    assert note.startswith("no BatchNorm statistics")
    assert ("8 calibration images" if given else "made-up images") in note
    assert open_bundle(out).manifest["quantization"]["notes"] == [note]


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


@pytest.mark.slow
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
    """All shipped names appear, with their scores, and are small."""
    done = cli(["models", "--json"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    networks = {"pcam-conventional", "pcam-equivariant"}
    assert set(found) == networks | {f"{name}-large" for name in networks}
    for name, entry in found.items():
        assert 0.5 < entry["training"]["test"]["accuracy"] <= 1
        limit = 6_000_000 if name == "pcam-conventional-large" else 2_000_000
        assert Path(entry["path"]).stat().st_size < limit


@pytest.mark.slow
def test_an_explanation_is_part_of_the_bundle(cli: Cli, tmp_path: Path) -> None:
    """Its files have hashes in the manifest, and the output names the worst layer."""
    done = cli(
        ["export", "pcam-conventional", "--int8", "--explain", "--out", "e.mobileq"]
    )
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(tmp_path / "e.mobileq")
    found = Explanation.from_dict(json.loads(bundle.read("explain.json")))
    assert "explain.svg" in bundle.manifest["files"]
    assert f"{found.worst.name} costs most" in done.stdout


def test_an_explanation_needs_integers(cli: Cli) -> None:
    """Without --int8 it is refused before anything is read."""
    done = cli(["export", "pcam-conventional", "--explain"])
    assert done.returncode == 2
    assert "wanted --int8 with --explain" in done.stderr
