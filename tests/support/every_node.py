"""A graph with a node of every kind that a file may hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from mobileq.graph.base import Node
from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.fields import FieldBlocks, Generator, trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Cap,
    Concat,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Mul,
    OrbitMax,
    Pad,
    Padding,
    PadMode,
    Relu,
    Relu6,
    SoftMask,
    SpatialMean,
    Upsample,
)
from mobileq.graph.statistics import Statistics
from support.handmade import disc

SIZE = 12
"""Rows and columns behind the upsampling."""


def everything(seed: int) -> Graph:
    """A graph with a node of every kind, and every field other than its default."""
    rng = np.random.default_rng(seed)

    def real(*shape: int) -> Any:
        # A third each: of float32, of float64, and of what rounding would change.
        values = rng.normal(size=shape)
        return (
            values.astype(np.float32)
            if seed % 3 == 0
            else values * 1e-300 ** (seed % 2)
        )

    turn = Generator(1, True, np.array([1, 2, 3, 0]))
    blocks = FieldBlocks("C4", np.zeros(4), (turn,), np.array([3, 0, 1, 2]))
    image = Input("image", (), (3, 9, 9), trivial_fields(3), 1 / 255, 7)
    conv = Conv(
        "stem",
        ("image",),
        real(4, 3, 3, 3),
        real(4),
        blocks,
        2,
        Padding(2, 3, 2, 3),
        1,
        Activation.RELU6,
        Statistics(real(4), np.abs(real(4))),
        2,
    )
    nodes: list[Node] = [
        image,
        conv,
        BatchNorm("norm", ("stem",), real(4), real(4), real(4), np.abs(real(4)), 1e-5),
        Relu("relu", ("norm",)),
        Relu6("relu6", ("relu",)),
        Cap("cap", ("relu6",), np.abs(real(4)) + 0.5),
        Add("add", ("cap", "relu"), Activation.RELU),
        Mask("mask", ("add",), disc(5)),
        MaxPool("largest", ("mask",), (2, 2), 1, Padding(0, 1, 0, 1)),
        AveragePool("average", ("largest",), (3, 3), 1, Padding.even(1)),
        OrbitMax("orbit", ("average",), 4),
        Upsample("larger", ("orbit",), 2, 1),
        Pad("wrapped", ("larger",), Padding(1, 0, 0, 1), PadMode.CIRCULAR),
        MaxPool("trimmed", ("wrapped",), (2, 2), 1),
        SoftMask("soft", ("trimmed",), rng.random((SIZE, SIZE), np.float32)),
        Curve("sigmoid", ("soft",), CurveKind.SIGMOID),
        Curve("elu", ("soft",), CurveKind.ELU),
        Curve("leaky", ("elu",), CurveKind.LEAKY_RELU, 0.1),
        Mul("gated", ("leaky", "sigmoid")),
        Concat("both", ("gated", "soft", "elu")),
        SpatialMean("mean", ("both",), disc(SIZE)),
        Flatten("flat", ("mean",)),
        Linear(
            "logits",
            ("flat",),
            real(2, 3),
            real(2),
            Activation.NONE,
            Statistics(real(2), np.abs(real(2))),
        ),
    ]
    return Graph(tuple(nodes), "logits")
