"""Smooth activations: the tables against every kernel that LiteRT has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.errors import GraphError
from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Input
from mobileq.quant.affine import Affine
from mobileq.quant.curves import SIGMOID_OUTPUT, curve_table
from mobileq.quant.simulate import simulate
from mobileq.quant.spec import QuantSpec
from mobileq_onnx.qdq_writer import ActivationType
from mobileq_onnx.qdq_writer import write_int8 as write_onnx
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.runner import TfliteRunner, kernels_of

EVERY = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
"""An image with all 8-bit integers."""


def drawn(kind: CurveKind, seed: int) -> tuple[Graph, QuantSpec]:
    """A graph of one curve, any scales and zero points."""
    rng = np.random.default_rng(seed)
    scale = float(np.float32(2.0 ** rng.uniform(-9, -2)))
    zero = int(rng.integers(0, 256))
    slope = float(rng.uniform(0.01, 0.99)) if kind is CurveKind.LEAKY_RELU else 0.0
    image = Input("image", (), (1, 16, 16), trivial_fields(1), scale, zero)
    graph = Graph((image, Curve("curve", ("image",), kind, slope)), "curve")
    result = Affine(
        float(np.float32(scale * 2 ** rng.uniform(-2, 2))), int(rng.integers(-128, 128))
    )
    if kind is CurveKind.SIGMOID:
        result = SIGMOID_OUTPUT
    return graph, QuantSpec({"image": Affine(scale, zero - 128), "curve": result}, {})


@pytest.mark.parametrize("kind", CurveKind)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**20))
def test_kernels_equal_the_table(kind: CurveKind, seed: int) -> None:
    """All 256 integers; XNNPACK's leaky ReLU has a multiplication of its own."""
    graph, spec = drawn(kind, seed)
    file = write_int8(graph, spec)
    wanted = simulate(graph, spec, EVERY)["curve"]
    for kernels in kernels_of(file):
        found = TfliteRunner(file, kernels=kernels).outputs(EVERY)
        own = kernels == "xnnpack" and kind is CurveKind.LEAKY_RELU
        # It rounds once where the others round twice.
        assert np.abs(found.astype(int) - wanted).max() <= (1 if own else 0), kernels


@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("kind", CurveKind)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**20))
def test_onnx_looks_the_same_table_up(
    kind: CurveKind, activations: ActivationType, seed: int
) -> None:
    """Integers in, integers out; no kernel of a real function is asked."""
    graph, spec = drawn(kind, seed)
    model = write_onnx(graph, spec, activation_type=activations)
    found = OnnxRunner(model).outputs(EVERY)
    np.testing.assert_array_equal(found, simulate(graph, spec, EVERY)["curve"])


@pytest.mark.parametrize("kind", CurveKind)
def test_a_table_is_the_curve_within_a_step(kind: CurveKind) -> None:
    """Of what the integers stand for, wherever the result does not saturate."""
    graph, spec = drawn(kind, 7)
    curve, source, result = graph["curve"], *spec.activations.values()
    assert isinstance(curve, Curve)
    real = source.dequantize(np.arange(-128, 128))
    low, high = result.range
    found = result.dequantize(curve_table(curve, source, result))
    wanted = np.clip(curve.at(real), low, high)
    # Half a step of rounding, and as much for factors rounded in fixed point.
    assert np.abs(found - wanted).max() <= result.scale


def test_the_reference_kernels_lack_elu() -> None:
    """Which kernels can run a file is found in the file."""
    with_elu, without = (
        write_int8(*drawn(kind, 0)) for kind in (CurveKind.ELU, CurveKind.SIGMOID)
    )
    assert kernels_of(with_elu) == ("xnnpack", "builtin")
    assert kernels_of(without) == ("xnnpack", "builtin", "reference")


def test_a_sigmoid_of_another_scale_is_refused() -> None:
    """The kernels abort on it."""
    graph, spec = drawn(CurveKind.SIGMOID, 0)
    other = {**spec.activations, "curve": Affine(1 / 128, -128)}
    with pytest.raises(GraphError, match=r"^Curve 'curve': has Affine\(scale=0.00"):
        write_int8(graph, QuantSpec(other, {}))
