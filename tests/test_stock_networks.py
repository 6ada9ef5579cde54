"""Networks of other people: built right, fed right, and exported by the example."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from examples.photographs import PHOTOGRAPHS, natural_images
from examples.stock_mobilenetv2 import Task, main, parse, pcam_task, report
from examples.stock_networks import (
    HALF_LEVEL,
    PIXELS,
    Layer,
    StockNetwork,
    load_network,
    needs_head,
    unit,
)
from mobileq.bundle import open_bundle
from mobileq.collapse.collapse import collapse
from mobileq.data.pcam import open_pcam
from mobileq.errors import CheckpointError
from mobileq.graph.interpret import outputs

IN_CI = os.environ.get("CI") == "true"
KERAS = "mobilenetv2_0.35_backbone_bn_float.npz"
FOLDED = "mobilenetv2_1.0_224_imagenet_dequant_float.npz"
TFLITE = "tf2_mobilenet_v2_1.0_224_ptq.tflite"

# (name, out, in per group, kernel, stride, activation) of a folded file
SMALL = [
    ("stem", 8, 3, 3, 2, 3),
    ("depthwise", 8, 1, 3, 1, 3),
    ("project", 8, 8, 1, 1, 0),
    ("expand", 16, 8, 1, 1, 3),
    ("depthwise", 16, 1, 3, 2, 3),
    ("project", 8, 16, 1, 1, 0),
    ("expand", 16, 8, 1, 1, 3),
    ("depthwise", 16, 1, 3, 1, 3),
    ("project", 8, 16, 1, 1, 0),
    ("last", 32, 8, 1, 1, 3),
    ("logits", 5, 32, 1, 1, 0),
]


@pytest.fixture(scope="session")
def pretrained(shared_data: Path) -> Path:
    """Folder with the files of stock networks."""
    folder = shared_data / "pretrained"
    if all((folder / name).is_file() for name in (KERAS, FOLDED, TFLITE)):
        return folder
    reason = f"{folder}: no stock networks there"
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def photographs() -> NDArray[np.uint8]:
    """Two crops of each photograph, (10, 224, 224, 3)."""
    if not IN_CI:
        pytest.importorskip("skimage")
    return natural_images(224, 2 * len(PHOTOGRAPHS))


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """A folded file with three blocks and random weights."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for number, (name, out, inputs, kernel, stride, activation) in enumerate(SMALL):
        spread = np.sqrt(2 / (inputs * kernel**2))
        weight = spread * rng.standard_normal((out, inputs, kernel, kernel))
        arrays[f"{number:02}_w"] = weight.astype(np.float32)
        arrays[f"{number:02}_b"] = 0.1 * rng.standard_normal(out).astype(np.float32)
        arrays[f"{number:02}_meta"] = np.array(
            [stride, activation, name == SMALL[1][0]]
        )
    path = tmp_path / "small.npz"
    np.savez(path, **arrays)
    return path


def _images(size: int, count: int = 2) -> NDArray[np.uint8]:
    """Random pixels, smooth enough to look like something, (count, size, size, 3)."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return (255 * smooth).byte().permute(0, 2, 3, 1).contiguous().numpy()


def _require_graph(network: StockNetwork, size: int) -> None:
    """The collapsed graph computes what the modules do."""
    graph = collapse(network, (3, size, size)).graph
    images = PIXELS.normalize(_images(size))
    with torch.no_grad():
        wanted = network(torch.from_numpy(images)).numpy()
    # Float32 sums in another order over some fifty layers.
    worst = np.abs(outputs(graph, images) - wanted).max() / np.abs(wanted).max()
    assert worst < 1e-4


@pytest.mark.parametrize("size", [33, 64])
def test_graph_of_a_small_network(small_file: Path, size: int) -> None:
    """Uneven paddings of even grids, and even ones of odd grids."""
    _require_graph(load_network(small_file), size)


@pytest.mark.parametrize("name", [KERAS, FOLDED])
def test_graph_of_the_real_networks(pretrained: Path, name: str) -> None:
    """The graph equals the torch modules."""
    path = pretrained / name
    rng = np.random.default_rng(0)
    head = (rng.standard_normal((2, 1280)), np.zeros(2)) if needs_head(path) else None
    _require_graph(load_network(path, head), 64)


def _tf_same(
    images: NDArray[np.float32], weight: NDArray[np.float32], stride: int
) -> NDArray[np.float32]:
    """TensorFlow's own SAME convolution, in our layouts: NCHW and OIHW."""
    import tensorflow as tf

    result = tf.nn.conv2d(
        images.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0), stride, "SAME"
    )
    return np.asarray(result).transpose(0, 3, 1, 2)


@settings(deadline=None, max_examples=15)
@given(
    height=st.integers(7, 12),
    width=st.integers(7, 12),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
)
def test_padding_is_that_of_tensorflow(
    height: int, width: int, kernel: int, stride: int
) -> None:
    """One layer at even and odd sizes, as modules and as a graph."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, kernel, kernel)).astype(np.float32)
    images = rng.standard_normal((2, 3, height, width)).astype(np.float32)
    wanted = _tf_same(images, weight, stride)
    network = unit(Layer("stem", weight, None, (), stride, relu6=False)).eval()
    with torch.no_grad():
        found = network(torch.from_numpy(images)).numpy()
    # Up to 75 products of order 1 in float32.
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    graph = collapse(network, (3, height, width)).graph
    np.testing.assert_allclose(outputs(graph, images), wanted, atol=1e-5)


@pytest.mark.parametrize("size", [32, 33])
def test_half_a_grey_level_is_in_the_first_bias(small_file: Path, size: int) -> None:
    """The first layer sees pixel / 127.5 - 1, but for zeros outside of the image."""
    pixels = _images(size)
    with np.load(small_file) as file:
        weight, bias = file["00_w"], file["00_b"]
    original = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    wanted = _tf_same(original, weight, 2) + bias[:, None, None]
    stem = load_network(small_file).stem
    with torch.no_grad():
        found = stem[:2](torch.from_numpy(PIXELS.normalize(pixels))).numpy()
    error = np.abs(found - wanted)
    # Rounding of 27 products in float32, where no window reaches outside.
    assert error[:, :, 1:-1, 1:-1].max() < 1e-5
    assert error.max() < HALF_LEVEL * np.abs(weight).sum((1, 2, 3)).max()


@pytest.mark.slow
@pytest.mark.parametrize("size", [95, 96])
def test_features_are_those_of_keras(pretrained: Path, size: int) -> None:
    """Strides, paddings, residual sums and BatchNorm, against Keras's own network."""
    import tensorflow as tf

    network = load_network(pretrained / KERAS)
    # Without it, the network takes pixel / 127.5 - 1 as Keras does.
    torch.nn.init.zeros_(network.stem.conv.bias)
    keras = tf.keras.applications.MobileNetV2(
        (size, size, 3), 0.35, include_top=False, weights=None, pooling="avg"
    )
    with np.load(pretrained / KERAS) as file:
        for layer in keras.layers:
            filters = isinstance(layer, tf.keras.layers.DepthwiseConv2D)
            prefix = f"{layer.name}|{'depthwise_' * filters}"
            layer.set_weights([file[prefix + w.name] for w in layer.weights])
    images = _images(size).astype(np.float32) / 127.5 - 1
    wanted = np.asarray(keras(images, training=False))
    with torch.no_grad():
        found = network.features(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    # Fifty layers in float32, features up to 6.
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-3)


def test_labels_of_photographs(
    pretrained: Path, photographs: NDArray[np.uint8]
) -> None:
    """A cat is a cat; every class is that of the file the weights come from."""
    from ai_edge_litert.interpreter import Interpreter

    names = (pretrained / "imagenet_labels.txt").read_text(encoding="utf-8").split("\n")
    images = torch.from_numpy(PIXELS.normalize(photographs))
    with torch.no_grad():
        classes = load_network(pretrained / FOLDED)(images).argmax(1).tolist()
    plausible = {
        "chelsea": ("Egyptian cat", "tabby", "tiger cat"),
        "coffee": ("espresso",),
        "rocket": ("missile", "projectile"),
        "motorcycle": ("moped", "motor scooter"),
    }
    for found, photograph in zip(classes, 2 * PHOTOGRAPHS, strict=True):
        if photograph in plausible:
            assert names[found].startswith(plausible[photograph]), photograph
    interpreter = Interpreter(str(pretrained / TFLITE))
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    (result,) = interpreter.get_output_details()
    agreed = 0
    for pixels, found in zip(photographs, classes, strict=True):
        interpreter.set_tensor(source["index"], pixels[None])
        interpreter.invoke()
        agreed += interpreter.get_tensor(result["index"]).argmax() == found
    # That one is in 8 bit; the astronaut resembles several classes a little.
    assert agreed >= len(photographs) - 1


def test_the_example_exports_and_reports(
    small_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file of arrays to a bundle and a line for each of its files."""
    images, out = tmp_path / "images.npy", tmp_path / "small.mobileq"
    np.save(images, _images(40, count=10))
    options = ["--weights", small_file, "--out", out, "--images", images]
    assert main([*map(str, options), "--size", "32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    files = sorted(file.name for file in out.glob("model.*"))
    assert len(files) == 4
    assert [line.split()[0] for line in lines[-4:]] == files
    assert "same class as float: 100.00%" in lines[-3]
    pixels, labels = _images(32, count=10), np.arange(10, dtype=np.uint8) % 5
    report(open_bundle(out), Task(load_network(small_file), pixels, pixels, labels))
    scored = capsys.readouterr().out.splitlines()
    assert len(scored) == 4
    assert all("(10 images)" in line for line in scored)


@pytest.mark.slow
def test_a_classifier_is_fitted_on_pcam_and_kept(
    pretrained: Path,
    pcam_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A Keras file gets a head from the training patches, which is used again."""
    head = tmp_path / "head.npz"
    paths = ["--weights", pretrained / KERAS, "--out", tmp_path, "--data", pcam_dir]
    options = parse([*map(str, paths), "--head", str(head)])
    task = pcam_task(options)
    assert "fitting a classifier on 64 patches" in capsys.readouterr().out
    train = open_pcam(pcam_dir, "train")
    images = PIXELS.normalize(train.read(np.arange(len(train))))
    with torch.no_grad():
        classes = task.network(torch.from_numpy(images)).argmax(1).numpy()
    # 64 patches and 1,280 features: it must know them by heart.
    assert (classes == train.labels).mean() > 0.95
    assert task.pixels.shape == (64, 96, 96, 3)
    assert np.array_equal(task.labels, open_pcam(pcam_dir, "test").labels)
    again = pcam_task(options)
    assert capsys.readouterr().out == ""
    assert torch.equal(again.network.classifier.weight, task.network.classifier.weight)


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    """Missing, no .npz, and .npz of something else: one line that names the file."""
    other, text = tmp_path / "other.npz", tmp_path / "text.npz"
    np.savez(other, a=np.zeros(3))
    text.write_text("no arrays", encoding="utf-8")
    for path in (tmp_path / "missing.npz", text, other):
        with pytest.raises(CheckpointError, match=f"{path.name}: ") as caught:
            load_network(path)
        assert "\n" not in str(caught.value)


def test_a_file_without_a_classifier_needs_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script says so, and its exit code is 2."""
    file = tmp_path / "keras.npz"
    np.savez(file, **{"Conv1|kernel": np.zeros((3, 3, 3, 8), np.float32)})
    assert main(["--weights", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "keras.npz: has no classifier; wanted --data" in capsys.readouterr().err
