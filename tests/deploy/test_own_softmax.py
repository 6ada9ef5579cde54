"""Networks that end in a softmax of their own return scores, and so do their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mobileq
from mobileq.collapse.collapse import collapse
from mobileq.collapsed import load_collapsed
from mobileq.contract import Contract, Head
from mobileq.deploy.climb import climb, runners
from mobileq.deploy.collapsing import collapse_checkpoint
from mobileq.deploy.export import export_checkpoint, export_module
from mobileq.deploy.files import deploy
from mobileq.deploy.sources import Source
from mobileq.deploy.verifying import verify_bundle
from mobileq.errors import InputError
from mobileq.verify.runner import PixelMap
from support.images import normalized, random_pixels
from support.user_networks import USER_NETWORKS, trained_looking

ROUNDING = 1e-5
"""Float32 sums of some hundred products in another order; scores are at most 1."""

NETWORKS = ("blurred classifier", "segmentation")
SHAPES = {name: USER_NETWORKS[name].shape for name in NETWORKS}


def _with_softmax(name: str) -> nn.Module:
    """A user's network that goes on to scores."""
    return nn.Sequential(trained_looking(USER_NETWORKS[name]), nn.Softmax(dim=1)).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_its_graph_gives_logits_and_its_files_scores(name: str) -> None:
    """The whole ladder holds, on a vector and on a map; every file returns shares."""
    network, shape = _with_softmax(name), SHAPES[name]
    collapsed = collapse(network, shape)
    assert collapsed.head is Head.SOFTMAX
    made = deploy(collapsed)
    assert made.contract.head is Head.SOFTMAX
    pixels = random_pixels(3, shape, 1)
    rungs = climb(network, made, images=pixels)
    assert [rung for rung in rungs if not rung.passed] == []
    assert rungs[1].name.startswith("graph, collapsed")
    with torch.no_grad():
        wanted = network(normalized(pixels)).numpy()
    floats = {n: f for n, f in made.files.items() if ".float." in n}
    for runner in runners(floats, pixels=PixelMap()).values():
        assert np.abs(runner.outputs(pixels) - wanted).max() <= ROUNDING


def test_its_collapsed_checkpoint_gives_the_same_files(tmp_path: Path) -> None:
    """The softmax is remembered, and the bundle verifies from its files alone.

    A plain network, since modules of escnn cannot be pickled.
    """
    shape = USER_NETWORKS["gated plain network"].shape
    whole = tmp_path / "whole.pt"
    torch.save(_with_softmax("gated plain network"), whole)
    source = Source(whole, shape=shape, trust_pickle=True)
    kept = tmp_path / "x.collapsed.safetensors"
    collapse_checkpoint(source, kept)
    assert load_collapsed(kept).head is Head.SOFTMAX
    first = export_checkpoint(source, tmp_path / "first.mobileq", formats=("onnx",))
    again = export_checkpoint(kept, tmp_path / "again.mobileq", formats=("onnx",))
    for name in ("model.float.onnx", "model.int8.onnx"):
        assert first.read(name) == again.read(name)
    assert first.manifest["contract"]["head"] == "softmax"
    found = verify_bundle(first.path, source=source)
    assert all(found.reproduced.values())


def test_another_head_is_refused(tmp_path: Path) -> None:
    """A sigmoid of a softmax is a mistake."""
    shape = SHAPES["segmentation"]
    with pytest.raises(InputError) as caught:
        export_module(
            _with_softmax("segmentation"),
            shape,
            out=tmp_path / "x.mobileq",
            contract=Contract(head=Head.SIGMOID),
        )
    assert str(caught.value) == (
        "head is sigmoid for a network that ends in a softmax; wanted softmax (leave "
        "--head out)"
    )
    assert not list(tmp_path.iterdir())


def test_a_map_of_scores_is_proven_and_has_labels(tmp_path: Path) -> None:
    """Softmax of every pixel, names of the classes, from Python."""
    shape = SHAPES["segmentation"]
    bundle = mobileq.export(
        trained_looking(USER_NETWORKS["segmentation"]),
        torch.zeros(1, *shape),
        out=tmp_path / "x.mobileq",
        contract=Contract(head=Head.SOFTMAX, labels=("benign", "tumour")),
    )
    assert bundle.manifest["contract"]["labels"] == ["benign", "tumour"]
    for certificate in bundle.manifest["certificates"].values():
        assert certificate["group"] == "C4"
        assert certificate["output"] == "turned with the image"
        assert any("softmax" in text for text in certificate["assumptions"])
