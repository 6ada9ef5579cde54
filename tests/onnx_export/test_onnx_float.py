"""Float ONNX files compute what the reference executor computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxsim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.errors import UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.nodes import Input, SpatialMean
from mobileq.verify.runner import PixelMap
from mobileq_onnx.float_writer import write_float
from mobileq_onnx.runner import OnnxRunner
from onnx_export.integer_model import awkward_graph
from support.handmade import handmade_graph, normalized, random_pixels

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
"""Float32 sums of at most a few hundred terms near 1, in another order."""


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_every_tensor_equals_the_reference(seed: int) -> None:
    """All nodes, by name, in the graph's layout."""
    for graph in (handmade_graph(seed), awkward_graph(seed)):
        source = graph.input
        pixels = random_pixels(graph, 2, seed=seed)
        scale = PixelMap(source.pixel_scale, source.pixel_zero)
        runner = OnnxRunner(write_float(graph), pixels=scale)
        found = runner.tensors(pixels)
        wanted = run(graph, normalized(graph, pixels))
        assert list(found) == list(wanted)
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, err_msg=name, **CLOSE)
        np.testing.assert_allclose(
            runner.outputs(pixels), wanted[graph.output], **CLOSE
        )


def test_the_file_has_one_input_and_one_output() -> None:
    """Names, types and shapes, batch size 1 included."""
    model = onnx.load_model_from_string(write_float(handmade_graph(size=9)))
    onnx.checker.check_model(model, full_check=True)
    (source,), (target,) = model.graph.input, model.graph.output
    for value, name, shape in (
        (source, "input", [1, 3, 9, 9]),
        (target, "logits", [1, 2]),
    ):
        tensor = value.type.tensor_type
        assert value.name == name
        assert tensor.elem_type == onnx.TensorProto.FLOAT
        assert [axis.dim_value for axis in tensor.shape.dim] == shape


def test_tensors_carry_the_names_of_nodes() -> None:
    """A tool that shows the file shows the graph's names."""
    graph = handmade_graph()
    model = onnx.load_model_from_string(write_float(graph))
    made = {name for node in model.graph.node for name in node.output}
    assert made >= {node.name for node in graph.nodes[1:]}


def test_onnxsim_agrees() -> None:
    """A simplified copy passes its own check and gives the same logits."""
    graph = handmade_graph(1)
    model = write_float(graph)
    simplified, ok = onnxsim.simplify(onnx.load_model_from_string(model))
    assert ok
    pixels = random_pixels(graph, 3)
    theirs = OnnxRunner(simplified.SerializeToString()).outputs(pixels)
    np.testing.assert_allclose(OnnxRunner(model).outputs(pixels), theirs, **CLOSE)


def test_a_mean_that_should_be_a_conv_is_refused() -> None:
    """Only deployable graphs can be written."""
    image = Input("image", (), (1, 3, 3), trivial_fields(1))
    mean = SpatialMean("mean", ("image",), np.ones((3, 3), np.uint8))
    with pytest.raises(UnsupportedError, match="SpatialMean 'mean'"):
        write_float(Graph((image, mean), "mean"))
