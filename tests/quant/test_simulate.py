"""The integer executor by itself: against real numbers, and its fixed point parts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.nodes import (
    Activation,
    Add,
    Cap,
    Conv,
    Flatten,
    Input,
    Linear,
    SpatialMean,
)
from mobileq.quant.affine import Affine
from mobileq.quant.derive import derive_spec
from mobileq.quant.fixed_point import (
    Multiplier,
    activation_range,
    cap_bounds,
    round_away,
)
from mobileq.quant.ranges import Range, statistical_ranges
from mobileq.quant.simulate import SimulatorRunner, simulate
from mobileq.quant.spec import QuantizedLayer, QuantSpec
from support.handmade import handmade_graph, handmade_spec, normalized, random_pixels

seeds = st.integers(0, 2**16)
int32 = st.integers(-(2**31), 2**31 - 1)
factors = st.floats(2.0**-20, 1.0, exclude_max=True)


@given(value=int32, factor=factors)
@settings(deadline=None, max_examples=15)
def test_multiplier_is_close_to_the_real_product(value: int, factor: float) -> None:
    """Fixed point stays within two roundings of the product of real numbers."""
    multiplier = Multiplier.of(np.asarray([factor]))
    exact = Fraction(value) * Fraction(factor)
    values = np.asarray([value], np.int64)
    # The mantissa has 31 bits: a relative error of 2^-31 on |value| < 2^31 is 1 at
    # most; each of two roundings adds 1/2.
    assert abs(int(multiplier.apply(values)[0]) - exact) <= 2


@pytest.mark.parametrize(("value", "wanted"), [(1, 1), (-1, -1), (3, 2), (-3, -2)])
def test_double_rounding_takes_halves_away_from_zero(value: int, wanted: int) -> None:
    """A quarter of an even number is first halved exactly, then rounded outwards."""
    quarter = Multiplier.of(np.asarray([0.25]))
    assert quarter.apply(np.asarray([2 * value], np.int64)).tolist() == [wanted]


def test_round_away_is_exact_next_to_halves() -> None:
    """Halves go outwards, and their neighbours in float64 do not."""
    below = np.nextafter(0.5, 0)
    values = np.asarray([-1.5, -0.5, -below, 0.0, below, 0.5, 2.5])
    assert round_away(values).tolist() == [-2, -1, 0, 0, 0, 1, 3]


def test_multiplier_just_below_a_power_of_two_does_not_overflow() -> None:
    """A fraction that rounds up to 2^31 becomes 2^30 with the next exponent."""
    multiplier = Multiplier.of(np.asarray([np.nextafter(0.5, 0)]))
    assert (multiplier.mantissa[0], multiplier.exponent[0]) == (2**30, 0)


def test_multiplier_too_small_for_a_shift_is_zero() -> None:
    """Factors below 2^-32 give 0 whatever they multiply."""
    tiny = Multiplier.of(np.asarray([2.0**-40]))
    assert tiny.apply(np.asarray([2**31 - 1], np.int64)).tolist() == [0]


@given(zero_point=st.integers(-128, 127), scale=st.floats(0.001, 1))
@settings(deadline=None, max_examples=15)
def test_activation_bounds_stay_in_8_bit(zero_point: int, scale: float) -> None:
    """RELU6 starts at the zero point and ends at 6, or at the last value there is."""
    affine = Affine(float(np.float32(scale)), zero_point)
    low, high = activation_range(Activation.RELU6, affine)
    assert low == zero_point
    # float32 division may land on the other side of a half.
    assert high == pytest.approx(min(127, zero_point + 6 / affine.scale), abs=0.51)


def test_bounds_of_a_cap_are_rounded_and_saturate() -> None:
    """Halves go to even; a bound beyond the range is 127, and nothing overflows."""
    high = np.array([1e-300, 0.49, 0.5, 1.5, 2.5, 100.0, 1e300])
    cap = Cap("cap", ("x",), high)
    steps = cap_bounds(cap, Affine(1.0, -3))
    assert steps.dtype == np.int8
    assert steps.tolist() == [-3, -3, -3, -1, -1, 97, 127]
    assert (cap_bounds(cap, Affine(2.0**-20, 127)) == 127).all()
    assert cap_bounds(cap, Affine(2.0, 126)).tolist() == [126] * 3 + [127] * 4


@pytest.mark.parametrize("seed", range(3))
def test_relu_and_cap_are_a_relu6(seed: int) -> None:
    """Two ways to write one function, with the same integers throughout."""
    fused = handmade_graph(seed)
    layer = fused["depthwise"]
    assert isinstance(layer, Conv)
    # Far more than usual, so that there is something to cut off.
    layer = replace(layer, weight=100 * layer.weight)
    fused = fused.replaced({layer.name: layer})
    inner = replace(layer, name="inner", activation=Activation.RELU)
    cap = Cap("depthwise", ("inner",), np.full(len(layer.weight), 6.0))
    at = fused.nodes.index(layer)
    nodes = (*fused.nodes[:at], inner, cap, *fused.nodes[at + 1 :])
    graph = Graph(nodes, fused.output)
    # 6 is no half of a step here: a RELU6 rounds halves up, a Cap to even.
    ranges = statistical_ranges(graph) | {"inner": Range(0, 19, "wide")}
    spec = derive_spec(graph, ranges)
    tensors = simulate(graph, spec, random_pixels(graph, 2))
    assert (tensors["inner"] > tensors["depthwise"]).any()
    layers = {**spec.layers, "depthwise": spec.layers["inner"]}
    spec = QuantSpec(spec.activations, layers)
    wanted = simulate(fused, spec, random_pixels(fused, 2))
    assert all(np.array_equal(tensors[name], wanted[name]) for name in wanted)


@given(seed=seeds, per_channel=st.booleans())
@settings(deadline=None, max_examples=8)
def test_simulation_follows_the_float_network(seed: int, per_channel: bool) -> None:
    """Dequantized logits track the float ones where nothing saturates."""
    graph = handmade_graph(seed)
    spec = handmade_spec(graph, per_channel=per_channel)
    pixels = random_pixels(graph, 2, seed=1)  # among those that gave the ranges
    tensors = simulate(graph, spec, pixels)
    wanted = run(graph, normalized(graph, pixels))
    for name, affine in spec.activations.items():
        error = np.abs(affine.dequantize(tensors[name]) - wanted[name])
        reach = affine.scale * 255
        # Twelve layers of 8-bit rounding, weights included: a tenth of the range is
        # generous, a wrong zero point, scale or layout is far beyond.
        assert error.max() < 0.1 * reach, name


def test_a_mask_leaves_the_zero_point() -> None:
    """Masked pixels are real zeros; the others are untouched."""
    graph = handmade_graph()
    tensors = simulate(graph, handmade_spec(graph), random_pixels(graph, 2))
    inside = graph["masked"].mask.astype(bool)
    assert (tensors["masked"][:, :, ~inside] == 0).all()
    assert np.array_equal(
        tensors["masked"][:, :, inside], tensors["image"][..., inside]
    )


def test_sums_wrap_at_32_bits() -> None:
    """A bias beyond the range of the sum turns it over, as in a 32-bit register."""
    graph, spec = _one_layer(bias=2**31 - 1)
    brightest = np.full((1, 1, 1, 1), 255, np.uint8)
    assert simulate(graph, spec, brightest)["out"].item() == -128


def test_each_image_is_computed_alone() -> None:
    """A batch gives what its images give one by one."""
    graph = handmade_graph()
    runner = SimulatorRunner(graph, handmade_spec(graph))
    pixels = random_pixels(graph, 3)
    alone = [runner.outputs(image[None]) for image in pixels]
    assert np.array_equal(runner.outputs(pixels), np.concatenate(alone))
    assert runner.integer
    runner.timed(pixels[:1])()


def test_pixels_of_another_size_are_refused() -> None:
    """The message names both sizes."""
    graph = handmade_graph()
    with pytest.raises(GraphError, match=r"\(8, 9, 3\).*\(9, 9, 3\)"):
        simulate(graph, handmade_spec(graph), np.zeros((1, 8, 9, 3), np.uint8))


def test_a_missing_entry_is_named() -> None:
    """A QuantSpec without one tensor or one layer is refused by name."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    fewer = {name: a for name, a in spec.activations.items() if name != "expand"}
    with pytest.raises(GraphError, match="expand"):
        SimulatorRunner(graph, replace(spec, activations=fewer))
    layers = {name: layer for name, layer in spec.layers.items() if name != "stem"}
    with pytest.raises(GraphError, match="stem"):
        SimulatorRunner(graph, replace(spec, layers=layers))


def test_a_node_that_only_selects_must_keep_the_scale() -> None:
    """A MaxPool with a scale of its own cannot be computed exactly."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    other = {**spec.activations, "largest": Affine(0.5, 0)}
    with pytest.raises(GraphError, match="largest"):
        SimulatorRunner(graph, replace(spec, activations=other))
    bounded = Graph((*graph.nodes, Cap("cap", ("logits",), np.ones(2))), "cap")
    other = {**spec.activations, "cap": Affine(0.5, 0)}
    with pytest.raises(GraphError, match=r"Cap 'cap'.*its input's"):
        SimulatorRunner(bounded, replace(spec, activations=other))


def test_weights_of_another_shape_are_refused() -> None:
    """Integer weights must have the shape of the real ones."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    layers = {**spec.layers, "stem": spec.layers["head"]}
    with pytest.raises(GraphError, match="stem"):
        SimulatorRunner(graph, replace(spec, layers=layers))


def test_scales_that_runtimes_refuse_are_found_first() -> None:
    """A layer that scales its sums up by 256, and an Add by 2^19, are errors."""
    graph = handmade_graph()
    spec = handmade_spec(graph)
    for name in ("expand", "residual"):
        tiny = Affine(2.0**-36, 0)
        tied = {"largest": tiny} if name == "residual" else {}
        finer = {**spec.activations, name: tiny, **tied}
        with pytest.raises(GraphError, match=name):
            SimulatorRunner(graph, replace(spec, activations=finer))


def test_a_relu6_that_runtimes_refuse_is_found_first() -> None:
    """TFLite does not load a RELU6 whose bound overflows in the output's scale."""
    source = Input("image", (), (1, 2, 2), trivial_fields(1))
    total = Add("sum", ("image", "image"), Activation.RELU6)
    tiny = Affine(2.0**-30, 0)
    spec = QuantSpec({"image": tiny, "sum": tiny}, {})
    source = replace(source, pixel_scale=tiny.scale)
    with pytest.raises(GraphError, match=r"sum.*clipped at 6"):
        SimulatorRunner(Graph((source, total), "sum"), spec)


def test_pools_must_have_been_rewritten() -> None:
    """A spatial mean has no integer counterpart; the message says what to do."""
    source = Input("image", (), (1, 2, 2), trivial_fields(1))
    mean = SpatialMean("mean", ("image",), np.ones((2, 2), np.uint8))
    graph = Graph((source, mean), "mean")
    affine = Affine(1 / 128, 0)
    with pytest.raises(UnsupportedError, match=r"mean.*deployable"):
        SimulatorRunner(graph, QuantSpec({"image": affine, "mean": affine}, {}))


def test_flatten_over_a_grid_is_refused() -> None:
    """Flattening (C, H, W) depends on the layout, so it is no deployable node."""
    source = Input("image", (), (1, 2, 2), trivial_fields(1))
    graph = Graph((source, Flatten("flat", ("image",))), "flat")
    affine = Affine(1 / 128, 0)
    with pytest.raises(UnsupportedError, match="flat"):
        SimulatorRunner(graph, QuantSpec({"image": affine, "flat": affine}, {}))


def test_doubling_by_addition_is_exact() -> None:
    """x + x in twice the scale is x again, for all 256 values."""
    source = Input("image", (), (1, 16, 16), trivial_fields(1))
    graph = Graph((source, Add("sum", ("image", "image"))), "sum")
    spec = QuantSpec({"image": Affine(1 / 128, 0), "sum": Affine(1 / 64, 0)}, {})
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    tensors = simulate(graph, spec, pixels)
    assert np.array_equal(tensors["sum"], tensors["image"])


def _one_layer(bias: int) -> tuple[Graph, QuantSpec]:
    """A single 1x1 Conv with weight 127 and a given bias, on one pixel."""
    source = Input("image", (), (1, 1, 1), trivial_fields(1))
    conv = Conv(
        "out", ("image",), np.ones((1, 1, 1, 1)), np.zeros(1), trivial_fields(1)
    )
    layer = QuantizedLayer(
        np.full((1, 1, 1, 1), 127, np.int8),
        np.full(1, 0.25, np.float32),  # no factor of 1 or more, which wraps by itself
        np.asarray([bias], np.int32),
        True,
    )
    maps = {"image": Affine(1 / 128, 0), "out": Affine(1 / 128, 0)}
    return Graph((source, conv), "out"), QuantSpec(maps, {"out": layer})


def test_the_linear_layer_has_no_layout() -> None:
    """A Linear node on known integers gives the matrix product."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (3, 4)).astype(np.int8)
    source = Input("image", (), (4, 1, 1), trivial_fields(4))
    linear = Linear("out", ("flat",), weight.astype(float), np.zeros(3))
    graph = Graph((source, Flatten("flat", ("image",)), linear), "out")
    layer = QuantizedLayer(weight, np.ones(3, np.float32), np.zeros(3, np.int32), True)
    affine, coarse = Affine(1 / 128, 0), Affine(4.0, 0)
    spec = QuantSpec({"image": affine, "flat": affine, "out": coarse}, {"out": layer})
    pixels = rng.integers(0, 256, (8, 1, 1, 4)).astype(np.uint8)
    exact = (pixels[:, 0, 0].astype(np.int64) - 128) @ weight.T.astype(np.int64)
    # 1/128 * 1 / 4 is 2^-9; halves go away from zero.
    rounded = np.sign(exact) * ((np.abs(exact) + 256) // 512)
    wanted = np.clip(rounded, -128, 127)
    assert np.array_equal(simulate(graph, spec, pixels)["out"], wanted)
