"""Integers from a graph and its ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.errors import GraphError
from mobileq.graph.fields import FieldBlocks, trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    OrbitMax,
    Relu,
)
from mobileq.graph.symmetry import filter_sources
from mobileq.passes.pipeline import run_pipeline
from mobileq.passes.pools import pools_to_convolutions
from mobileq.passes.relu6 import cap_relu6
from mobileq.quant.consistency import require_consistent
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import Range, statistical_ranges
from mobileq.quant.spec import QuantizedLayer, QuantSpec
from support.handmade import handmade_graph, random_conv
from support.hostile import hostile_graph, require_finite
from support.networks import random_network

IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))


def _spec(graph: Graph, *, per_channel: bool = True) -> QuantSpec:
    """Integers from six-sigma ranges."""
    return derive_spec(graph, statistical_ranges(graph), per_channel=per_channel)


def _one_conv(weight: Any, bias: Any, **options: Any) -> Graph:
    """A single convolution of the image."""
    values = np.asarray(weight, np.float64)
    fields = options.pop("fields", trivial_fields(len(values)))
    conv = Conv("a", ("image",), values, np.asarray(bias, float), fields, **options)
    return Graph((IMAGE, conv), "a")


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), per_channel=st.booleans())
def test_integers_keep_the_symmetry(seed: int, per_channel: bool) -> None:
    """Scales are one per block; integers of an orbit are identical."""
    network, shape = random_network(seed)
    graph = run_pipeline(collapse(network, shape).graph)[-1].graph
    spec = _spec(graph, per_channel=per_channel)
    require_consistent(graph, spec)
    for name, layer in spec.layers.items():
        node = graph[name]
        block = graph.fields(name).block
        for number in range(int(block.max()) + 1):
            assert len(np.unique(layer.weight_scale[block == number])) == 1
        if isinstance(node, Conv) and node.fields.generators:
            sources = filter_sources(node, graph.fields(node.inputs[0]))
            flat = layer.weight.ravel()
            pairs = zip(node.fields.generators, sources, strict=True)
            for generator, source in pairs:
                np.testing.assert_array_equal(flat[source], flat)
                np.testing.assert_array_equal(layer.bias[generator.source], layer.bias)


@given(seed=st.integers(0, 10_000), per_channel=st.booleans())
def test_weights_and_biases_within_half_a_step(seed: int, per_channel: bool) -> None:
    """Every integer times its scale is the real value, but for rounding."""
    graph = handmade_graph(seed)
    spec = _spec(graph, per_channel=per_channel)
    require_consistent(graph, spec)
    for name, layer in spec.layers.items():
        node = graph[name]
        assert isinstance(node, Conv | Linear)
        scale = layer.weight_scale.astype(np.float64)
        shaped = scale.reshape(-1, *[1] * (node.weight.ndim - 1))
        moved = np.abs(layer.weight * shaped - node.weight)
        # Half a step, and float64's rounding of the division.
        assert (moved <= shaped * (0.5 + 1e-9)).all()
        step = spec.activations[node.inputs[0]].scale * scale
        # Half a step, and float32's rounding of the step itself.
        slack = 0.5 * step * (1 + 1e-6) + np.abs(node.bias) * 2**-23
        assert (np.abs(layer.bias * step - node.bias) <= slack).all()
        widest = np.abs(layer.weight).max()
        assert widest == 127, "the largest weight uses the whole range"


@given(seed=st.integers(0, 10_000), bits=st.integers(2, 8), per_channel=st.booleans())
def test_fewer_bits_use_a_part_of_int8(seed: int, bits: int, per_channel: bool) -> None:
    """The largest weight has the largest integer; real values err by half a step."""
    graph = handmade_graph(seed)
    ranges = statistical_ranges(graph)
    spec = derive_spec(graph, ranges, per_channel=per_channel, bits=bits)
    require_consistent(graph, spec)
    for name, layer in spec.layers.items():
        node = graph[name]
        assert isinstance(node, Conv | Linear)
        assert np.abs(layer.weight).max() == 2 ** (bits - 1) - 1
        step = layer.weight_scale.astype(float).reshape(
            -1, *[1] * (node.weight.ndim - 1)
        )
        # Half a step, and float64's rounding of the division.
        moved = np.abs(layer.dequantized - node.weight)
        assert (moved <= step * (0.5 + 1e-9)).all()


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), per_channel=st.booleans(), bits=st.integers(2, 8))
def test_hostile_channels_make_legal_integers(
    seed: int, per_channel: bool, bits: int
) -> None:
    """Dead, constant and wild channels: finite scales, ranges in which zero lies."""
    graph = pools_to_convolutions(cap_relu6(hostile_graph(seed)))
    ranges = statistical_ranges(graph)
    spec = derive_spec(graph, ranges, per_channel=per_channel, bits=bits)
    require_consistent(graph, spec)
    require_finite(graph, spec)
    for name, affine in spec.activations.items():
        low, high = affine.range
        assert low <= 0 <= high, name
    for name, found in ranges.items():
        low, high = spec.activations[name].range
        # Zero points are rounded, which moves both ends by half a step.
        slack = spec.activations[name].scale
        assert low <= found.low + slack, name
        assert high >= found.high - slack, name


def test_nodes_that_only_select_share_their_input() -> None:
    """Masks, maxima and flattening change no scale."""
    graph = handmade_graph()
    spec = _spec(graph)
    for node in graph.nodes:
        if isinstance(node, Mask | MaxPool | OrbitMax | Flatten):
            same = spec.activations[node.inputs[0]]
            assert spec.activations[node.name] == same
    assert set(spec.activations) == set(graph.shapes)
    image = spec.activations["image"]
    assert (image.scale, image.zero_point) == (1 / 128, 0)


def test_per_tensor_has_one_scale() -> None:
    """All channels take the scale of the widest."""
    weight = np.array([0.1, 0.5, 2.0]).reshape(3, 1, 1, 1) * np.ones((3, 3, 1, 1))
    graph = _one_conv(weight, np.zeros(3))
    layer = _spec(graph, per_channel=False).layers["a"]
    assert not layer.per_channel
    assert len(np.unique(layer.weight_scale)) == 1
    assert np.abs(layer.weight).max(axis=(1, 2, 3)).tolist() == [6, 32, 127]


def test_blocks_take_the_largest_scale_of_their_channels() -> None:
    """Channels of one block share a scale although their weights differ."""
    weight = np.array([1.0, 0.9, 0.2, 0.1]).reshape(4, 1, 1, 1) * np.ones((4, 3, 1, 1))
    fields = FieldBlocks("C2", np.array([0, 0, 1, 1]))
    layer = _spec(_one_conv(weight, np.zeros(4), fields=fields)).layers["a"]
    # The nearest float32 above the quotient.
    assert layer.weight_scale == pytest.approx(
        np.array([1, 1, 0.2, 0.2]) / 127, rel=1e-6
    )


@pytest.mark.parametrize("bias", [0.0, 1.0, -1e3, 1e6])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6, 1.0, 1e6])
def test_scales_are_legal_whatever_the_weights(size: float, bias: float) -> None:
    """Dead, tiny and huge channels: int32 biases, and ratios that kernels take."""
    weight = np.ones((2, 3, 3, 3)) * np.array([size, 1.0]).reshape(2, 1, 1, 1)
    graph = _one_conv(weight, [bias, 0.1], activation=Activation.RELU)
    spec = _spec(graph)
    layer, output = spec.layers["a"], spec.activations["a"]
    ratio = spec.activations["image"].scale * layer.weight_scale.astype(float)
    ratio /= output.scale
    # XNNPACK refuses ratios outside of 2^-32 to 256.
    assert (ratio >= 2.0**-32).all()
    assert (ratio < 256).all()
    assert (np.abs(layer.bias.astype(np.int64)) <= 2**30 + 1).all()
    step = spec.activations["image"].scale * layer.weight_scale.astype(np.float64)
    # A bias is an integer of at most 31 bits, of which float32 keeps 24.
    assert layer.bias[0] * step[0] == pytest.approx(bias, rel=1e-6, abs=step[0] / 2)


def test_a_narrow_output_is_widened_until_kernels_take_it() -> None:
    """A range far below the accumulator's step makes a coarser map, not an error."""
    graph = _one_conv(np.full((1, 3, 1, 1), 100.0), [0.0])
    ranges = {"image": Range(-1, 1, ""), "a": Range(-1e-6, 1e-6, "")}
    spec = derive_spec(graph, ranges)
    accumulator = spec.activations["image"].scale * float(
        spec.layers["a"].weight_scale[0]
    )
    assert accumulator / spec.activations["a"].scale < 256


@pytest.mark.parametrize(
    ("activation", "zero_point"), [(Activation.NONE, 0), (Activation.RELU, -128)]
)
def test_a_constantly_zero_tensor(activation: Activation, zero_point: int) -> None:
    """Its scale is its input's and its zero point that of its kind."""
    graph = _one_conv(np.ones((1, 3, 1, 1)), [0.0], activation=activation)
    ranges = {"image": Range(-1, 1, ""), "a": Range(0.0, 0.0, "")}
    found = derive_spec(graph, ranges).activations["a"]
    assert (found.scale, found.zero_point) == (1 / 128, zero_point)


def test_a_narrow_sum_is_widened_until_kernels_take_it() -> None:
    """A sum whose range is far below its inputs' steps makes a coarser map."""
    conv = random_conv(np.random.default_rng(0), "a", "image", (3, 3, 1, 1))
    graph = Graph((IMAGE, conv, Add("s", ("image", "a"))), "s")
    ranges = {**statistical_ranges(graph), "s": Range(-1e-9, 1e-9, "")}
    require_consistent(graph, derive_spec(graph, ranges))


def test_only_deployable_graphs() -> None:
    """BatchNorm must have been folded."""
    ones = np.ones(3)
    norm = BatchNorm("n", ("image",), ones, ones, ones, ones, 1e-5)
    graph = Graph((IMAGE, norm, Relu("r", ("n",))), "r")
    with pytest.raises(GraphError, match=r"^BatchNorm 'n' at stage DEPLOYABLE; wanted"):
        derive_spec(graph, {})


def _layer(**changes: Any) -> QuantizedLayer:
    """Two channels, with some arguments exchanged."""
    values: dict[str, Any] = {
        "weight": np.zeros((2, 3), np.int8),
        "weight_scale": np.ones(2, np.float32),
        "bias": np.zeros(2, np.int32),
        "per_channel": True,
    }
    return QuantizedLayer(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias": np.zeros(3)}, r"bias \(3,\); wanted \(2,\)"),
        ({"weight_scale": np.ones(1)}, r"scales \(1,\), bias \(2,\); wanted \(2,\)"),
        ({"weight_scale": np.array([1.0, 0.0])}, "a weight scale is not positive"),
        ({"weight_scale": np.array([1.0, np.nan])}, "a weight scale is not positive"),
        ({"weight": np.full((2, 3), -128)}, "a weight is -128; wanted -127 to 127"),
        (
            {"weight_scale": np.array([1.0, 2.0]), "per_channel": False},
            "per tensor, but the scales differ",
        ),
    ],
)
def test_impossible_layers(changes: dict[str, Any], message: str) -> None:
    """Shapes and values that no file can hold are refused."""
    with pytest.raises(GraphError, match=f"^quantized layer: .*{message}"):
        _layer(**changes)


def test_a_spec_is_frozen() -> None:
    """Neither its tables nor its arrays can be changed."""
    spec = _spec(_one_conv(np.ones((1, 3, 1, 1)), [0.0]))
    with pytest.raises(TypeError):
        spec.layers["b"] = _layer()  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        spec.layers["a"].weight[0] = 1
    conv = random_conv(np.random.default_rng(0), "a", "image", (1, 3, 1, 1))
    assert replace(conv, stride=2).stride == 2
