"""`mobileq verify`: a bundle is checked again, from its files alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Cli
from mobileq.bundle import MANIFEST, open_bundle
from mobileq.checkpoint import Checkpoint, save_checkpoint
from mobileq.collapsed import collapsed_bytes, load_collapsed
from mobileq.deploy.export import GRAPH, export_checkpoint, export_module
from mobileq.deploy.sources import Source
from mobileq.deploy.verifying import verify_bundle
from mobileq.errors import BundleError, InputError, MobileqError, VerificationError
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Linear
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.recipe import load_recipe
from support.faults import TfliteEditor, editor, nudge
from support.networks import normalized, random_pixels, randomize_norms
from support.user_networks import USER_NETWORKS, trained_looking

SPEC = ModelSpec(group="C4", width=0.05, input_size=17)
TFLITE = "model.int8.tflite"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with the statistics of noise."""
    shape = (SPEC.in_channels, SPEC.input_size, SPEC.input_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_model(SPEC)
        randomize_norms(network, normalized(random_pixels(16, shape, 0)))
    path = tmp_path_factory.mktemp("small") / "small.pt"
    save_checkpoint(path, Checkpoint(SPEC, network.state_dict(), {}))
    return path


@pytest.fixture(scope="module")
def made(checkpoint: Path) -> Path:
    """What `mobileq export --int8` makes of it."""
    out = checkpoint.parent / "small.mobileq"
    export_checkpoint(checkpoint, out)
    return out


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy.mobileq"))


def _rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest."""
    path = bundle / MANIFEST
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _replace(bundle: Path, name: str, data: bytes) -> None:
    """Change a file, and its hash with it, as somebody would who knows how."""
    (bundle / name).write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    _rewrite(bundle, lambda content: content["files"].update({name: entry}))


@pytest.mark.slow
def test_what_was_exported_is_verified(made: Path, cli: Cli) -> None:
    """Exit code 0; ladder, certificates, and the same bytes when exported again."""
    done = cli(["verify", made])
    assert done.returncode == 0, done.stderr
    assert "Verification ladder" in done.stdout
    assert f"{TFLITE}: C4 is proven" in done.stdout
    assert "Exporting again gives the same bytes." in done.stdout
    assert done.stdout.rstrip().endswith("verified")


@pytest.mark.slow
def test_json_with_the_network_as_it_was_trained(
    made: Path, checkpoint: Path, cli: Cli
) -> None:
    """With --model the ladder is the one of the export, rung for rung."""
    done = cli(["verify", made, "--model", checkpoint, "--json"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    told = open_bundle(made).manifest
    assert found["ladder"] == told["ladder"]
    assert found["certificates"] == told["certificates"]
    assert set(found["reproduced"]) == set(told["files"]) - {GRAPH}
    assert all(found["reproduced"].values())


def test_without_it_the_ladder_begins_with_the_graph(made: Path) -> None:
    """The graph lies in the bundle; no rung of the rest is left out."""
    found = [rung.to_dict() for rung in verify_bundle(made).rungs]
    told = open_bundle(made).manifest["ladder"]
    assert found == [rung for rung in told if "trained" not in rung["against"]][1:]


def test_a_changed_byte_is_found_by_its_hash(bundle: Path, cli: Cli) -> None:
    """Exit code 2, one line with the file."""
    data = bytearray((bundle / TFLITE).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / TFLITE).write_bytes(bytes(data))
    done = cli(["verify", bundle])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert TFLITE in line
    assert "SHA-256" in line


def _nudged(bundle: Path, name: str) -> bytes:
    """A file with one weight of its first layer off by one."""
    tensors = TfliteEditor((bundle / TFLITE).read_bytes()).tensors
    first = next(name for name in tensors if name.endswith(";weight"))
    changed = editor(name.split(".")[-1], (bundle / name).read_bytes())
    nudge(changed, first.removesuffix(";weight"), "weight", (0, 0, 0, 0))
    return changed.data()


@pytest.mark.parametrize("name", ["model.int8.tflite", "model.int8.onnx"])
def test_a_changed_weight_with_the_right_hash(name: str, bundle: Path) -> None:
    """The proof does not go through; who changes the file changes its hash as well."""
    _replace(bundle, name, _nudged(bundle, name))
    with pytest.raises(VerificationError, match=f"{name}: C1 is proven, and the man"):
        verify_bundle(bundle)


@pytest.mark.parametrize(
    "name",
    ["model.float.tflite", "model.float.onnx", TFLITE, "model.int8.onnx", GRAPH],
)
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_garbage_with_the_right_hash(name: str, seed: int | None, bundle: Path) -> None:
    """All of a file, or some bytes of it: one line, and no waiting."""
    data = bytearray((bundle / name).read_bytes())
    if seed is None:
        data = bytearray(b"garbage" * 100)
    else:
        rng = np.random.default_rng(seed)
        for place in rng.integers(0, len(data), 30):
            data[place] ^= 1 << int(rng.integers(8))
    _replace(bundle, name, bytes(data))
    with pytest.raises(MobileqError) as caught:
        verify_bundle(bundle)
    assert "\n" not in str(caught.value)


def test_another_network_under_the_right_certificate(
    bundle: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Files of another recipe are as symmetric; the ladder finds that they differ."""
    other = tmp_path / "other.mobileq"
    export_checkpoint(checkpoint, other, recipe=load_recipe("naive"))
    _replace(bundle, TFLITE, (other / TFLITE).read_bytes())
    theirs = open_bundle(other).manifest["certificates"][TFLITE]
    _rewrite(bundle, lambda content: content["certificates"].update({TFLITE: theirs}))
    with pytest.raises(VerificationError, match="reference"):
        verify_bundle(bundle)


def test_another_graph(bundle: Path) -> None:
    """The graph in the bundle is checked against the files, too."""
    found = load_collapsed(bundle / GRAPH)
    nodes = [
        dataclasses.replace(node, bias=node.bias + 0.5)
        if isinstance(node, Linear)
        else node
        for node in found.graph.nodes
    ]
    graph = Graph(tuple(nodes), found.graph.output)
    _replace(bundle, GRAPH, collapsed_bytes(dataclasses.replace(found, graph=graph)))
    with pytest.raises(VerificationError, match="onnx float"):
        verify_bundle(bundle)


def test_a_bundle_without_the_graph(bundle: Path) -> None:
    """As older versions wrote it: what is missing, and the remedy."""
    (bundle / GRAPH).unlink()
    _rewrite(bundle, lambda content: content["files"].pop(GRAPH))
    with pytest.raises(BundleError, match=rf"holds no {GRAPH}, .*\(export again\)"):
        verify_bundle(bundle)


def test_another_checkpoint_is_refused(
    made: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """It is known by its hash."""
    other = tmp_path / "other.pt"
    other.write_bytes(checkpoint.read_bytes() + b"0")
    with pytest.raises(MobileqError, match=r"other\.pt"):
        verify_bundle(made, source=Source(str(other)))
    with pytest.raises(InputError, match=r"made from .* the checkpoint that was"):
        verify_bundle(made, source=Source("pcam-conventional"))


@pytest.mark.slow
def test_calibration_images_are_known_again(tmp_path: Path, cli: Cli) -> None:
    """Needed where the integers depend on them, refused where they are others."""
    out, images = tmp_path / "x.mobileq", tmp_path / "images.npy"
    network = USER_NETWORKS["segmentation"]
    pixels = random_pixels(4, network.shape, 1)
    np.save(images, pixels)
    export_module(
        trained_looking(network),
        network.shape,
        out=out,
        recipe=load_recipe("calibrated"),
        calibration=pixels,
    )
    again = cli(["verify", out, "--calibration", images])
    assert again.returncode == 0, again.stderr
    without = cli(["verify", out])
    assert without.returncode == 2
    assert "was made with 4 calibration images" in without.stderr
    np.save(images, pixels[::-1])
    others = cli(["verify", out, "--calibration", images])
    assert others.returncode == 2
    assert "4 other calibration images" in others.stderr


def test_calibration_images_that_were_not_used(made: Path) -> None:
    """An export without images is not verified with some."""
    with pytest.raises(InputError, match="made without calibration images"):
        verify_bundle(made, calibration=np.zeros((2, 17, 17, 3), np.uint8))


def test_options_of_a_network_without_one(made: Path, cli: Cli) -> None:
    """--factory alone says nothing."""
    done = cli(["verify", made, "--factory", "a:b"])
    assert done.returncode == 2
    assert "wanted --model" in done.stderr
