"""Types, heads and batches of ONNX files: they change no integer."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from mobileq.contract import Contract, EndType, Head
from mobileq.proof.program import Opaque, PerPixel
from mobileq.quant.heads import SCORES, real_scores
from mobileq.quant.simulate import simulate
from mobileq_onnx import float_writer, qdq_writer
from mobileq_onnx.qdq_writer import ActivationType
from mobileq_onnx.reader import read_program
from mobileq_onnx.runner import OnnxRunner
from support.handmade import handmade_graph, handmade_spec, random_pixels

HEADS = list(Head)
ENDS: tuple[EndType, ...] = ("uint8", "float32")
ACTIVATIONS: tuple[ActivationType, ...] = ("uint8", "int8")
FLOAT_ERROR = 1e-5
"""The same float32 program but for the order of sums; 1e-6 is seen."""


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("head", [Head.NONE, Head.SOFTMAX])
def test_the_type_of_the_input_changes_no_integer(
    end: EndType, activations: ActivationType, head: Head
) -> None:
    """All tensors of an INT8 file are those of the file without a contract."""
    graph = handmade_graph(size=9)
    spec, pixels = handmade_spec(graph), random_pixels(graph, 3)
    plain = qdq_writer.write_int8(graph, spec, activation_type=activations)
    contract = Contract(end_type=end, head=head)
    file = qdq_writer.write_int8(graph, spec, contract, activation_type=activations)
    runner = OnnxRunner(file)
    assert runner.integer
    found, wanted = runner.tensors(pixels), OnnxRunner(plain).tensors(pixels)
    assert set(found) == set(wanted) == set(simulate(graph, spec, pixels))
    for name, values in wanted.items():
        assert np.array_equal(found[name], values), name


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("head", HEADS)
def test_float_files_have_the_same_logits(end: EndType, head: Head) -> None:
    """Pixels that the file normalizes give the logits of pixels normalized before."""
    graph = handmade_graph(size=9)
    pixels = random_pixels(graph, 3)
    wanted = OnnxRunner(float_writer.write_float(graph)).outputs(pixels)
    contract = Contract(end_type=end, head=head)
    file = float_writer.write_float(graph, contract)
    runner = OnnxRunner(file)
    assert not runner.integer
    source = onnx.load_model_from_string(file).graph.input[0].type.tensor_type
    raw = end == "uint8"
    assert source.elem_type == (TensorProto.UINT8 if raw else TensorProto.FLOAT)
    scores = real_scores(head, wanted)
    assert np.allclose(
        runner.outputs(pixels), scores, rtol=FLOAT_ERROR, atol=FLOAT_ERROR
    )
    logits = runner.tensors(pixels)[graph.output]
    assert np.allclose(logits, wanted, rtol=FLOAT_ERROR, atol=FLOAT_ERROR)


@pytest.mark.parametrize("head", [Head.SOFTMAX, Head.SIGMOID])
def test_scores_of_an_int8_file_are_made_of_its_logits(head: Head) -> None:
    """They are those of its dequantized logits, in float32 and not rounded to 8 bits.

    1e-6: both compute in float32 or better.
    """
    graph = handmade_graph(size=9)
    spec, pixels = handmade_spec(graph), random_pixels(graph, 4)
    runner = OnnxRunner(qdq_writer.write_int8(graph, spec, Contract(head=head)))
    logits = runner.tensors(pixels)[graph.output]
    real = spec.activations[graph.output].dequantize(logits)
    scores = _own_outputs(runner, pixels)
    assert np.allclose(scores, real_scores(head, real), rtol=0, atol=1e-6)
    assert np.array_equal(runner.outputs(pixels), SCORES.quantize(scores))


def _own_outputs(runner: OnnxRunner, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the file itself returns, (B, F)."""
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    images = np.split(planes, len(planes))
    session = runner._session
    found = [session.run(["scores"], {"input": image})[0] for image in images]
    return np.concatenate(found)


@pytest.mark.parametrize("batch", [2, 5, None])
def test_batches_give_what_single_images_give(batch: int | None) -> None:
    """Three images through a file that takes two, five or any number at once."""
    graph = handmade_graph(size=9)
    spec, pixels = handmade_spec(graph), random_pixels(graph, 3)
    contract = Contract(batch=batch, head=Head.SOFTMAX)
    integers = OnnxRunner(qdq_writer.write_int8(graph, spec, contract))
    wanted = OnnxRunner(qdq_writer.write_int8(graph, spec, Contract(head=Head.SOFTMAX)))
    assert np.array_equal(integers.outputs(pixels), wanted.outputs(pixels))
    for name, values in wanted.tensors(pixels).items():
        assert np.array_equal(integers.tensors(pixels)[name], values), name
    integers.timed(pixels[:1])()
    floats = OnnxRunner(float_writer.write_float(graph, contract))
    single = OnnxRunner(float_writer.write_float(graph, Contract(head=Head.SOFTMAX)))
    found = floats.outputs(pixels)
    assert np.allclose(
        found, single.outputs(pixels), rtol=FLOAT_ERROR, atol=FLOAT_ERROR
    )


def test_a_file_of_any_batch_takes_all_images_at_once() -> None:
    """The same bits as image by image, in one call."""
    graph = handmade_graph(size=9)
    spec, pixels = handmade_spec(graph), random_pixels(graph, 7)
    runner = OnnxRunner(qdq_writer.write_int8(graph, spec, Contract(batch=None)))
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    (together,) = runner._session.run(["logits"], {"input": planes})
    affine = spec.activations[graph.output]
    assert np.array_equal(affine.quantize(together), runner.outputs(pixels))


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("head", HEADS)
def test_the_proof_reads_heads_and_batches(batch: int | None, head: Head) -> None:
    """A sigmoid of real numbers is opaque, which breaks nothing behind the pools."""
    graph = handmade_graph(size=9)
    contract = Contract(batch=batch, head=head)
    file = qdq_writer.write_int8(graph, handmade_spec(graph), contract)
    program = read_program(file, "file")
    found = [
        (type(o), o.kind) for o in program.operators if isinstance(o, Opaque | PerPixel)
    ]
    kinds: dict[Head, list[tuple[type, str]]] = {
        Head.NONE: [],
        Head.SOFTMAX: [(PerPixel, "Softmax")],
        Head.SIGMOID: [(Opaque, "Sigmoid")],
    }
    assert found == kinds[head]


def test_metadata_says_what_the_file_takes_and_returns() -> None:
    """Normalization, labels and head, as JSON under one key and by common names."""
    graph = handmade_graph(size=9)
    classes = graph.shapes[graph.output][0]
    labels = tuple(f"Klasse {i}, ä" for i in range(classes))
    contract = Contract(labels=labels, head=Head.SIGMOID, description="A test.")
    file = float_writer.write_float(graph, contract)
    model = onnx.load_model_from_string(file)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(props["labels"]) == list(labels)
    told = json.loads(props["mobileq.contract"])
    assert told["output"] == {"head": "sigmoid", "labels": list(labels)}
    assert (told["input"]["mean"], told["input"]["std"]) == (128, 128)
    assert model.doc_string == "A test."
    assert file == float_writer.write_float(graph, contract)


def test_a_reshape_that_mixes_images_is_not_believed() -> None:
    """Two images seen as one of twice the channels: the proof does not follow."""
    graph = handmade_graph(size=9)
    file = qdq_writer.write_int8(graph, handmade_spec(graph), Contract(batch=2))
    model = onnx.load_model_from_string(file)
    shapes = [t for t in model.graph.initializer if t.name.endswith("/split_shape")]
    (shape,) = shapes
    images, blocks, block, points = numpy_helper.to_array(shape)
    mixed = np.array([images // 2, blocks * 2, block, points])
    shape.CopyFrom(numpy_helper.from_array(mixed, shape.name))
    program = read_program(model.SerializeToString(), "file")
    opaque = [o for o in program.operators if isinstance(o, Opaque)]
    assert "reshapes 2 images" in opaque[0].reason
