"""Time per operator of real files, and of tables that nobody wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench.operators import operators, ranked
from mobileq.errors import GraphError
from mobileq.verify.profile import NodeTime, Profile
from mobileq.verify.torch_runner import TorchRunner
from mobileq_onnx import profiling as onnx_profiling
from mobileq_tflite import profiling
from mobileq_tflite.runner import TfliteRunner
from support.runner_files import RunnerFiles, write_runner_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RunnerFiles:
    """Small files of one network."""
    return write_runner_files(tmp_path_factory.mktemp("profiled"))


@pytest.mark.parametrize(
    ("file", "kernel"),
    [
        ("int8.tflite", "builtin"),
        ("int8.tflite", "xnnpack"),
        ("int8.onnx", "cpu"),
        ("float.onnx", "cpu"),
    ],
)
def test_real_files(files: RunnerFiles, file: str, kernel: str) -> None:
    """There are convolutions, shares are sorted and add up, and a note says how."""
    found, note = operators(files.spec(file, kernel), files.pixels, runs=5)
    shares = [operator.share for operator in found]
    assert shares == sorted(shares, reverse=True)
    # Rounding of a few dozen quotients.
    assert sum(shares) == pytest.approx(1, abs=1e-9)
    assert any("conv" in operator.kind.lower() for operator in found)
    assert all(operator.mean_ms >= 0 for operator in found)
    assert note


def test_the_reference_kernels_have_no_profile(files: RunnerFiles) -> None:
    """The note says why, and nothing is made up."""
    found, note = operators(files.spec("int8.tflite", "reference"), files.pixels)
    assert found == ()
    assert "reference kernels" in note


def test_builtin_operators_have_the_file_s_names(files: RunnerFiles) -> None:
    """Each is called by the tensor that it makes."""
    data = files.paths["int8.tflite"].read_bytes()
    names = set(profiling.outputs_of(data))
    found, _ = operators(files.spec("int8.tflite", "builtin"), files.pixels, runs=3)
    assert {operator.name for operator in found} <= names


def test_what_is_profiled_is_what_is_run(files: RunnerFiles) -> None:
    """The profiled run returns the bytes of the usual one."""
    data = files.paths["int8.tflite"].read_bytes()
    image = files.pixels[:1]
    runner = TfliteRunner(data, kernels="builtin", threads=1)
    _, made = profiling.run_profiled(
        data, image.tobytes(), kernels="builtin", threads=1, runs=1
    )
    unsigned = np.frombuffer(made, np.uint8).astype(np.int16) - 128
    assert unsigned.tolist() == runner.outputs(image)[0].tolist()


def test_without_the_library_there_is_a_note(
    files: RunnerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of LiteRT may lack it; that is no error."""
    monkeypatch.setattr(profiling, "LIBRARY", "libNotThere.so")
    data = files.paths["int8.tflite"].read_bytes()
    found = profiling.profile(data, b"", kernels="builtin", threads=1, runs=1)
    assert found.nodes == ()
    assert "cannot be used here" in found.note


def test_an_image_of_another_size_is_a_note(files: RunnerFiles) -> None:
    """The library would read past its end."""
    data = files.paths["int8.tflite"].read_bytes()
    found = profiling.profile(data, b"123", kernels="builtin", threads=1, runs=1)
    assert "bytes, not 3" in found.note


TABLE = """
[Node type] [first] [avg_ms] [%] [cdf%] [mem KB] [times called] [name]
  CONV_2D   0.010 0.010 8.0e-1 80.000% 80.000% 0.000 1 [Builtin]:1
  Delegate/Add (ND)  0.010 0.010 2.0e-1 20.000% 100.000% 0.000 1 [Xnnpack]:7
Top by Computation Time
  CONV_2D   0.010 0.010 8.0e-1 80.000% 80.000% 0.000 1 [Builtin]:1
"""


def test_a_table_is_read_once() -> None:
    """Rows of the run order alone; names of the file for its own operators."""
    found = profiling.nodes_of(TABLE, ("a", "b"))
    assert [(node.name, node.kind) for node in found] == [
        ("b", "CONV_2D"),
        ("Xnnpack 7", "Add (ND)"),
    ]
    assert [node.mean_ms for node in found] == pytest.approx([0.8, 0.2])


@given(st.text(max_size=200))
def test_any_text_is_a_table_without_rows(text: str) -> None:
    """Nothing is read where nothing is."""
    assert profiling.nodes_of(text, ()) == ()


@pytest.mark.parametrize(
    "trace",
    [b"", b"[", b"{}x", b"3", b"[3]", b'[{"name": 3}]', b'[{"cat": "Node"}]'],
)
def test_a_foreign_trace_is_one_line(trace: bytes) -> None:
    """ONNX Runtime may write another format one day."""
    with pytest.raises(GraphError, match="cannot be read") as caught:
        onnx_profiling.nodes_of(trace)
    assert "\n" not in str(caught.value)


def test_shares_of_nothing() -> None:
    """Operators of no measurable time share nothing."""
    profile = Profile((NodeTime("a", "A", 0.0), NodeTime("b", "B", 0.0)))
    assert [operator.share for operator in ranked(profile)] == [0.0, 0.0]


def test_torch_sums_up_kinds(tmp_path: Path) -> None:
    """Its own profiler: convolutions are among the slowest of a convolution."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    runner = TorchRunner(module.eval(), "torch")
    found = runner.profile(np.zeros((1, 32, 32, 3), np.uint8), 3)
    assert any("conv" in node.kind for node in found.nodes[:4])
    assert found.note
