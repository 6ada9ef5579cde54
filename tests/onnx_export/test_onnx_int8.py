"""INT8 ONNX files: the integers of the QuantSpec, in integer kernels only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Add, AveragePool, Cap, Conv, Input, Linear, Node
from mobileq.quant.affine import Affine
from mobileq.quant.spec import QuantizedLayer, QuantSpec
from mobileq_onnx.qdq_writer import ActivationType, write_int8
from mobileq_onnx.runner import OnnxRunner
from onnx_export.integer_model import (
    awkward_graph,
    blob_graph,
    largest_difference,
    random_spec,
)
from support.handmade import handmade_graph, handmade_spec, random_pixels

seeds = st.integers(0, 2**32 - 1)
types = st.sampled_from(["uint8", "int8"])
both_types = pytest.mark.parametrize("activation_type", ["uint8", "int8"])


def initializers(model: bytes) -> dict[str, NDArray[np.generic]]:
    """Constants of a file by name."""
    graph = onnx.load_model_from_string(model).graph
    return {value.name: numpy_helper.to_array(value) for value in graph.initializer}


def kernels(model: bytes, folder: Path, *, int8_allowed: bool) -> list[str]:
    """Operators that ONNX Runtime really runs, from its dump of the optimized model."""
    path = folder / "optimized.onnx"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    if int8_allowed:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


@settings(deadline=None, max_examples=10)
@given(seeds, types, st.booleans())
def test_every_tensor_is_what_integer_arithmetic_says(
    seed: int, activation_type: ActivationType, per_channel: bool
) -> None:
    """Layers, maxima, masks and activations are exact, for any scale and zero point."""
    for graph in (handmade_graph(seed, size=7), awkward_graph(seed)):
        spec = random_spec(graph, seed, per_channel=per_channel)
        model = write_int8(graph, spec, activation_type=activation_type)
        tensors = OnnxRunner(model).tensors(random_pixels(graph, 2, seed=seed))
        exact: tuple[type[Node], ...] = tuple(
            {type(node) for node in graph.nodes} - {Add}
        )
        for kind in exact:
            assert largest_difference(graph, spec, tensors, kind) == 0, kind
        # The sum of two tensors is float32 in the runtime; close to a tie it may round
        # to the neighbour of what exact arithmetic gives.
        assert largest_difference(graph, spec, tensors, Add) <= 1


@settings(deadline=None, max_examples=5)
@given(seeds)
def test_signed_and_unsigned_files_agree(seed: int) -> None:
    """Adding 128 to values and zero points changes no integer up to the first Add."""
    graph = handmade_graph(seed, size=7)
    spec = handmade_spec(graph)
    pixels = random_pixels(graph, 2, seed=seed)
    unsigned, signed = (
        OnnxRunner(write_int8(graph, spec, activation_type=kind)).tensors(pixels)
        for kind in ("uint8", "int8")
    )
    assert list(unsigned) == list(signed) == [node.name for node in graph.nodes]
    for name in ("image", "masked", "stem", "expand", "depthwise", "project"):
        np.testing.assert_array_equal(unsigned[name], signed[name], err_msg=name)
    # Its float32 sum has the zero point in it, so a tie may round the other way.
    difference = unsigned["residual"].astype(int) - signed["residual"]
    assert np.abs(difference).max() <= 1


@both_types
@pytest.mark.parametrize("per_channel", [True, False])
def test_only_integer_kernels_run(
    tmp_path: Path, activation_type: ActivationType, per_channel: bool
) -> None:
    """ONNX Runtime leaves no layer in float, only the last dequantization."""
    graph = handmade_graph(size=15, channels=8)
    spec = handmade_spec(graph, per_channel=per_channel)
    model = write_int8(graph, spec, activation_type=activation_type)
    found = kernels(model, tmp_path, int8_allowed=activation_type == "int8")
    convs = sum(isinstance(node, Conv) for node in graph.nodes)
    assert found.count("QLinearConv") == convs
    assert found.count("QGemm") == found.count("QLinearAdd") == 1
    assert found.count("QLinearMul") == found.count("DequantizeLinear") == 1
    # The one Add that is left makes pixels signed, in int32.
    assert found.count("Add") == (activation_type == "int8")
    assert not {"Conv", "Gemm", "Mul", "Relu", "QuantizeLinear"} & set(found)


def test_unusual_zero_points_keep_layers_in_integers(tmp_path: Path) -> None:
    """An activation that saturation does not do is a Clip on integers, a cap a Min."""
    graph = awkward_graph(0)
    spec = random_spec(graph, 0, per_channel=True)
    found = kernels(write_int8(graph, spec), tmp_path, int8_allowed=False)
    assert "Clip" in found
    assert found.count("Min") == sum(isinstance(n, Cap) for n in graph.nodes)
    assert found.count("DequantizeLinear") == 1, "none that only integers would need"
    assert found.count("QLinearConv") == sum(isinstance(n, Conv) for n in graph.nodes)
    assert found.count("QGemm") == sum(isinstance(n, Linear) for n in graph.nodes)
    assert not {"Conv", "Gemm", "Add", "Relu", "QuantizeLinear"} & set(found)


@both_types
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_file_holds_the_integers_of_the_spec(
    activation_type: ActivationType, per_channel: bool
) -> None:
    """Weights, biases, scales and zero points are the QuantSpec's, bit for bit."""
    graph = handmade_graph(3)
    spec = random_spec(graph, 3, per_channel=per_channel)
    model = write_int8(graph, spec, activation_type=activation_type)
    constants = initializers(model)
    tensors = {node.name: node.name for node in graph.nodes} | {"logits": "logits_"}
    if activation_type == "uint8":
        tensors["image"] = "input"
    shift = 128 if activation_type == "uint8" else 0
    for name, affine in spec.activations.items():
        assert constants[f"{tensors[name]}/scale"] == np.float32(affine.scale)
        zero = constants[f"{tensors[name]}/zero_point"]
        assert zero.dtype == activation_type
        assert int(zero) - shift == affine.zero_point
    for name, layer in spec.layers.items():
        prefix = tensors[name]
        source = np.float32(spec.activations[graph[name].inputs[0]].scale)
        scale = layer.weight_scale if per_channel else layer.weight_scale[0]
        for key, wanted in {
            "weight/integers": layer.weight,
            "weight/scale": scale,
            "bias/integers": layer.bias,
            "bias/scale": source * scale,
        }.items():
            found = constants[f"{prefix}/{key}"]
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)
        assert not constants[f"{prefix}/weight/zero"].any()


def test_sums_beyond_24_bits_do_not_overflow() -> None:
    """A mean over a large grid adds up in 32 bits, not in 16."""
    graph = blob_graph(41, 3)
    usual = handmade_spec(graph)
    shape = usual.layers["mean"].weight.shape
    layer = QuantizedLayer(
        np.full(shape, 127), np.full(3, 1e-4), np.array([7, -7, 0]), True
    )
    scale = float(np.float32(0.12))
    activations = dict.fromkeys(("mean", "flat"), Affine(scale, -128))
    spec = QuantSpec(dict(usual.activations) | activations, {"mean": layer})
    pixels = np.full((1, 41, 41, 3), 255, np.uint8)
    pixels[:, ::5, 1::2] = np.arange(20, 140, dtype=np.uint8)[:60].reshape(20, 3)
    assert (127 * (pixels.astype(int) - 128)).sum((1, 2)).min() > 2**24
    tensors = OnnxRunner(write_int8(graph, spec)).tensors(pixels)
    assert largest_difference(graph, spec, tensors, Conv) == 0
    assert (np.abs(tensors["mean"].astype(int)) < 127).all()


@both_types
def test_onnxsim_agrees(activation_type: ActivationType) -> None:
    """A simplified copy passes its own check and gives the very same logits."""
    graph = handmade_graph(1)
    model = write_int8(graph, handmade_spec(graph), activation_type=activation_type)
    simplified, ok = onnxsim.simplify(onnx.load_model_from_string(model))
    assert ok
    pixels = random_pixels(graph, 3)
    ours, theirs = (
        OnnxRunner(file).outputs(pixels)
        for file in (model, simplified.SerializeToString())
    )
    np.testing.assert_array_equal(ours, theirs)


def test_writing_twice_gives_the_same_bytes() -> None:
    """Files can be compared by their hash."""
    graph = handmade_graph(2)
    spec = handmade_spec(graph)
    assert write_int8(graph, spec) == write_int8(graph, spec)


def test_a_foreign_spec_is_refused() -> None:
    """A missing scale, a broken tie and a wrong weight are named."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    without = {k: v for k, v in spec.activations.items() if k != "head"}
    untied = dict(spec.activations) | {"orbit": Affine(1.0, 3)}
    reshaped = dict(spec.layers) | {"stem": spec.layers["head"]}
    for wrong, message in (
        (QuantSpec(without, spec.layers), "Conv 'head'.*no scale"),
        (QuantSpec(untied, spec.layers), "OrbitMax 'orbit'.*wanted"),
        (QuantSpec(spec.activations, reshaped), "Conv 'stem'.*weights"),
        (QuantSpec(spec.activations, {}), "Conv 'stem'.*no integer weights"),
    ):
        with pytest.raises(GraphError, match=message):
            write_int8(graph, wrong)


def test_a_pool_that_should_be_a_conv_is_refused() -> None:
    """The runtime's average pool is not exact, so there is none."""
    image = Input("image", (), (1, 4, 4), trivial_fields(1))
    graph = Graph((image, AveragePool("mean", ("image",), (2, 2), 2)), "mean")
    affine = Affine(float(np.float32(1 / 128)), 0)
    spec = QuantSpec({"image": affine, "mean": affine}, {})
    with pytest.raises(UnsupportedError, match="AveragePool 'mean'"):
        write_int8(graph, spec)
