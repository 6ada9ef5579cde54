"""What is legal at which stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mobileq.errors import GraphError
from mobileq.graph.fields import FieldBlocks, Generator, trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    Input,
    Linear,
    Node,
    SpatialMean,
)
from mobileq.graph.spec import Stage, check
from support.handmade import disc, handmade_graph, random_conv

RNG = np.random.default_rng(0)
ONES = np.ones(2)


def _graph(*nodes: Node, fields: FieldBlocks | None = None) -> Graph:
    """An image of two channels and 5x5 pixels, then `nodes`."""
    image = Input("image", (), (2, 5, 5), fields or trivial_fields(2))
    return Graph((image, *nodes), nodes[-1].name)


def _legal(graph: Graph) -> Sequence[Stage]:
    """Stages at which a graph is legal."""
    legal = []
    for stage in Stage:
        try:
            assert check(graph, stage) is graph
        except GraphError:
            continue
        legal.append(stage)
    return legal


def test_a_deployable_graph_is_legal_everywhere() -> None:
    """Each stage allows no more than the one before it."""
    assert _legal(handmade_graph()) == list(Stage)


def test_batch_norm_ends_with_folding() -> None:
    """BatchNorm is legal in a collapsed graph only."""
    norm = BatchNorm("norm", ("image",), ONES, ONES, ONES, ONES, 1e-5)
    graph = _graph(norm)
    assert _legal(graph) == [Stage.COLLAPSED]
    with pytest.raises(GraphError, match=r"^BatchNorm 'norm' at stage FOLDED; wanted"):
        check(graph, Stage.FOLDED)


@pytest.mark.parametrize(
    "pool",
    [
        SpatialMean("pool", ("image",), disc(5)),
        AveragePool("pool", ("image",), (3, 3), 1),
    ],
)
def test_means_end_with_deployment(pool: Node) -> None:
    """Mean pools are legal until they become convolutions."""
    graph = _graph(pool)
    assert _legal(graph) == [Stage.COLLAPSED, Stage.FOLDED, Stage.SNAPPED]
    kind = type(pool).__name__
    with pytest.raises(GraphError, match=f"^{kind} 'pool' at stage DEPLOYABLE"):
        check(graph, Stage.DEPLOYABLE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["weight", "bias"])
def test_weights_are_finite(where: str, value: float) -> None:
    """NaN and infinity are illegal at every stage, in either kind of layer."""
    arrays = {"weight": np.ones((2, 2, 1, 1)), "bias": np.ones(2)}
    arrays[where].flat[0] = value
    conv = Conv("a", ("image",), arrays["weight"], arrays["bias"], trivial_fields(2))
    graph = _graph(conv)
    assert _legal(graph) == []
    wanted = f"^Conv 'a': {where} holds NaN or infinity; wanted finite values"
    with pytest.raises(GraphError, match=wanted):
        check(graph, Stage.COLLAPSED)
    mean = SpatialMean("m", ("image",), disc(5))
    weight = arrays["weight"][:, :, 0, 0]
    linear = Linear("a", ("f",), weight, arrays["bias"])
    assert _legal(_graph(mean, Flatten("f", ("m",)), linear)) == []


def test_only_pooled_features_are_flattened() -> None:
    """Flattening a grid depends on the layout, and is refused at every stage."""
    graph = _graph(Flatten("flat", ("image",)))
    assert _legal(graph) == []
    wanted = r"^Flatten 'flat' of \(2, 5, 5\); wanted \(C, 1, 1\)"
    with pytest.raises(GraphError, match=wanted):
        check(graph, Stage.COLLAPSED)


def test_snapped_weights_are_bit_identical() -> None:
    """A difference in the last bit is legal before snapping and not after."""
    swap = Generator(2, False, np.array([1, 0]))
    fields = FieldBlocks("C2", np.zeros(2, int), (swap,))
    weight = RNG.normal(size=(2, 2, 3, 3))
    weight[1] = weight[0, ::-1, ::-1, ::-1]
    exact = Conv("a", ("image",), weight, np.ones(2), fields)
    assert _legal(_graph(exact, fields=fields)) == list(Stage)
    for where, bias in ((np.nextafter(weight, 9), np.ones(2)), (weight, [1.0, 2.0])):
        one = weight.copy()
        one[0] = where[0]
        near = Conv("a", ("image",), one, np.array(bias), fields)
        graph = _graph(near, fields=fields)
        assert _legal(graph) == [Stage.COLLAPSED, Stage.FOLDED]
        with pytest.raises(GraphError, match=r"^Conv 'a': weights of an orbit of C2"):
            check(graph, Stage.SNAPPED)


def test_a_plain_convolution_needs_no_symmetry() -> None:
    """Without generators there are no orbits to compare."""
    assert _legal(_graph(random_conv(RNG, "a", "image", (3, 2, 3, 3)))) == list(Stage)
