"""Nodes that join, enlarge, weigh and bend tensors, by their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mobileq.errors import GraphError
from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.fields import (
    FieldBlocks,
    Generator,
    direct_sum,
    shared,
    trivial_fields,
)
from mobileq.graph.graph import Graph
from mobileq.graph.moments import tensor_statistics
from mobileq.graph.nodes import Add, Concat, Input, Mul, Node, SoftMask, Upsample
from mobileq.graph.statistics import Statistics

CURVES = [
    Curve("c", ("x",), CurveKind.SIGMOID),
    Curve("c", ("x",), CurveKind.ELU),
    Curve("c", ("x",), CurveKind.LEAKY_RELU, 0.2),
]


def block_of_four(turns: int = 1) -> FieldBlocks:
    """One regular field of C_4."""
    source = np.roll(np.arange(4), turns)
    return FieldBlocks("C4", np.zeros(4, int), (Generator(1, False, source),), source)


@settings(deadline=None, max_examples=15)
@given(factor=st.integers(1, 4), edge=st.integers(0, 4), size=st.integers(1, 5))
def test_an_upsampled_row_is_torchs_with_a_replicated_border(
    factor: int, edge: int, size: int
) -> None:
    """Nearest interpolation, then replication padding."""
    edge = min(edge, factor)
    values = torch.arange(float(size))[None, None, None]
    larger = F.interpolate(values, size=(1, factor * size))
    wanted = F.pad(larger, (edge, edge, 0, 0), mode="replicate")
    found = Upsample("u", ("x",), factor, edge).sources(size, size)[0]
    np.testing.assert_array_equal(found, wanted.numpy().ravel())


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "grids that differ": (
        lambda: Concat("c", ("a", "b")).output_shape((1, 2, 2), (1, 3, 3)),
        "wanted one and the same",
    ),
    "factors that differ": (
        lambda: Mul("m", ("a", "b")).output_shape((2, 3, 3), (1, 1, 1)),
        "wanted (2, 3, 3) or (2, 1, 1)",
    ),
    "weight above 1": (
        lambda: SoftMask("s", ("a",), np.full((2, 2), 1.5)),
        "wanted 0 to 1",
    ),
    "weight that is none": (
        lambda: SoftMask("s", ("a",), np.full((2, 2), np.nan)),
        "wanted 0 to 1",
    ),
    "mask of another size": (
        lambda: SoftMask("s", ("a",), np.ones((2, 2))).output_shape((1, 3, 3)),
        "wanted (C, 2, 2)",
    ),
    "edge wider than a pixel": (
        lambda: Upsample("u", ("a",), 2, 3).output_shape((1, 2, 2)),
        "wanted 0 to 2",
    ),
    "enlarged vector": (
        lambda: Upsample("u", ("a",), 2).output_shape((4,)),
        "wanted (C, H, W)",
    ),
    "falling curve": (
        lambda: Curve("c", ("a",), CurveKind.LEAKY_RELU, -0.1),
        "wanted 0 to 1 for a leaky ReLU",
    ),
    "sigmoid with a slope": (
        lambda: Curve("c", ("a",), CurveKind.SIGMOID, 0.1),
        "found slope 0.1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    """With the node, what was found and what is wanted."""
    make, message = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        make()
    assert message in str(caught.value)


def test_joined_fields_act_side_by_side() -> None:
    """A regular field beside a trivial one: blocks, generator and step of both."""
    trivial = trivial_fields(2, group="C4", motions=((1, False),))
    found = direct_sum([block_of_four(), trivial])
    np.testing.assert_array_equal(found.block, [0, 0, 0, 0, 1, 2])
    wanted = [3, 0, 1, 2, 4, 5]
    np.testing.assert_array_equal(found.generators[0].source, wanted)
    np.testing.assert_array_equal(found.step, wanted)


def test_joined_fields_keep_only_what_all_have() -> None:
    """Beside channels of which nothing is known, nothing is exact."""
    found = direct_sum([block_of_four(), trivial_fields(1)])
    assert found.generators == ()
    assert found.step is None
    assert found.channels == 5


@pytest.mark.parametrize("kind", [Add, Mul])
def test_a_sum_of_different_fields_keeps_no_symmetry(kind: type[Node]) -> None:
    """Two regular fields whose channels are turned the other way round."""
    same, other = shared(block_of_four(), block_of_four()), block_of_four(3)
    assert same.generators
    assert shared(block_of_four(), other).generators == ()
    image = Input("image", (), (4, 3, 3), block_of_four())
    graph = Graph((image, kind("s", ("image", "image"))), "s")
    assert graph.fields("s").generators


@settings(deadline=None, max_examples=15)
@given(
    curve=st.sampled_from(CURVES),
    mean=st.floats(-3, 3),
    std=st.floats(0.01, 3),
)
def test_moments_of_a_curve_are_those_of_many_values(
    curve: Curve, mean: float, std: float
) -> None:
    """Of 20,000 quantiles of a normal variable."""
    quantiles = torch.special.ndtri(
        (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    )
    values = curve.at(mean + std * quantiles.numpy())
    found = curve.moments(Statistics(np.array([mean]), np.array([std])))
    # The quadrature meets a kink at 0 with an error of some thousandths of std; the
    # quantiles lack the outermost 1/40,000 on both sides.
    assert found.mean[0] == pytest.approx(values.mean(), abs=0.02 * std)
    assert found.std[0] == pytest.approx(values.std(), abs=0.02 * std)


@pytest.mark.parametrize("curve", CURVES)
def test_a_curve_is_torchs(curve: Curve) -> None:
    """Also far away from 0, where exp overflows."""
    x = torch.linspace(-900, 900, 2001, dtype=torch.float64)
    functions = {
        CurveKind.SIGMOID: torch.sigmoid,
        CurveKind.ELU: F.elu,
        CurveKind.LEAKY_RELU: lambda v: F.leaky_relu(v, 0.2),
    }
    wanted = functions[curve.kind](x).numpy()
    # Both in float64, with one exp.
    np.testing.assert_allclose(curve.at(x.numpy()), wanted, rtol=1e-12, atol=1e-300)


def test_statistics_of_joins() -> None:
    """Those of all parts side by side, and those of a product of independent ones."""
    image = Input("image", (), (2, 3, 3), trivial_fields(2), 1 / 64, 100)
    nodes = (
        image,
        Concat("joined", ("image", "image")),
        Mul("product", ("image", "image")),
    )
    found = tensor_statistics(Graph(nodes, "product"))
    mean, std = found["image"].mean, found["image"].std
    np.testing.assert_array_equal(found["joined"].mean, [*mean, *mean])
    np.testing.assert_allclose(found["product"].mean, mean**2)
    wanted = np.sqrt((std**2 + mean**2) ** 2 - mean**4)
    np.testing.assert_allclose(found["product"].std, wanted)
