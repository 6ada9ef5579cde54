"""Types of the ends and heads of TFLite files: they change no integer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.contract import Contract, EndType, Head
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Flatten, Input, Linear
from mobileq.proof.program import Opaque, PerPixel
from mobileq.quant.affine import Affine
from mobileq.quant.heads import SCORES, integer_scores
from mobileq.quant.simulate import simulate
from mobileq.quant.spec import QuantizedLayer, QuantSpec
from mobileq.verify.runner import PixelMap
from mobileq_tflite.flatfile import pack, unpack
from mobileq_tflite.float_writer import write_float
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.reader import read_program
from mobileq_tflite.runner import Kernels, TfliteRunner
from support.handmade import handmade_graph, handmade_spec, random_pixels

ENDS: tuple[EndType, ...] = ("uint8", "int8", "float32")
KERNELS: tuple[Kernels, ...] = ("xnnpack", "builtin", "reference")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("head", list(Head))
def test_every_end_has_the_integers_of_the_simulator(end: EndType, head: Head) -> None:
    """Reference kernels: all tensors of the graph are the same, whatever the ends."""
    graph = handmade_graph(size=9)
    spec = handmade_spec(graph)
    pixels = random_pixels(graph, 2)
    file = write_int8(graph, spec, Contract(end_type=end, head=head))
    runner = TfliteRunner(file, kernels="reference")
    found, wanted = runner.tensors(pixels), simulate(graph, spec, pixels)
    assert runner.integer
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert np.array_equal(found[name], values), name
    outputs = runner.outputs(pixels)
    assert outputs.dtype == np.int8
    if head is Head.NONE:
        assert np.array_equal(outputs, wanted[graph.output])


def identity(scale: float, zero: int) -> tuple[Graph, QuantSpec]:
    """A network of one pixel that returns it."""
    fields = trivial_fields(1)
    source = Input("image", (), (1, 1, 1), fields, pixel_scale=scale, pixel_zero=zero)
    graph = Graph((source, Flatten("flat", ("image",))), "flat")
    affine = Affine(scale, zero - 128)
    return graph, QuantSpec(dict.fromkeys(("image", "flat"), affine), {})


@given(
    scale=st.floats(2**-12, 4, width=32, exclude_min=True),
    zero=st.integers(0, 255),
    end=st.sampled_from(ENDS),
    kernels=st.sampled_from(KERNELS),
)
@settings(deadline=None, max_examples=15)
def test_all_grey_levels_pass_the_ends_exactly(
    scale: float, zero: int, end: EndType, kernels: Kernels
) -> None:
    """Each of the 256 pixels comes out as itself, for any normalization and kernels."""
    graph, spec = identity(float(np.float32(scale)), zero)
    pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    file = write_int8(graph, spec, Contract(end_type=end))
    map_ = PixelMap(float(np.float32(scale)), zero)
    runner = TfliteRunner(file, kernels=kernels, pixels=map_)
    assert np.array_equal(runner.outputs(pixels).ravel(), np.arange(-128, 128))


def linear_head(classes: int, scale: float, seed: int) -> tuple[Graph, QuantSpec]:
    """A network of one pixel and K logits, which its pixel decides at random."""
    rng = np.random.default_rng(seed)
    source = Input("image", (), (1, 1, 1), trivial_fields(1))
    weight = rng.integers(-127, 128, (classes, 1)).astype(np.int8)
    layer = QuantizedLayer(
        weight=weight,
        bias=rng.integers(-3000, 3000, classes).astype(np.int32),
        weight_scale=np.full(classes, 1 / 64, np.float32),
        per_channel=False,
    )
    node = Linear("logits", ("flat",), weight / 64, np.zeros(classes))
    graph = Graph((source, Flatten("flat", ("image",)), node), "logits")
    image = Affine(1 / 128, 0)
    logits = Affine(float(np.float32(scale)), int(rng.integers(-60, 60)))
    maps = {"image": image, "flat": image, "logits": logits}
    return graph, QuantSpec(maps, {"logits": layer})


@given(
    classes=st.sampled_from([2, 3, 7, 40]),
    scale=st.floats(2**-8, 0.25, width=32),
    seed=st.integers(0, 2**16),
    head=st.sampled_from([Head.SOFTMAX, Head.SIGMOID]),
)
@settings(deadline=None, max_examples=12)
def test_heads_are_those_of_the_kernels(
    classes: int, scale: float, seed: int, head: Head
) -> None:
    """Optimized kernels give our scores to the bit, for each of the 256 pixels.

    The reference softmax is of fixed point, and may be one step away next to a half.
    """
    graph, spec = linear_head(classes, scale, seed)
    pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    file = write_int8(graph, spec, Contract(head=head))
    for kernels in KERNELS:
        runner = TfliteRunner(file, kernels=kernels)
        logits = runner.tensors(pixels)["logits"]
        wanted = integer_scores(head, logits, spec.activations["logits"])
        away = np.abs(runner.outputs(pixels).astype(int) - wanted)
        inexact = kernels == "reference" and head is Head.SOFTMAX
        assert away.max() <= (1 if inexact else 0)


def test_scores_of_one_image_add_up_to_one() -> None:
    """Softmax scores are shares: they sum to 1 but for half a step each."""
    graph, spec = linear_head(7, 0.05, 1)
    logits = simulate(graph, spec, np.arange(9, dtype=np.uint8).reshape(-1, 1, 1, 1))
    scores = integer_scores(Head.SOFTMAX, logits["logits"], spec.activations["logits"])
    totals = SCORES.dequantize(scores).sum(axis=1)
    assert np.abs(totals - 1).max() <= 7 * SCORES.scale / 2


@pytest.mark.parametrize("end", ["uint8", "float32"])
@pytest.mark.parametrize("head", list(Head))
def test_float_files_normalize_pixels_and_have_heads(end: EndType, head: Head) -> None:
    """A float file that takes pixels returns what one that takes real numbers does.

    1e-5: the same float32 program but for how the normalization is rounded and fused.
    """
    graph = handmade_graph(size=9)
    pixels = random_pixels(graph, 2)
    plain = TfliteRunner(write_float(graph), kernels="xnnpack")
    file = write_float(graph, Contract(end_type=end, head=head))
    runner = TfliteRunner(file, kernels="xnnpack")
    assert not runner.integer
    wanted = plain.outputs(pixels)
    logits = runner.tensors(pixels)[graph.output]
    assert np.allclose(logits, wanted, rtol=1e-5, atol=1e-5)
    scores = runner.outputs(pixels)
    if head is Head.SOFTMAX:
        powers = np.exp(wanted - wanted.max(axis=1, keepdims=True))
        wanted = powers / powers.sum(axis=1, keepdims=True)
    elif head is Head.SIGMOID:
        wanted = 1 / (1 + np.exp(-wanted))
    assert np.allclose(scores, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("head", list(Head))
def test_the_proof_reads_every_end(end: EndType, head: Head) -> None:
    """No operator at the ends of a file is one that the reader does not know of."""
    graph = handmade_graph(size=9)
    file = write_int8(graph, handmade_spec(graph), Contract(end_type=end, head=head))
    program = read_program(file, "file")
    assert not [o for o in program.operators if isinstance(o, Opaque)]
    of_pixels = [o.kind for o in program.operators if isinstance(o, PerPixel)]
    assert of_pixels == (["SOFTMAX"] if head is Head.SOFTMAX else [])


@pytest.mark.parametrize("kernels", KERNELS)
def test_older_files_are_run_as_before(kernels: Kernels) -> None:
    """Files of uint8 pixels and int8 logits, as they were before contracts."""
    graph = handmade_graph(size=9)
    file = write_int8(graph, handmade_spec(graph))
    model = unpack(file)
    subgraph = model.subgraphs[0]
    last = subgraph.operators.pop()
    subgraph.outputs = last.inputs
    model.signatureDefs, model.metadata = [], []
    pixels = random_pixels(graph, 3)
    found = TfliteRunner(pack(model), kernels=kernels)
    wanted = TfliteRunner(file, kernels=kernels)
    assert found.integer
    assert np.array_equal(found.outputs(pixels), wanted.outputs(pixels))
    assert set(found.tensors(pixels)) == set(wanted.tensors(pixels))
