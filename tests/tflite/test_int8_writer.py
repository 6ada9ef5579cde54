"""INT8 TFLite files: their integers, their operators, and what the runtime computes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Cap, Conv, Flatten, Input, Linear, Mask, Padding
from mobileq.quant.affine import Affine
from mobileq.quant.fixed_point import cap_bounds
from mobileq.quant.simulate import simulate
from mobileq.quant.spec import QuantizedLayer, QuantSpec
from mobileq_tflite.flatfile import ALIGNMENT, unpack
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.parsed import parse
from mobileq_tflite.runner import Kernels, TfliteRunner
from support.handmade import (
    disc,
    handmade_graph,
    handmade_spec,
    mean_conv,
    random_conv,
    random_pixels,
)
from support.random_integers import hostile_spec, random_bounds, random_deployable

seeds = st.integers(0, 2**20)


def require_equal(graph: Graph, spec: QuantSpec, pixels: np.ndarray) -> None:
    """Compare every tensor of the reference kernels and the simulator, bit for bit."""
    runner = TfliteRunner(write_int8(graph, spec), kernels="reference")
    found, wanted = runner.tensors(pixels), simulate(graph, spec, pixels)
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert found[name].dtype == np.int8
        assert np.array_equal(found[name], values), name


@given(seed=seeds, per_channel=st.booleans())
@settings(deadline=None, max_examples=15)
def test_reference_kernels_equal_the_simulator(seed: int, per_channel: bool) -> None:
    """Any nodes, strides, borders, groups, zero points and scales: no bit differs."""
    graph = random_deployable(seed)
    spec = hostile_spec(graph, seed, per_channel=per_channel)
    require_equal(graph, spec, random_pixels(graph, 2, seed=seed))


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_network_with_a_large_mean_equals_the_simulator(per_channel: bool) -> None:
    """Means over 24 x 24 points, summed by one matrix product."""
    graph = handmade_graph(size=47, channels=4)
    spec = handmade_spec(graph, per_channel=per_channel)
    require_equal(graph, spec, random_pixels(graph, 2))


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_rounding_equals_the_simulator_next_to_halves(
    linear: bool, per_channel: bool
) -> None:
    """Sums on which conventions disagree: rounding once or twice, products in float32.

    Nearly all sums give the same by any convention; those that do not are next to
    halves, and are set as the biases of a layer that sees only zeros.
    """
    graph, spec = _delicate_layer(linear, per_channel)
    require_equal(graph, spec, np.full((1, 1, 1, 1), 128, np.uint8))


@pytest.mark.parametrize("linear", [True, False])
def test_sums_that_overflow_equal_the_simulator(linear: bool) -> None:
    """Reference kernels let 32-bit sums wrap around."""
    bias, source = np.full(2, 2**31 - 1), Affine(1 / 128, 0)
    graph, spec = _layer(bias, source, 0.25, Affine(1, 0), linear=linear)
    bright, dark = (
        np.full((2, 1, 1, 1), 255, np.uint8),
        np.zeros((1, 1, 1, 1), np.uint8),
    )
    require_equal(graph, spec, np.concatenate([bright, dark]))


@given(seed=seeds)
@settings(deadline=None, max_examples=6)
def test_other_kernels_are_one_step_away_per_operator(seed: int) -> None:
    """XNNPACK and the optimized kernels round a Conv differently, by 1 at most."""
    rng = np.random.default_rng(seed)
    source = Input("image", (), (4, 9, 9), trivial_fields(4))
    groups = int(rng.choice([1, 2, 4]))
    conv = random_conv(rng, "out", "image", (8, 4 // groups, 3, 3), groups=groups)
    graph = Graph((source, conv), "out")
    spec = handmade_spec(graph)
    file, pixels = write_int8(graph, spec), random_pixels(graph, 4)
    wanted = simulate(graph, spec, pixels)["out"].astype(int)
    for kernels in ("xnnpack", "builtin"):
        found = TfliteRunner(file, kernels=kernels).outputs(pixels)  # type: ignore[arg-type]
        assert np.abs(found - wanted).max() <= 1


@given(seed=seeds, kernels=st.sampled_from(["xnnpack", "builtin", "reference"]))
@settings(deadline=None, max_examples=12)
def test_caps_are_exact_on_all_kernels(seed: int, kernels: Kernels) -> None:
    """After a Conv and when flat, no kernel lets anything else through."""
    rng = np.random.default_rng(seed)
    source = Input("image", (), (4, 6, 5), trivial_fields(4))
    conv = random_conv(rng, "conv", "image", (9, 4, 6, 5))
    first = Cap("capped", ("conv",), random_bounds(rng, 9))
    end = Cap("end", ("flat",), random_bounds(rng, 9))
    graph = Graph((source, conv, first, Flatten("flat", ("capped",)), end), "end")
    spec = hostile_spec(graph, seed, per_channel=True)
    runner = TfliteRunner(write_int8(graph, spec), kernels=kernels)
    found = runner.tensors(random_pixels(graph, 8))
    for node in (first, end):
        bounds = cap_bounds(node, spec.activations[node.name])
        wanted = np.minimum(found[node.inputs[0]].reshape(8, 9), bounds)
        assert np.array_equal(found[node.name].reshape(8, 9), wanted)


def test_everything_but_the_conversion_of_the_ends_is_delegated() -> None:
    """XNNPACK takes all operators of a usual network in one piece."""
    graph = handmade_graph(size=10)  # an even size needs an explicit PAD
    runner = TfliteRunner(write_int8(graph, handmade_spec(graph)), kernels="xnnpack")
    assert sorted(runner.operators) == ["DELEGATE", "QUANTIZE", "QUANTIZE"]


def test_padding_is_same_wherever_that_is_exact() -> None:
    """Odd grids need no PAD; even ones sampled with stride 2 do."""
    for size, pads in ((9, 0), (10, 1)):
        graph = handmade_graph(size=size)
        file = write_int8(graph, handmade_spec(graph))
        operators = TfliteRunner(file, kernels="reference").operators
        assert operators.count("PAD") == pads


@pytest.mark.parametrize("per_channel", [True, False])
def test_integers_and_scales_are_those_of_the_spec(per_channel: bool) -> None:
    """Weights, biases, scales and zero points are in the file as they were given."""
    graph = handmade_graph()
    spec = handmade_spec(graph, per_channel=per_channel)
    model = unpack(write_int8(graph, spec))
    tensors = {t.name.decode(): t for t in model.subgraphs[0].tensors}
    for name, affine in spec.activations.items():
        assert tensors[name].quantization.scale.tolist() == [affine.scale]
        assert tensors[name].quantization.zeroPoint.tolist() == [affine.zero_point]
    for name, whole in spec.layers.items():
        # A sum over the grid has the numbers of its first channel, which are all alike.
        layer = first_channel(whole) if f"{name};planes" in tensors else whole
        weight, bias = tensors[f"{name};weight"], tensors[f"{name};bias"]
        scales = layer.weight_scale if per_channel else layer.weight_scale[:1]
        assert np.array_equal(weight.quantization.scale, scales)
        axis = weight.quantization.quantizedDimension
        assert not per_channel or weight.shape[axis] == len(layer.bias)
        assert _data(model, bias, np.int32).tolist() == layer.bias.tolist()
        stored = np.sort(_data(model, weight, np.int8))
        assert np.array_equal(stored, np.sort(layer.weight, axis=None))


def first_channel(layer: QuantizedLayer) -> QuantizedLayer:
    """What one filter for all channels holds."""
    return replace(
        layer,
        weight=layer.weight[:1],
        weight_scale=layer.weight_scale[:1],
        bias=layer.bias[:1],
    )


@pytest.mark.parametrize("what", ["weight", "bias", "weight_scale"])
def test_a_sum_over_the_grid_needs_equal_channels(what: str) -> None:
    """One channel that differs in one number, and it is a depthwise convolution again.

    Both files have the integers of the simulator on the reference kernels.
    """
    graph = handmade_graph()
    spec = handmade_spec(graph)
    layer = spec.layers["mean"]
    values = getattr(layer, what).copy()
    match what:
        case "weight":
            values[1, 0, 0, 0] ^= 1
        case "bias":
            values[1] += 1
        case _:
            values[1] *= 2
    layers = {**spec.layers, "mean": replace(layer, **{what: values})}
    differs = replace(spec, layers=layers)
    for one, kind in ((spec, "TRANSPOSE"), (differs, "DEPTHWISE_CONV_2D")):
        kinds = [call.kind for call in parse(write_int8(graph, one), "a.tflite").calls]
        assert kind in kinds[kinds.index("MAX_POOL_2D") + 1 :]
        require_equal(graph, one, random_pixels(graph, 4))


def test_a_depthwise_layer_per_tensor_has_one_scale() -> None:
    """The mean over the grid carries a single weight scale, not one per channel."""
    graph = handmade_graph()
    model = unpack(write_int8(graph, handmade_spec(graph, per_channel=False)))
    scales = [
        tensor.quantization.scale
        for tensor in model.subgraphs[0].tensors
        if tensor.name == b"mean;weight"
    ]
    assert [len(scale) for scale in scales] == [1]


def test_constants_are_aligned() -> None:
    """Constant data starts at multiples of 16 bytes, so that files can be mapped."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    file = write_int8(graph, spec)
    for name in ("stem", "expand", "head"):
        weight = spec.layers[name].weight
        stored = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).tobytes()
        assert file.count(stored) == 1
        assert file.index(stored) % ALIGNMENT == 0


def test_the_file_says_what_it_is() -> None:
    """Description, and a signature with the names of input and output."""
    graph = handmade_graph()
    model = unpack(write_int8(graph, handmade_spec(graph)))
    (signature,) = model.signatureDefs
    assert [entry.name for entry in signature.inputs] == [b"pixels"]
    assert [entry.name for entry in signature.outputs] == [b"logits"]
    assert b"INT8" in model.description


def test_writing_twice_gives_the_same_bytes() -> None:
    """A file depends on nothing but graph and spec."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    assert write_int8(graph, spec) == write_int8(graph, spec)


def test_a_node_may_be_called_pixels() -> None:
    """The file's own input does not collide with a node of that name."""
    source = Input("pixels", (), (1, 4, 4), trivial_fields(1))
    graph = Graph((source, Mask("masked", ("pixels",), disc(4))), "masked")
    require_equal(graph, handmade_spec(graph), random_pixels(graph, 2))


def test_stride_without_padding_on_an_even_grid() -> None:
    """The last row and column that no window reaches are dropped."""
    rng = np.random.default_rng(0)
    source = Input("image", (), (2, 10, 8), trivial_fields(2))
    conv = random_conv(rng, "conv", "image", (3, 2, 3, 3), stride=2)
    last = random_conv(
        rng, "last", "conv", (3, 3, 2, 2), stride=2, padding=Padding(1, 0, 0, 2)
    )
    graph = Graph((source, conv, last), "last")
    require_equal(graph, handmade_spec(graph), random_pixels(graph, 3))


def test_a_name_with_the_internal_mark_is_refused() -> None:
    """A semicolon marks tensors that are no node."""
    source = Input("a;b", (), (1, 4, 4), trivial_fields(1))
    graph = Graph((source, Mask("masked", ("a;b",), disc(4))), "masked")
    with pytest.raises(UnsupportedError, match="a;b"):
        write_int8(graph, handmade_spec(graph))


def test_a_spec_that_does_not_fit_is_refused() -> None:
    """The writer does not write what the runtimes would compute differently."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    other = {**spec.activations, "orbit": Affine(0.5, 3)}
    with pytest.raises(GraphError, match="orbit"):
        write_int8(graph, QuantSpec(other, spec.layers))


def test_mean_over_an_empty_border() -> None:
    """A masked mean gives the same however the pixels outside are set."""
    mask = disc(7)
    source = Input("image", (), (2, 7, 7), trivial_fields(2))
    graph = Graph((source, mean_conv("mean", "image", mask, 2)), "mean")
    spec = handmade_spec(graph)
    pixels = random_pixels(graph, 1)
    changed = np.where(mask[None, :, :, None] == 1, pixels, 255 - pixels)
    runner = TfliteRunner(write_int8(graph, spec), kernels="xnnpack")
    assert np.array_equal(runner.outputs(pixels), runner.outputs(changed))


def _data(model: Any, tensor: Any, dtype: type[np.generic]) -> np.ndarray:
    """Flat content of a constant."""
    return np.frombuffer(model.buffers[tensor.buffer].data, dtype)


def _layer(
    bias: np.ndarray,
    source: Affine,
    weight_scale: float,
    result: Affine,
    *,
    linear: bool = False,
    per_channel: bool = True,
) -> tuple[Graph, QuantSpec]:
    """One layer with weights 127, whose input is a single pixel."""
    count = len(bias)
    zero = source.zero_point + 128
    image = Input(
        "image", (), (1, 1, 1), trivial_fields(1), source.scale, pixel_zero=zero
    )
    flat = Flatten("flat", ("image",))
    shape = (count, 1) if linear else (count, 1, 1, 1)
    ones, zeros = np.ones(shape), np.zeros(count)
    nodes = (
        (image, flat, Linear("out", ("flat",), ones, zeros))
        if linear
        else (image, Conv("out", ("image",), ones, zeros, trivial_fields(count)))
    )
    scales = np.full(count, weight_scale, np.float32)
    weight = np.full(shape, 127, np.int8)
    layer = QuantizedLayer(weight, scales, bias.astype(np.int32), per_channel)
    maps = {"image": source, "flat": source, "out": result}
    return Graph(nodes, "out"), QuantSpec(maps, {"out": layer})


def _delicate_layer(linear: bool, per_channel: bool) -> tuple[Graph, QuantSpec]:
    """A layer whose biases are all sums within 40 of a half between two outputs."""
    source, weight = Affine(float(np.float32(0.0071)), 0), float(np.float32(0.0037))
    coarse = float(np.float32(2**29 * source.scale * weight / 130))
    halves = (np.arange(-130, 120) + 0.5) * coarse / (source.scale * weight)
    sums = np.rint(halves[:, None] + np.arange(-40, 41)).ravel()
    return _layer(
        sums,
        source,
        weight,
        Affine(coarse, 5),
        linear=linear,
        per_channel=per_channel,
    )
