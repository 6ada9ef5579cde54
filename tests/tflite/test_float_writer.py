"""Float TFLite files against the reference executor, and how quietly they are made."""

from __future__ import annotations

import numpy as np
import pytest

from mobileq.errors import UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.nodes import (
    Activation,
    Cap,
    Flatten,
    Input,
    MaxPool,
    Padding,
    SpatialMean,
)
from mobileq.verify.runner import PixelMap
from mobileq_tflite.flatfile import unpack
from mobileq_tflite.float_writer import write_float
from mobileq_tflite.runner import Kernels, TfliteRunner
from support.handmade import handmade_graph, normalized, random_conv, random_pixels
from support.random_integers import random_deployable

RELATIVE = 1e-5
"""Of a tensor's largest value: float32 has 6e-8, sums of some hundred terms in another
order lose a digit, and a dozen layers pass it on."""


def require_close(graph: Graph, runner: TfliteRunner) -> set[str]:
    """Compare all tensors that are left; returns their names."""
    pixels = random_pixels(graph, 2)
    found, wanted = runner.tensors(pixels), run(graph, normalized(graph, pixels))
    assert {graph.input.name, graph.output} <= set(found) <= set(wanted)
    for name, values in found.items():
        tolerance = RELATIVE * max(1.0, float(np.abs(wanted[name]).max()))
        assert np.allclose(values, wanted[name], rtol=0, atol=tolerance), name
    return set(found)


@pytest.mark.parametrize("size", [9, 10])
def test_every_tensor_follows_the_graph(size: int) -> None:
    """Each tensor carries the name of the node whose value it has, on all kernels."""
    graph = handmade_graph(size=size)
    file = write_float(graph)
    kernels: tuple[Kernels, ...] = ("reference", "builtin", "xnnpack")
    for kind in kernels:
        names = require_close(graph, TfliteRunner(file, kernels=kind))
        # The converter merges the reshapes after the orbit's maximum into one.
        assert names >= set(graph.shapes) - {"orbit", "flat"}


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_follow_the_graph(seed: int) -> None:
    """Groups, borders, strides and activations of all kinds."""
    graph = random_deployable(seed)
    source = graph.input
    pixels = PixelMap(source.pixel_scale, source.pixel_zero)
    runner = TfliteRunner(write_float(graph), kernels="reference", pixels=pixels)
    require_close(graph, runner)


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """TensorFlow's logs do not reach the user."""
    TfliteRunner(write_float(handmade_graph()), kernels="xnnpack")
    assert capfd.readouterr().err == ""


def test_padding_never_wins_a_maximum() -> None:
    """Borders of a MaxPool lose even against negative values."""
    rng = np.random.default_rng(0)
    source = Input("image", (), (1, 5, 5), trivial_fields(1))
    conv = random_conv(rng, "conv", "image", (2, 1, 1, 1))
    pool = MaxPool("pool", ("conv",), (2, 2), 1, Padding(1, 0, 1, 0))
    graph = Graph((source, conv, pool), "pool")
    require_close(graph, TfliteRunner(write_float(graph), kernels="xnnpack"))


@pytest.mark.parametrize("bounds", [(6.0, 6.0, 6.0), (0.01, 0.5, 90.0)])
def test_caps_bound_each_channel(bounds: tuple[float, ...]) -> None:
    """Caps of a grid and of a flat tensor are there, on the delegate's kernels too."""
    rng = np.random.default_rng(0)
    source = Input("image", (), (2, 4, 4), trivial_fields(2), pixel_scale=0.1)
    relu, high = Activation.RELU, np.array(bounds)
    conv = random_conv(rng, "conv", "image", (3, 2, 2, 2), activation=relu)
    last = random_conv(rng, "last", "capped", (3, 3, 3, 3))
    nodes = (conv, Cap("capped", ("conv",), high), last, Flatten("flat", ("last",)))
    graph = Graph((source, *nodes, Cap("end", ("flat",), high / 2)), "end")
    pixels = PixelMap(source.pixel_scale, source.pixel_zero)
    file = write_float(graph)
    kernels: tuple[Kernels, ...] = ("reference", "xnnpack")
    for kind in kernels:
        runner = TfliteRunner(file, kernels=kind, pixels=pixels)
        assert require_close(graph, runner) >= {"capped", "last"}


def test_the_file_says_what_it_is() -> None:
    """Description, and a signature with the names of input and output."""
    model = unpack(write_float(handmade_graph()))
    (signature,) = model.signatureDefs
    assert [entry.name for entry in signature.inputs] == [b"image"]
    assert [entry.name for entry in signature.outputs] == [b"logits"]
    assert b"float" in model.description


def test_a_node_of_an_earlier_stage_is_refused() -> None:
    """A spatial mean must have become a Conv."""
    source = Input("image", (), (1, 4, 4), trivial_fields(1))
    mean = SpatialMean("mean", ("image",), np.ones((4, 4), np.uint8))
    with pytest.raises(UnsupportedError, match=r"mean.*deployable"):
        write_float(Graph((source, mean), "mean"))
