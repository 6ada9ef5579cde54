"""Copied places of the grid: repeated pixels, mirrored borders, gates spread out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from escnn import gspaces
from escnn import nn as enn
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from mobileq.certify import certify, certify_files
from mobileq.collapse.collapse import collapse
from mobileq.deploy.climb import climb
from mobileq.deploy.files import deploy
from mobileq.proof import Certificate, Motion, Program, prove
from mobileq.proof.builder import Builder
from mobileq.proof.checks import Unreadable
from mobileq.proof.motions import CHECKED, QUARTER_TURN
from mobileq.proof.program import Pointwise, Sample, Source
from mobileq_tflite.flatfile import AlignedBuffer
from support.faults import edited
from support.images import random_pixels
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
        (_attribute("Pad", "mode", "wrap"), "it wraps the grid around"),
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


def _surrounded(mode: str, padding: int) -> nn.Module:
    """Convolutions of a C_4 network that copy pixels around the grid."""
    space = gspaces.rot2dOnR2(4)
    image = enn.FieldType(space, [space.trivial_repr])
    regular = enn.FieldType(space, [space.regular_repr] * 2)
    options: dict[str, Any] = {"padding": padding, "padding_mode": mode}

    class Surrounded(nn.Module):
        """(B, 1, 9, 9) to (B, 2, H, W)."""

        def __init__(self) -> None:
            super().__init__()
            self.first = enn.R2Conv(image, regular, 5, **options)
            self.relu = enn.ReLU(regular)
            self.second = enn.R2Conv(regular, regular, 3, **options)
            self.orbits = enn.GroupPooling(regular)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """A map of logits."""
            features = self.first(enn.GeometricTensor(images, image))
            logits: torch.Tensor = self.orbits(self.second(self.relu(features))).tensor
            return logits

    torch.manual_seed(0)
    return Surrounded().eval()


@pytest.mark.parametrize("padding", [1, 3])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_copied_borders_are_exact_and_proven(mode: str, padding: int) -> None:
    """Every mode of padding that escnn has goes through the ladder, and is proven."""
    network = _surrounded(mode, padding)
    deployment = deploy(collapse(network, (1, 9, 9)))
    images = random_pixels(4, (1, 9, 9), 1)
    assert [r for r in climb(network, deployment, images=images) if not r.passed] == []
    integers = {n: f for n, f in deployment.files.items() if ".int8." in n}
    found = certify_files(integers)
    assert {name: one.group for name, one in found.items()} == dict.fromkeys(
        integers, "C4"
    )


def _circular(change: Callable[[Any], None], kind: str) -> Certificate:
    """What is proven of a network with a circular border whose picks are changed."""
    file = _circular_files()[f"model.int8.{kind}"]
    if kind == "tflite":

        def edit(model: Any, graph: Any) -> None:
            for operator in graph.operators:
                if type(operator.builtinOptions).__name__ == "GatherOptionsT":
                    number = graph.tensors[operator.inputs[1]].buffer
                    stored = bytes(model.buffers[number].data)
                    places = np.frombuffer(stored, "<i4").copy()
                    change(places)
                    model.buffers[number] = AlignedBuffer(places.tobytes())

        return certify(edited(file, edit), "model.int8.tflite")
    model = onnx.load_model_from_string(file)
    names = {n.input[1] for n in model.graph.node if n.op_type == "Gather"}
    for stored in model.graph.initializer:
        if stored.name in names:
            places = numpy_helper.to_array(stored).copy()
            change(places)
            stored.CopyFrom(numpy_helper.from_array(places, stored.name))
    return certify(model.SerializeToString(), "model.int8.onnx")


@cache
def _circular_files() -> dict[str, bytes]:
    """Files of a network with a circular border."""
    return dict(deploy(collapse(_surrounded("circular", 1), (1, 9, 9))).files)


def _another_row(places: Any) -> None:
    """The first copied row is another one."""
    places[0] -= 1


def _beyond(places: Any) -> None:
    """A row that is not there."""
    places[0] = len(places)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_another_row, "it copies rows 7, 0, 1, 2, ... and columns 7, 0, 1, 2, ..."),
        (_beyond, "it picks places beyond the 9 that there are"),
    ],
)
def test_other_picks_are_not_proven(
    change: Callable[[Any], None], reason: str, kind: str
) -> None:
    """One wrong row breaks the symmetry, and one that is not there the reading."""
    broken = _circular(change, kind).first_break
    assert broken is not None
    assert broken.reason.startswith(reason)
