"""OnnxRunner: both kinds of file, threads, settings and damaged files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mobileq.errors import BundleError, GraphError
from mobileq.verify.runner import Runner
from mobileq_onnx import session
from mobileq_onnx.float_writer import write_float
from mobileq_onnx.qdq_writer import ActivationType, write_int8
from mobileq_onnx.runner import OnnxRunner
from support.handmade import handmade_graph, handmade_spec, random_pixels

GRAPH = handmade_graph(size=11)
FLOAT = write_float(GRAPH)
INT8 = write_int8(GRAPH, handmade_spec(GRAPH))


def test_the_input_type_tells_the_kind() -> None:
    """Names and types of both runners."""
    runners: list[Runner] = [OnnxRunner(FLOAT), OnnxRunner(INT8, threads=2)]
    assert [runner.name for runner in runners] == [
        "onnx float, cpu, 1 thread",
        "onnx int8, cpu, 2 threads",
    ]
    assert [runner.integer for runner in runners] == [False, True]
    dtypes = [runner.outputs(random_pixels(GRAPH, 1)).dtype for runner in runners]
    assert dtypes == [np.float32, np.int8]


@pytest.mark.parametrize("activation_type", ["uint8", "int8"])
def test_integer_outputs_are_the_last_tensor(activation_type: ActivationType) -> None:
    """Quantizing the float logits again loses nothing, nor do more outputs."""
    spec = handmade_spec(GRAPH)
    runner = OnnxRunner(write_int8(GRAPH, spec, activation_type=activation_type))
    pixels = random_pixels(GRAPH, 20)
    tensors = runner.tensors(pixels)
    np.testing.assert_array_equal(runner.outputs(pixels), tensors[GRAPH.output])
    signed = (pixels.astype(int) - 128).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(tensors["image"], signed)


@pytest.mark.parametrize("model", [FLOAT, INT8], ids=["float", "int8"])
def test_threads_and_batches_change_nothing(model: bytes) -> None:
    """Images run one by one, and two threads split no sum."""
    pixels = random_pixels(GRAPH, 3)
    together = OnnxRunner(model).outputs(pixels)
    threaded = OnnxRunner(model, threads=2)
    alone = np.concatenate([threaded.outputs(pixels[i : i + 1]) for i in range(3)])
    np.testing.assert_array_equal(together, alone)


def test_kernels_without_saturation_give_the_same_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is used on machines whose sums saturate computes the same elsewhere."""
    pixels = random_pixels(GRAPH, 10)
    usual = OnnxRunner(INT8).tensors(pixels)
    monkeypatch.setattr(session, "sums_saturate", lambda: True)
    options = session.open_session(
        INT8, threads=1, activations=np.dtype(np.uint8)
    ).get_session_options()
    assert options.get_session_config_entry("session.x64quantprecision") == "1"
    careful = OnnxRunner(INT8).tensors(pixels)
    for name, values in usual.items():
        np.testing.assert_array_equal(values, careful[name], err_msg=name)


def test_signed_files_get_integer_kernels() -> None:
    """Without the setting, ONNX Runtime leaves their layers in float on x86."""
    model = write_int8(GRAPH, handmade_spec(GRAPH), activation_type="int8")
    opened = session.open_session(model, threads=1, activations=np.dtype(np.int8))
    options = opened.get_session_options()
    assert options.get_session_config_entry("session.qdqisint8allowed") == "1"


def test_timed_runs_one_inference() -> None:
    """The prepared call can be repeated, and wants exactly one image."""
    runner = OnnxRunner(INT8)
    once = runner.timed(random_pixels(GRAPH, 1))
    once()
    once()
    with pytest.raises(GraphError, match="found 2 images"):
        runner.timed(random_pixels(GRAPH, 2))


def test_images_of_another_size_are_refused() -> None:
    """The message shows both shapes."""
    with pytest.raises(GraphError, match=r"\(1, 5, 5, 3\).*11, 11, 3"):
        OnnxRunner(INT8).outputs(np.zeros((1, 5, 5, 3), np.uint8))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, len(INT8) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    """Wherever it was cut off, the error is one line."""
    with pytest.raises(BundleError, match=r"^ONNX model: ") as caught:
        OnnxRunner(INT8[:length])
    assert "\n" not in str(caught.value)


def test_foreign_files_are_refused() -> None:
    """Text, another network's ONNX file, and one without our metadata."""
    other = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    bare = onnx.load_model_from_string(FLOAT)
    del bare.metadata_props[:]
    for model, message in (
        (b"not a model at all", "no complete ONNX model"),
        (helper.make_model(other).SerializeToString(), r"\['x', 'y'\]"),
        (bare.SerializeToString(), "no sound metadata"),
    ):
        with pytest.raises(BundleError, match=message):
            OnnxRunner(model)
