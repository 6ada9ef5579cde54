"""`mobileq equivariance` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Cli
from mobileq.bundle import MANIFEST, Bundle, open_bundle, write_bundle
from mobileq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mobileq.cli.equivariance_layers import measure_layers
from mobileq.collapse.collapse import collapse
from mobileq.deploy import deploy
from mobileq.deploy.manifest import manifest_of
from mobileq.errors import BundleError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.recipe import Recipe
from mobileq.verify.images import verification_images
from mobileq.verify.torch_runner import torch_threads
from mobileq_onnx import float_writer, qdq_writer
from mobileq_tflite.int8_writer import write_int8
from support.handmade import handmade_graph, handmade_spec
from support.images import normalized
from support.manifests import sound
from support.networks import randomize_norms

SPEC = ModelSpec(group="C8", width=0.1, input_size=31, reduced_strides=2)
SHAPE = (3, SPEC.input_size, SPEC.input_size)
CALIBRATED = Recipe(range_method="mse", image_source="calibration").to_dict()
IMAGES = {SHAPE: verification_images(SHAPE, count=2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with fitting statistics, and a file that is in the way."""
    path = tmp_path_factory.mktemp("equivariance")
    torch.manual_seed(0)
    model = build_model(SPEC)
    randomize_norms(model, normalized(verification_images(SHAPE, count=16)))
    save_checkpoint(path / "turning.pt", Checkpoint(SPEC, model.state_dict()))
    (path / "taken.svg").touch()
    return path


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    """The network as files for ONNX, and its INT8 file for TFLite."""
    checkpoint = load_checkpoint(folder / "turning.pt")
    # One thread, as the command line takes: more sum in another order.
    with torch_threads(1):
        collapsed = collapse(checkpoint.build(), SHAPE)
    made = deploy(collapsed, formats=("onnx",))
    assert made.quantized is not None
    integers = write_int8(made.quantized.graph, made.quantized.spec)
    origin = {"source": checkpoint.source, "sha256": checkpoint.sha256}
    return write_bundle(
        folder / "turning.mobileq",
        {**made.files, "model.int8.tflite": integers},
        {**manifest_of(made, Recipe(), ()), "checkpoint": origin, "certificates": {}},
    )


@pytest.fixture(scope="module")
def plain(folder: Path) -> Bundle:
    """Files of a network without a group, for larger images."""
    graph = handmade_graph(size=33)
    spec = handmade_spec(graph)
    image, output = graph.input, spec.activations[graph.output]
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
    )
    files = {
        "model.float.onnx": float_writer.write_float(graph),
        "model.int8.onnx": qdq_writer.write_int8(graph, spec),
    }
    return write_bundle(folder / "plain.mobileq", files, manifest)


def altered(bundle: Bundle, target: Path, **changes: Any) -> Bundle:
    """A copy of a bundle with other keys in its manifest; None removes one."""
    shutil.copytree(bundle.path, target)
    manifest = {**bundle.manifest, **changes}
    kept = {key: value for key, value in manifest.items() if value is not None}
    (target / MANIFEST).write_text(json.dumps(kept))
    return open_bundle(target)


@pytest.mark.slow
def test_networks_of_two_sizes_side_by_side(
    bundle: Bundle, plain: Bundle, cli: Cli
) -> None:
    """Tables, picture and figures of both; layers of the one with a group."""
    args = ["turning.mobileq", "plain.mobileq", "--images=3", "--per-layer"]
    where = ["--runtime=onnx", "--data=synthetic", "--step=45"]
    files = ["--plot=out.svg", "--json-file=out.json"]
    done = cli(["equivariance", *args, *where, *files], cwd=bundle.path.parent)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "INT8: a quarter turn changes no value of any tensor." in done.stdout
    assert "At 45 degrees the error rises most in " in done.stdout
    assert "plain.mobileq: no rotation group" in done.stdout
    values = json.loads((bundle.path.parent / "out.json").read_text())
    curves = values["curves"]
    found = [(c["network"], c["group"], c["label"]["precision"]) for c in curves]
    assert found == [
        ("turning.mobileq", "C8", "float"),
        ("turning.mobileq", "C8", "int8"),
        ("plain.mobileq", "conventional", "float"),
        ("plain.mobileq", "conventional", "int8"),
    ]
    errors = [[angle["mean"] for angle in curve["angles"]] for curve in curves]
    assert all(len(means) == 8 and means[0] == 0 for means in errors)
    # Quarter turns: INT8 exact, float up to rounding, the conventional one neither.
    assert errors[1][2] == errors[1][4] == errors[1][6] == 0
    assert max(errors[0][2::2]) < 1e-3 < min(errors[2][2::2])
    assert curves[1]["ratio_to_float"]["of_group"] > 0
    (layers,) = values["layers"]
    assert (layers["group"], layers["degrees"]) == ("C8", 45)
    assert layers["first_changed"] is None
    assert all(t["changed_values"] == 0 for t in layers["tensors"])
    assert values["image_count"] == 3
    picture = (bundle.path.parent / "out.svg").read_text()
    assert picture.startswith("<?xml")
    assert "plain.mobileq int8" in picture


@pytest.mark.slow
def test_torch_alone_needs_no_export(folder: Path, cli: Cli) -> None:
    """One float curve, without a ratio; the files may be replaced if that is said."""
    args = ["turning.pt", "--runtime=torch", "--images=2", "--step=90"]
    done = cli(
        [
            "equivariance",
            *args,
            "--plot=taken.svg",
            "--overwrite",
            "--json-file=t.json",
        ],
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    (curve,) = json.loads((folder / "t.json").read_text())["curves"]
    assert (curve["label"]["runtime"], curve["ratio_to_float"]) == ("torch", None)
    # Float rounding, a thousand times below any real asymmetry.
    assert max(angle["max"] for angle in curve["angles"]) < 1e-3
    assert (folder / "taken.svg").stat().st_size > 0
    (folder / "taken.svg").write_bytes(b"")


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["--step=20"], "--step is 20 degrees; wanted a divisor of 90"),
        (["--plot=out.jpg"], "--plot is out.jpg; wanted a name that ends in .svg"),
        (["--plot=taken.svg"], "taken.svg: exists already"),
        (["--runtime=coreml"], "--runtime is 'coreml'; wanted tflite or onnx"),
        (["turning.pt", "missing.pt"], "missing.pt: no such file"),
        (["turning.pt", "--data=nowhere"], "nowhere: no such directory"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    args: list[str], wanted: str, folder: Path, cli: Cli
) -> None:
    """Exit code 2, a line on stderr, nothing on stdout, nothing written."""
    before = sorted(folder.iterdir())
    done = cli(["equivariance", *args], cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(folder.iterdir()) == before
    assert (folder / "taken.svg").read_bytes() == b""


def test_a_bundle_with_other_integers_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    """What would be measured layer by layer must be what is in the bundle."""
    recipe = Recipe(sigmas=4.0).to_dict()
    other = altered(bundle, tmp_path / "other.mobileq", recipe=recipe)
    with pytest.raises(BundleError, match=r"model\.int8\.tflite: tensor .* of scale "):
        measure_layers(other, IMAGES, progress=print)


def test_an_onnx_bundle_is_measured_by_its_recipe(
    bundle: Bundle, tmp_path: Path
) -> None:
    """The integers are the same in every format; the file for TFLite is made again."""
    files = bundle.manifest["files"]
    kept = {name: entry for name, entry in files.items() if name.endswith("onnx")}
    other = altered(bundle, tmp_path / "other.mobileq", files=kept)
    found = measure_layers(other, IMAGES, progress=lambda _: None)
    assert not isinstance(found, str)
    assert found.images == 2
    assert found.first_changed is None


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"recipe": None}, "has no recipe of this mobileq"),
        ({"recipe": {"flavour": 1}}, "has no recipe of this mobileq"),
        ({"recipe": CALIBRATED}, "rests on calibration images"),
        ({"checkpoint": None}, "names no checkpoint"),
    ],
)
def test_integers_that_cannot_be_made_again_are_refused(
    changes: dict[str, Any], wanted: str, bundle: Bundle, tmp_path: Path
) -> None:
    """The remedy is to pass the checkpoint."""
    other = altered(bundle, tmp_path / "other.mobileq", **changes)
    with pytest.raises(BundleError, match=wanted) as caught:
        measure_layers(other, IMAGES, progress=print)
    remedy = "pass the checkpoint instead of the bundle for --per-layer"
    assert remedy in str(caught.value)


@pytest.mark.slow
def test_the_shipped_networks_are_the_default(
    shared_data: Path, pcam_dir: Path, cli: Cli, tmp_path: Path
) -> None:
    """On real tissue: exact in INT8 for the equivariant one, and not for its twin."""
    args = ["--data", pcam_dir, "--images=6", "--step=90", "--json-file=out.json"]
    done = cli(["equivariance", *args, "--runtime=onnx", "--per-layer"])
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "out.json").read_text())
    curves = values["curves"]
    assert [curve["network"] for curve in curves[::2]] == [
        "pcam-equivariant",
        "pcam-conventional",
    ]
    errors = np.array([[angle["max"] for angle in c["angles"]] for c in curves])
    assert (errors[1] == 0).all()
    # Rounding of float32, a thousand times below any real asymmetry.
    assert errors[0].max() < 1e-3
    assert errors[2:, 1:].min() > 1e-3
    (layers,) = values["layers"]
    assert (layers["network"], layers["first_changed"]) == ("pcam-equivariant", None)
