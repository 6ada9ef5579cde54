"""Copied places of the grid: repeated pixels, mirrored borders, gates spread out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from mobileq.certify import certify
from mobileq.collapse.collapse import collapse
from mobileq.deploy.files import deploy
from mobileq.proof import Certificate, Motion, Program, prove
from mobileq.proof.builder import Builder
from mobileq.proof.checks import Unreadable
from mobileq.proof.motions import CHECKED, QUARTER_TURN
from mobileq.proof.program import Pointwise, Sample, Source
from support.faults import edited
from support.programs import run
from support.user_networks import USER_NETWORKS, trained_looking

SIZE = 4


def _really(program: Program) -> set[Motion]:
    """Motions that the program commutes with, on an image of different values."""
    shape = program.operators[0].shape
    image = np.arange(np.prod(shape)).reshape(shape)
    still = run(program, image)
    moved = {m: run(program, np.ascontiguousarray(m(image))) for m in CHECKED}
    return {m for m in CHECKED if np.array_equal(moved[m], m(still))}


@settings(deadline=None, max_examples=15)
@given(
    first=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=3),
    middle=st.booleans(),
    same=st.booleans(),
    fault=st.integers(0, 5),
)
def test_copies_are_proven_exactly_where_they_commute(
    first: list[int], middle: bool, same: bool, fault: int
) -> None:
    """Rows that mirror each other, or nearly: no motion too many, and none too few."""
    mirrored = [SIZE - 1 - index for index in reversed(first)]
    rows = np.array([*first, *([1, 2] if middle else []), *mirrored])
    columns = rows.copy() if same else np.roll(rows, 1)
    if fault < len(rows):
        rows[fault] = (rows[fault] + 1) % SIZE
    shape = (2, len(rows), len(columns))
    image = Source("image", "input", (), (2, SIZE, SIZE))
    sample = Sample("copied", "RESIZE", ("image",), shape, rows, columns)
    program = Program("test", (image, sample), "copied")
    assert set(prove(program).proven) == _really(program)


def test_a_value_for_each_channel_is_spread_out() -> None:
    """A product with a gate is one function of two values at every place."""
    builder = Builder(channels_last=False)
    builder.add(Source("image", "input", (), (2, SIZE, SIZE)))
    builder.add_sample("gate", "RESIZE", "image", np.zeros(1, int), np.zeros(1, int))
    builder.add_pointwise("product", "Mul", ["image", "gate"], {})
    product = builder.operators[-1]
    assert isinstance(product, Pointwise)
    assert product.inputs == ("image", "gate (spread)")
    program = Program("test", tuple(builder.operators), "product")
    # The gate is the first pixel, which turns away.
    assert set(prove(program).proven) == _really(program)


def test_other_shapes_are_not_spread_out() -> None:
    """A row is no gate, and neither is a gate of other channels."""
    builder = Builder(channels_last=False)
    builder.add(Source("image", "input", (), (2, SIZE, SIZE)))
    every, one = np.arange(SIZE), np.zeros(1, int)
    builder.add_sample("row", "RESIZE", "image", one, every)
    with pytest.raises(Unreadable, match="its inputs have shapes"):
        builder.add_pointwise("product", "Mul", ["image", "row"], {})


@cache
def _files() -> dict[str, bytes]:
    """The segmentation network in integers, by format."""
    made = USER_NETWORKS["segmentation"]
    files = deploy(collapse(trained_looking(made), made.shape)).files
    return {kind: files[f"model.int8.{kind}"] for kind in ("tflite", "onnx")}


def _of_tflite(change: Callable[[Any, Any], None]) -> Certificate:
    """What is proven of the changed TFLite file."""
    return certify(edited(_files()["tflite"], change), "model.int8.tflite")


def _of_onnx(change: Callable[[onnx.GraphProto], None]) -> Certificate:
    """What is proven of the changed ONNX file."""
    model = onnx.load_model_from_string(_files()["onnx"])
    change(model.graph)
    return certify(model.SerializeToString(), "model.int8.onnx")


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_upsampling_and_joins_are_proven(kind: str) -> None:
    """Bilinear upsampling by copies and a convolution, joined channels, dilation."""
    certificate = certify(_files()[kind], f"model.int8.{kind}")
    assert certificate.group == "C4"
    assert QUARTER_TURN in certificate.proof.proven


def _option(name: str, key: str, value: Any) -> Callable[[Any, Any], None]:
    """A change of one option of the operators that have it."""

    def change(model: Any, graph: Any) -> None:
        for operator in graph.operators:
            if type(operator.builtinOptions).__name__ == f"{name}T":
                setattr(operator.builtinOptions, key, value)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            _option("ResizeNearestNeighborOptions", "alignCorners", True),
            "it resizes 6 rows to 12; wanted a multiple",
        ),
        (
            _option("ResizeNearestNeighborOptions", "halfPixelCenters", False),
            "it resizes 6 rows to 12; wanted a multiple",
        ),
        (
            _option("MirrorPadOptions", "mode", schema.MirrorPadMode.REFLECT),
            "its border is no mirror image",
        ),
    ],
)
def test_other_tflite_rounding_is_refused(change: Any, reason: str) -> None:
    """What copies other places is not taken for what the writer means."""
    broken = _of_tflite(change).first_break
    assert broken is not None
    assert broken.reason.startswith(reason)


def _attribute(kind: str, name: str, value: str) -> Callable[[Any], None]:
    """A change of one attribute of the operators of a kind."""

    def change(graph: Any) -> None:
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == kind and attribute.name == name:
                    attribute.s = value.encode()

    return change


def _constant(kind: str, position: int, values: Any) -> Callable[[Any], None]:
    """A change of one constant of the operators of a kind."""

    def change(graph: Any) -> None:
        names = {n.input[position] for n in graph.node if n.op_type == kind}
        for stored in graph.initializer:
            if stored.name in names:
                array = np.asarray(values, numpy_helper.to_array(stored).dtype)
                stored.CopyFrom(numpy_helper.from_array(array, stored.name))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_attribute("Resize", "nearest_mode", "ceil"), "it does not repeat pixels a"),
        (_attribute("Resize", "mode", "linear"), "it does not repeat pixels a whole"),
        (
            _attribute("Resize", "coordinate_transformation_mode", "align_corners"),
            "it does not repeat pixels a whole number of times",
        ),
        (_constant("Resize", 2, [1, 1, 2.5, 2.5]), "it does not repeat pixels a whole"),
        (_constant("Resize", 2, [1, 1, 1e9, 1e9]), "its result has more than"),
        (_attribute("Pad", "mode", "reflect"), "it mirrors or wraps the grid around"),
        (
            _constant("Pad", 1, [0, 0, 2**40, 0, 0, 0, 0, 0]),
            "its border is 1099511627776 points wide",
        ),
    ],
)
def test_other_onnx_copies_are_refused(change: Any, reason: str) -> None:
    """Other places, and sizes that no memory holds, end in a reason."""
    broken = _of_onnx(change).first_break
    assert broken is not None
    assert broken.reason.startswith(reason)


def test_copies_on_one_side_break_the_symmetry() -> None:
    """A border that is wider above than below."""
    broken = _of_onnx(_constant("Pad", 1, [0, 0, 2, 1, 0, 0, 0, 1])).first_break
    assert broken is not None
    assert "which do not lie symmetrically" in broken.reason
