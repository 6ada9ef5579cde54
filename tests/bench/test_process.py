"""Runners in processes of their own: the same integers, and no harm to anyone."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileq.bench.process import ProcessRunner
from mobileq.bench.spec import RunnerSpec
from mobileq.contract import Head
from mobileq.errors import (
    BundleError,
    GraphError,
    InputError,
    MobileqError,
    RuntimeProcessError,
)
from mobileq.quant.heads import SCORES
from mobileq.runtimes.factory import make, read
from support.runner_files import RunnerFiles, one_line, write_runner_files

HEAVY = {
    "ai_edge_litert",
    "escnn",
    "h5py",
    "jinja2",
    "keras",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "pooch",
    "pydantic",
    "pytest",
    "requests",
    "rich",
    "scipy",
    "tensorflow",
    "torch",
    "typer",
}
"""What costs time and memory to import; each runtime needs few of them."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RunnerFiles:
    """Small files of one network."""
    return write_runner_files(tmp_path_factory.mktemp("runners"))


@pytest.fixture(scope="module")
def tflite(files: RunnerFiles) -> Iterator[ProcessRunner]:
    """A process that tests only ask, and leave as it is."""
    with ProcessRunner(files.spec("int8.tflite", "xnnpack")) as runner:
        yield runner


@pytest.fixture(scope="module")
def onnx(files: RunnerFiles) -> Iterator[ProcessRunner]:
    """The same for ONNX Runtime."""
    with ProcessRunner(files.spec("int8.onnx", "cpu")) as runner:
        yield runner


def check_same(runner: ProcessRunner, files: RunnerFiles) -> None:
    """Outputs and tensors of the other process are those of this one, bit by bit."""
    expected = make(runner.spec, read(runner.spec))
    assert (runner.name, runner.integer) == (
        expected.runner.name,
        expected.runner.integer,
    )
    assert runner.ready.image == expected.image
    found = runner.outputs(files.pixels)
    wanted = expected.runner.outputs(files.pixels)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.tobytes() == wanted.tobytes()
    tensors = runner.tensors(files.pixels)
    others = expected.runner.tensors(files.pixels)
    assert list(tensors) == list(others)
    for name, values in others.items():
        assert tensors[name].dtype == values.dtype, name
        assert tensors[name].tobytes() == values.tobytes(), name


def test_tflite_on_xnnpack(tflite: ProcessRunner, files: RunnerFiles) -> None:
    """XNNPACK's results, tensors included, are those of this process."""
    check_same(tflite, files)


@pytest.mark.parametrize("kernel", ["builtin", "reference"])
def test_other_tflite_kernels(files: RunnerFiles, kernel: str) -> None:
    """So are those of the other two sets of kernels."""
    with ProcessRunner(files.spec("int8.tflite", kernel)) as runner:
        assert kernel in runner.name
        check_same(runner, files)


def test_onnx_int8(onnx: ProcessRunner, files: RunnerFiles) -> None:
    """So are ONNX Runtime's integers."""
    check_same(onnx, files)


def test_onnx_float(files: RunnerFiles) -> None:
    """So are its floats, to the last bit, because threads and machine are the same."""
    with ProcessRunner(files.spec("float.onnx", "cpu")) as runner:
        check_same(runner, files)


def test_file_with_a_head(files: RunnerFiles) -> None:
    """Of a file that returns scores come the logits that have them, as in process."""
    spec = files.spec("scores.tflite", "xnnpack", head=Head.SOFTMAX)
    with ProcessRunner(replace(spec, output=SCORES)) as runner:
        assert not runner.integer
        check_same(runner, files)


def test_tflite_imports_nothing_else(tflite: ProcessRunner) -> None:
    """A TFLite process has LiteRT, and no other large package in its memory."""
    assert set(tflite.ready.modules) & HEAVY == {"ai_edge_litert"}
    assert not set(tflite.ready.modules) & {"mobileq_onnx", "multiprocessing.pool"}


def test_onnx_imports_nothing_else(onnx: ProcessRunner) -> None:
    """An ONNX process has ONNX Runtime and the reader of its files, and no more."""
    assert set(onnx.ready.modules) & HEAVY == {"onnx", "onnxruntime"}
    assert "mobileq_tflite" not in onnx.ready.modules


def test_what_a_process_says_of_itself(tflite: ProcessRunner) -> None:
    """Times are positive, memory is more than an interpreter's, modules are sorted."""
    ready = tflite.ready
    assert ready.import_ms > 0
    assert tflite.load_ms == ready.load_ms > 0
    assert tflite.imported_bytes == ready.imported_bytes > 2**20
    assert list(ready.modules) == sorted(set(ready.modules))
    assert "numpy" in ready.modules


def test_memory_is_its_own(tflite: ProcessRunner) -> None:
    """The peak is that of the process: at least what its imports took."""
    ballast = np.ones(2**28, np.uint8)
    used = tflite.usage()
    # Linux adds up pages in lots, so that the peak may be a little behind.
    assert tflite.imported_bytes - 2**20 <= used.peak_bytes < ballast.nbytes
    assert used.cpu_seconds > 0


def test_processor_time_grows_with_work(tflite: ProcessRunner) -> None:
    """What `usage` counts includes the fixed loop, which is about a millisecond."""
    before = tflite.usage().cpu_seconds
    # The system counts in steps of 10 ms, so it takes a few.
    times = [tflite.spin() for _ in range(60)]
    assert min(times) > 0
    assert tflite.usage().cpu_seconds > before


def test_timing(files: RunnerFiles) -> None:
    """A block has as many times as it was asked for; the first inference is once."""
    with ProcessRunner(files.spec("int8.tflite", "xnnpack")) as runner:
        assert runner.first_ms is None
        timer = runner.timer(files.pixels[:1])
        first = runner.first_ms
        assert first is not None
        assert first > 0
        for repetitions in (0, 1, 7):
            times = timer.block(repetitions)
            assert len(times) == repetitions
            assert all(isinstance(t, int) and t > 0 for t in times)
        runner.timer(files.pixels[1:2]).block(1)
        assert runner.first_ms == first
        runner.timed(files.pixels[:1])()
        assert runner.throughput(files.pixels, 0.0) > 0


def test_no_first_inference_after_outputs(tflite: ProcessRunner) -> None:
    """Once a process has computed anything, it has no first inference to time."""
    height, width, channels = tflite.ready.image
    pixels = np.zeros((1, height, width, channels), np.uint8)
    tflite.outputs(pixels)
    tflite.timer(pixels)
    assert tflite.first_ms is None


@pytest.mark.parametrize("name", ["int8.tflite", "int8.onnx"])
def test_profile(
    name: str, tflite: ProcessRunner, onnx: ProcessRunner, files: RunnerFiles
) -> None:
    """The runtime's own profiler works from over here."""
    runner = tflite if name == "int8.tflite" else onnx
    found = runner.profile(files.pixels[:1], runs=2)
    assert found.nodes
    assert all(node.mean_ms >= 0 for node in found.nodes)


@pytest.mark.parametrize(
    ("name", "kind"), [("int8.tflite", BundleError), ("int8.onnx", GraphError)]
)
def test_wrong_images(
    name: str,
    kind: type[MobileqError],
    tflite: ProcessRunner,
    onnx: ProcessRunner,
    files: RunnerFiles,
) -> None:
    """Images of another size are refused as in process, and it goes on afterwards."""
    runner = tflite if name == "int8.tflite" else onnx
    inner = make(runner.spec, read(runner.spec)).runner
    wrong = files.pixels[:, :-1]
    for refused in (runner.outputs, runner.tensors, runner.timer):
        with pytest.raises(kind) as found:
            refused(wrong)
        with pytest.raises(kind) as expected:
            inner.outputs(wrong)
        assert str(found.value) == str(expected.value)
    assert len(runner.outputs(files.pixels)) == len(files.pixels)


def test_error_of_another_kind(tflite: ProcessRunner, files: RunnerFiles) -> None:
    """What is no error of mobileq's comes back in one line that names file and kind."""
    with pytest.raises(RuntimeProcessError) as found:
        tflite.timer(files.pixels)
    one_line(found, "int8.tflite (tflite, xnnpack)", "ValueError", "wanted")
    assert len(tflite.outputs(files.pixels)) == len(files.pixels)


DAMAGED = {
    "empty": b"",
    "random": bytes(np.random.default_rng(0).integers(0, 256, 999, dtype=np.uint8)),
    "header": b"\x1c\0\0\0TFL3" + bytes(64),
}


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("runtime", ["tflite", "onnx"])
def test_damaged_file(runtime: Any, content: str, tmp_path: Path) -> None:
    """A file that is none is refused as in process, by a line that names it."""
    path = tmp_path / f"damaged.{runtime}"
    path.write_bytes(DAMAGED[content])
    kernel = "xnnpack" if runtime == "tflite" else "cpu"
    spec = RunnerSpec(runtime, kernel, str(path))
    with pytest.raises(BundleError) as expected:
        make(spec, read(spec))
    one_line(expected, str(path))
    with pytest.raises(BundleError) as found:
        ProcessRunner(spec)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("there", [False, True], ids=["missing", "directory"])
def test_no_file(there: bool, tmp_path: Path) -> None:
    """A file that is not there, or is a directory, is named with the reason."""
    path = tmp_path / "nothing.tflite"
    if there:
        path.mkdir()
    with pytest.raises(BundleError) as found:
        ProcessRunner(RunnerSpec("tflite", "xnnpack", str(path)))
    one_line(found, str(path), "directory", "wanted a .tflite file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runtime": "caffe"}, "runtime is 'caffe'; wanted tflite or onnx or torch"),
        ({"kernel": "gpu"}, "kernel of tflite is 'gpu'; wanted xnnpack or builtin"),
        ({"threads": 0}, "threads is 0; wanted 1 or more"),
    ],
)
def test_spec_is_checked(change: Any, message: str) -> None:
    """What cannot be run is refused before a process is started."""
    with pytest.raises(InputError, match=message):
        replace(RunnerSpec("tflite", "xnnpack", "a.tflite"), **change)


def test_spec_and_answers_can_travel(tflite: ProcessRunner) -> None:
    """What goes from one process to the other comes back equal."""
    for value in (tflite.spec, tflite.ready, tflite.usage()):
        assert pickle.loads(pickle.dumps(value)) == value
    assert tflite.spec.title == "int8.tflite (tflite, xnnpack)"
