"""`--factory`, `--trust-pickle` and `mobileq.export`: networks that users bring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mobileq
from conftest import ROOT, Cli
from mobileq.bundle import open_bundle
from mobileq.cli.network_options import parsed_scale, parsed_shape
from mobileq.collapsed import load_collapsed
from mobileq.deploy.export import GRAPH
from mobileq.errors import InputError, RecipeError
from support.networks import random_pixels
from support.user_code import CODE


def _network() -> nn.Module:
    """What the code above builds, with the statistics of noise."""
    space: dict[str, object] = {}
    exec(CODE, space)  # the test's own text
    torch.manual_seed(0)
    build = space["build"]
    assert callable(build)
    network: nn.Module = build()
    with torch.no_grad():
        for _ in range(50):
            network.train()(torch.rand(16, 1, 9, 9))
    return network.eval()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's directory: code and weights."""
    (tmp_path / "nets.py").write_text(CODE)
    torch.save(_network().state_dict(), tmp_path / "weights.pt")
    return tmp_path


OWN = ["--factory", "nets:build", "--input-shape", "1,9,9"]
PIXELS = ["--pixel-scale", "1/255", "--pixel-zero", "0"]


@pytest.mark.slow
def test_weights_and_a_function(project: Path, cli: Cli) -> None:
    """Files come out, and the manifest says where they are from."""
    options = [*OWN, *PIXELS, "--formats", "onnx", "--int8", "--out", "x.mobileq"]
    done = cli(["export", "weights.pt", *options], cwd=project)
    assert done.returncode == 0, done.stderr
    manifest = open_bundle(project / "x.mobileq").manifest
    assert manifest["checkpoint"]["factory"] == "nets:build"
    assert manifest["checkpoint"]["source"] == "weights.pt"
    assert len(manifest["checkpoint"]["sha256"]) == 64
    assert manifest["input"]["shape"] == [1, 9, 9]
    assert manifest["input"]["pixel_scale"] == 1 / 255
    assert manifest["input"]["pixel_zero"] == 0
    assert manifest["classes"] == 3


@pytest.mark.slow
def test_collapsing_and_then_exporting(project: Path, cli: Cli) -> None:
    """Shape and pixels travel in the collapsed checkpoint; so does the function."""
    done = cli(["collapse", "weights.pt", *OWN, *PIXELS, "-q"], cwd=project)
    assert done.returncode == 0, done.stderr
    (name,) = done.stdout.split()
    found = load_collapsed(project / name)
    image = found.graph.input
    assert (image.shape, image.pixel_scale, image.pixel_zero) == ((1, 9, 9), 1 / 255, 0)
    assert found.origin["factory"] == "nets:build"
    options = ["--formats", "onnx", "-q"]
    exported = cli(["export", name, *options], cwd=project)
    assert exported.stdout.split() == ["weights.mobileq"], exported.stderr
    direct = ["--formats", "onnx", "--out", "direct.mobileq", "-q"]
    assert cli(["export", "weights.pt", *OWN, *PIXELS, *direct], project).stdout
    one, two = (open_bundle(project / f"{n}.mobileq") for n in ("weights", "direct"))
    assert one.read("model.float.onnx") == two.read("model.float.onnx")


@pytest.mark.slow
def test_a_pickled_module_that_is_trusted(project: Path, cli: Cli) -> None:
    """It is refused, with the way to open it; with the option it is exported."""
    torch.save(_network(), project / "whole.pt")
    options = ["--input-shape", "1,9,9", "--formats", "onnx", "-q"]
    refused = cli(["export", "whole.pt"], cwd=project)
    assert refused.returncode == 2
    assert "--trust-pickle, which runs whatever code the file names" in refused.stderr
    done = cli(["export", "whole.pt", "--trust-pickle", *options], cwd=project)
    assert done.returncode == 0, done.stderr
    assert (project / "whole.mobileq" / "model.float.onnx").exists()


@pytest.mark.slow
def test_bad_options_are_one_line(project: Path, cli: Cli) -> None:
    """Exit code 2, what was found and what was wanted; nothing is written."""
    for options, message in (
        ([], "without a model spec; wanted a mobileq checkpoint, or the function"),
        (["--factory", "nets"], "--factory is 'nets'; wanted package.module:function"),
        (["--factory", "nets:make"], "nets has no 'make'"),
        ([*OWN, "--input-shape", "9,9"], "--input-shape is '9,9'; wanted channels"),
        ([*OWN, "--pixel-scale", "1/0"], "--pixel-scale is '1/0'; wanted a positive"),
        ([*OWN, "--pixel-zero", "300"], "--pixel-zero is 300; wanted a grey level"),
        (["--input-shape", "1,9,9"], "is read as a checkpoint of mobileq"),
        (["--factory", "nets:build"], "cannot be traced"),
    ):
        done = cli(["export", "weights.pt", "--out", "x", *options], cwd=project)
        assert done.returncode == 2, (options, done.stderr)
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (project / "x").exists()


@pytest.mark.parametrize(
    ("text", "wanted"), [("1/128", 1 / 128), ("0.5", 0.5), ("2/1e3", 0.002)]
)
def test_scales_are_numbers_or_fractions(text: str, wanted: float) -> None:
    """As people write them."""
    assert parsed_scale(text) == wanted


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1/2/3", "1/-2", "x"])
def test_scales_that_are_none(text: str) -> None:
    """Only positive numbers are."""
    with pytest.raises(InputError, match="wanted a positive number or fraction"):
        parsed_scale(text)


@pytest.mark.parametrize(
    "text",
    ["", "3", "3,9", "3,9,9,9", "3,0,9", "3,-9,9", "3,9,1e3", "3,9,99999", "²,1,1"],
)
def test_shapes_that_are_none(text: str) -> None:
    """Three positive whole numbers."""
    assert parsed_shape(" 3, 95,95") == (3, 95, 95)
    with pytest.raises(InputError, match="wanted channels, height and width"):
        parsed_shape(text)


def test_the_package_exports_a_network(tmp_path: Path) -> None:
    """`mobileq.export` with a tensor that says the shape."""
    bundle = mobileq.export(
        _network(),
        torch.zeros(2, 1, 9, 9),
        out=tmp_path / "x.mobileq",
        formats=["onnx"],
        recipe="dfq-per-tensor",
        pixel_scale=1 / 255,
        pixel_zero=0,
        images=random_pixels(4, (1, 9, 9), 0),
    )
    assert open_bundle(bundle.path).manifest == bundle.manifest
    assert bundle.manifest["recipe"]["name"] == "dfq-per-tensor"
    assert bundle.manifest["input"]["pixel_scale"] == 1 / 255
    assert set(bundle.manifest["files"]) == {
        "model.float.onnx",
        "model.int8.onnx",
        GRAPH,
    }


def test_examples_that_are_no_images(tmp_path: Path) -> None:
    """The shape found and the shape wanted; also bad pixels and recipes."""
    network, out = _network(), tmp_path / "x.mobileq"
    for example in (np.zeros((1, 9, 9)), np.zeros((0, 1, 9, 9)), np.zeros(())):
        with pytest.raises(InputError, match=r"wanted .* of shape \(B, C, H, W\)"):
            mobileq.export(network, example, out=out)
    good = np.zeros((1, 1, 9, 9))
    with pytest.raises(InputError, match=r"pixel_scale is -1, pixel_zero 128; wanted"):
        mobileq.export(network, good, out=out, pixel_scale=-1)
    with pytest.raises(RecipeError, match="no such recipe"):
        mobileq.export(network, good, out=out, recipe="nonsense")
    assert not out.exists()


def test_importing_the_package_imports_nothing() -> None:
    """The attribute is looked up when it is used."""
    code = (
        "import sys, mobileq; before = 'numpy' in sys.modules; mobileq.export; "
        "print(before, 'numpy' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == ["False", "True", "False"]
