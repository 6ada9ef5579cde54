"""INT8 ONNX files of joins, products, soft masks and enlarged grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.graph.nodes import Concat, Mul, Node, SoftMask
from mobileq.graph.pools import Copies
from mobileq.quant.affine import QMAX, QMIN
from mobileq.quant.simulate import simulate
from mobileq.quant.spec import QuantSpec
from mobileq_onnx.qdq_writer import ActivationType, write_int8
from mobileq_onnx.runner import OnnxRunner
from support.handmade import random_pixels
from support.random_integers import hostile_spec, random_deployable

Tensors = dict[str, np.ndarray]


def steps(node: Node, spec: QuantSpec, tensors: Tensors) -> np.ndarray:
    """Steps of the result that a node should make, not yet rounded or clipped."""
    parts = [spec.activations[n].dequantize(tensors[n]) for n in node.inputs]
    match node:
        case Concat():
            real = np.concatenate(parts, axis=1)
        case Mul():
            real = parts[0] * parts[1]
        case SoftMask():
            real = parts[0] * np.rint(node.mask * 127) / 127
        case _:
            assert isinstance(node, Copies)
            rows, columns = node.sources(*parts[0].shape[2:])
            real = parts[0][:, :, rows][:, :, :, columns]
    affine = spec.activations[node.name]
    return np.clip(real / affine.scale + affine.zero_point, QMIN, QMAX)


@pytest.mark.parametrize("activations", ["uint8", "int8"])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**20))
def test_a_node_rounds_what_it_reads_once(
    activations: ActivationType, seed: int
) -> None:
    """Of the integers that the runtime really gave it."""
    graph = random_deployable(seed)
    spec = hostile_spec(graph, seed, per_channel=True)
    model = write_int8(graph, spec, activation_type=activations)
    tensors = dict(OnnxRunner(model).tensors(random_pixels(graph, 1, seed=seed)))
    for node in graph.nodes:
        if isinstance(node, Concat | Mul | SoftMask | Copies):
            wanted = steps(node, spec, tensors)
            # Half a step, and float32's rounding of values of up to 256 steps.
            limit = 0.0 if isinstance(node, Copies) else 0.5 + 1e-3
            assert np.abs(tensors[node.name] - wanted).max() <= limit, node.name


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_tensors_of_one_scale_are_joined_as_they_are(seed: int) -> None:
    """Copies of integers: no bit changes."""
    graph = random_deployable(seed)
    spec = hostile_spec(graph, seed, per_channel=True)
    pixels = random_pixels(graph, 1, seed=seed)
    found = OnnxRunner(write_int8(graph, spec)).tensors(pixels)
    exact = simulate(graph, spec, pixels)
    for node in graph.nodes:
        if isinstance(node, Concat):
            own = spec.activations[node.name]
            start = 0
            for name in node.inputs:
                part = found[node.name][:, start : start + exact[name].shape[1]]
                start += exact[name].shape[1]
                if spec.activations[name] == own:
                    np.testing.assert_array_equal(part, found[name])
