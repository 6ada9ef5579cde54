"""Torch in a process of its own: shipped networks and a user's, printing or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mobileq.bench.process import ProcessRunner
from mobileq.bench.spec import RunnerSpec
from mobileq.checkpoint import Checkpoint, save_checkpoint
from mobileq.errors import CheckpointError, RuntimeProcessError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.runtimes.factory import make
from mobileq.verify.runner import PixelMap
from support import plain_network

# Networks with escnn take seconds to import and to build, on both sides.
pytestmark = pytest.mark.slow

SPEC = ModelSpec(group="C4", width=0.1, input_size=31, reduced_strides=2)
ELSEWHERE = {
    "ai_edge_litert",
    "h5py",
    "jinja2",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pydantic",
    "rich",
    "tensorflow",
    "typer",
}
"""Large packages that torch and escnn do not need; they import scipy and requests."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    save_checkpoint(path, Checkpoint(SPEC, build_model(SPEC).state_dict()))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of plain layers."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "plain.pt"
    torch.save(plain_network.build().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def printing(weights: Path) -> Iterator[ProcessRunner]:
    """A process whose network is built by a function that prints."""
    with ProcessRunner(own(weights, "build_and_print")) as runner:
        yield runner


def own(weights: Path, function: str, kernel: str = "eager") -> RunnerSpec:
    """A network of the user's."""
    return RunnerSpec(
        "torch",
        kernel,
        str(weights),
        pixels=PixelMap(1 / 255, 0),
        factory=f"support.plain_network:{function}",
        shape=plain_network.SHAPE,
    )


def random_pixels(image: tuple[int, int, int], count: int = 3) -> NDArray[np.uint8]:
    """(count, H, W, C) noise."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *image), dtype=np.uint8)


@pytest.mark.parametrize("kernel", ["eager", "collapsed"])
def test_checkpoint(checkpoint: Path, kernel: str) -> None:
    """Outputs and tensors are those of this process, bit by bit: one thread in both."""
    spec = RunnerSpec("torch", kernel, str(checkpoint))
    expected = make(spec, b"")
    with ProcessRunner(spec) as runner:
        assert runner.ready.image == expected.image == (31, 31, 3)
        assert runner.name == expected.runner.name == f"torch {kernel}, 1 thread"
        assert not runner.integer
        assert not set(runner.ready.modules) & ELSEWHERE
        pixels = random_pixels(expected.image)
        assert runner.outputs(pixels).dtype == np.float32
        assert (
            runner.outputs(pixels).tobytes()
            == expected.runner.outputs(pixels).tobytes()
        )
        found, wanted = runner.tensors(pixels), expected.runner.tensors(pixels)
        assert list(found) == list(wanted)
        for name, values in wanted.items():
            assert found[name].tobytes() == values.tobytes(), name


def test_print_disturbs_nobody(
    printing: ProcessRunner, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a user's function prints reaches neither the answers nor the terminal."""
    spec = own(weights, "build")
    pixels = random_pixels(printing.ready.image)
    expected = make(spec, b"").runner.outputs(pixels)
    capfd.readouterr()
    assert printing.outputs(pixels).tobytes() == expected.tobytes()
    assert capfd.readouterr() == ("", "")


def test_images_of_a_wrong_shape(printing: ProcessRunner) -> None:
    """What torch says of them is one line that names the file; then it goes on."""
    pixels = random_pixels(printing.ready.image)
    with pytest.raises(RuntimeProcessError) as found:
        printing.outputs(pixels[..., :2])
    message = str(found.value)
    assert "\n" not in message
    assert "plain.pt (torch, eager): RuntimeError: " in message
    assert len(printing.outputs(pixels)) == len(pixels)


def test_damaged_checkpoint(tmp_path: Path) -> None:
    """A checkpoint that is none is refused with the error that it has in process."""
    path = tmp_path / "damaged.pt"
    path.write_bytes(bytes(range(256)))
    spec = RunnerSpec("torch", "eager", str(path))
    with pytest.raises(CheckpointError) as expected:
        make(spec, b"")
    with pytest.raises(CheckpointError) as found:
        ProcessRunner(spec)
    assert str(found.value) == str(expected.value)
    assert str(path) in str(found.value)


def test_module_of_the_current_directory(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's module goes before an installed one of its name, as in this process.

    That it ends its process is told with the last line that it printed.
    """
    (tmp_path / "h5py.py").write_text(
        "import os\nprint('out of patience', flush=True)\nos._exit(7)\n"
    )
    monkeypatch.chdir(tmp_path)
    # As `mobileq.factory` leaves it when the module was imported here.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    spec = replace(own(weights, "build"), factory="h5py:build")
    with pytest.raises(RuntimeProcessError) as found:
        ProcessRunner(spec)
    assert "plain.pt (torch, eager): its process ended with code 7" in str(found.value)
    assert "last said 'out of patience'" in str(found.value)
