"""The graph container: checks, shapes, edits and fields."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from mobileq.errors import GraphError
from mobileq.graph.fields import FieldBlocks, Generator, trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Add,
    Conv,
    Flatten,
    Input,
    Linear,
    Node,
    OrbitMax,
    Padding,
    Relu,
    SpatialMean,
)
from support.handmade import handmade_graph, random_conv

RNG = np.random.default_rng(0)
IMAGE = Input("image", (), (3, 5, 5), trivial_fields(3))


def _chain() -> Graph:
    """image - a - b - c, of which b and c are ReLUs."""
    conv = random_conv(RNG, "a", "image", (4, 3, 3, 3), padding=Padding.even(1))
    return Graph((IMAGE, conv, Relu("b", ("a",)), Relu("c", ("b",))), "c")


def test_shapes_of_every_tensor() -> None:
    """The handmade graph's shapes, by hand."""
    assert dict(handmade_graph(size=9, channels=4).shapes) == {
        "image": (3, 9, 9),
        "masked": (3, 9, 9),
        "stem": (4, 5, 5),
        "expand": (8, 5, 5),
        "depthwise": (8, 5, 5),
        "project": (4, 5, 5),
        "residual": (4, 5, 5),
        "largest": (4, 5, 5),
        "head": (12, 5, 5),
        "mean": (12, 1, 1),
        "orbit": (3, 1, 1),
        "flat": (3,),
        "logits": (2,),
    }


def test_multiply_adds_by_hand() -> None:
    """Weights times output points, of convolutions and linear layers."""
    by_hand = 25 * (4 * 27 + 8 * 4 + 8 * 9 + 4 * 8 + 12 * 4) + 12 * 25 + 2 * 3
    assert handmade_graph(size=9, channels=4).multiply_adds == by_hand


def test_nothing_can_be_changed() -> None:
    """Nodes, arrays and the graph's own tables are read-only."""
    graph = handmade_graph()
    conv = graph["stem"]
    assert isinstance(conv, Conv)
    with pytest.raises(ValueError, match="read-only"):
        conv.weight[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        conv.fields.block[0] = 1
    with pytest.raises(FrozenInstanceError):
        conv.stride = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        graph.output = "stem"  # type: ignore[misc]
    with pytest.raises(TypeError):
        graph.shapes["stem"] = (1,)  # type: ignore[index]


def test_a_node_keeps_a_copy() -> None:
    """Changing the array that a node was made from does not change the node."""
    weight = np.ones((1, 3, 1, 1))
    conv = Conv("a", ("image",), weight, np.zeros(1), trivial_fields(1))
    weight[:] = 5
    assert (conv.weight == 1).all()


@pytest.mark.parametrize(
    ("nodes", "output", "message"),
    [
        ((IMAGE, IMAGE), "image", "Input 'image': the name is taken twice"),
        ((Relu("a", ("b",)),), "a", "Relu 'a' is node 0; wanted one Input, the first"),
        (
            (IMAGE, replace(IMAGE, name="other")),
            "other",
            "Input 'other' is node 1; wanted one Input, the first",
        ),
        (
            (IMAGE, Relu("a", ("b",)), Relu("b", ("image",))),
            "b",
            r"Relu 'a' reads \('b',\); wanted 1 tensors that come before it",
        ),
        (
            (IMAGE, Add("a", ("image",))),
            "a",
            r"Add 'a' reads \('image',\); wanted 2 tensors",
        ),
        ((IMAGE,), "logits", "output is 'logits'; wanted the name of a node"),
    ],
)
def test_illegal_graphs(nodes: tuple[Node, ...], output: str, message: str) -> None:
    """Each message names the node, what was found and what was wanted."""
    with pytest.raises(GraphError, match=f"^{message}"):
        Graph(nodes, output)


def test_consumers() -> None:
    """Who reads what; the output has a reader outside of the graph."""
    graph = handmade_graph()
    assert [n.name for n in graph.consumers("stem")] == ["expand", "residual"]
    assert graph.only_consumer("stem") is None
    assert graph.only_consumer("expand") is graph["depthwise"]
    assert graph.only_consumer("logits") is None
    assert "stem" in graph
    assert "leaf" not in graph
    assert graph.input.name == "image"


def test_without_joins_what_it_cuts() -> None:
    """Readers of a dropped node, and of a run of them, read what it read."""
    graph = _chain()
    shorter = graph.without(["b"])
    assert [(n.name, n.inputs) for n in shorter.nodes[1:]] == [
        ("a", ("image",)),
        ("c", ("a",)),
    ]
    both = graph.without(["b", "c"])
    assert (len(both.nodes), both.output) == (2, "a")
    assert len(graph.nodes) == 4, "the original stays as it was"


def test_replaced_passes_a_new_name_on() -> None:
    """Readers and the output follow a renamed node."""
    graph = _chain()
    renamed = graph.replaced({"b": Relu("x", ("a",)), "c": Relu("y", ("b",))})
    assert [(n.name, n.inputs) for n in renamed.nodes[2:]] == [
        ("x", ("a",)),
        ("y", ("x",)),
    ]
    assert renamed.output == "y"


def test_fields_follow_the_channels() -> None:
    """Fields of convolutions last until an orbit maximum makes them invariant."""
    source = np.array([1, 2, 3, 0])
    fields = FieldBlocks("C4", np.zeros(4, int), (Generator(1, False, source),))
    image = replace(IMAGE, fields=trivial_fields(3, group="C4", motions=((1, False),)))
    conv = replace(random_conv(RNG, "a", "image", (4, 3, 1, 1)), fields=fields)
    mask = np.ones((5, 5), np.uint8)
    pooled = (image, conv, Relu("b", ("a",)), SpatialMean("m", ("b",), mask))
    classifier = Linear("l", ("f",), np.ones((2, 1)), np.zeros(2))
    nodes = (*pooled, OrbitMax("o", ("m",), 4), Flatten("f", ("o",)), classifier)
    graph = Graph(nodes, "l")
    assert graph.fields("b").same_as(fields)
    assert graph.fields("m").same_as(fields)
    for name, channels in (("o", 1), ("f", 1), ("l", 2)):
        invariant = trivial_fields(channels, group="C4", motions=((1, False),))
        assert graph.fields(name).same_as(invariant)


def test_a_linear_layer_on_permuted_channels_keeps_no_symmetry() -> None:
    """Without an orbit maximum, nothing is known of the logits."""
    source = np.array([1, 0])
    image = Input(
        "image",
        (),
        (2, 1, 1),
        FieldBlocks("C2", np.zeros(2, int), (Generator(2, False, source),)),
    )
    linear = Linear("l", ("f",), np.ones((3, 2)), np.zeros(3))
    graph = Graph((image, Flatten("f", ("image",)), linear), "l")
    assert graph.fields("l").generators == ()
    assert graph.fields("l").num_blocks == 3


def test_a_linear_layer_on_turned_channels_keeps_no_smallest_rotation() -> None:
    """C3 has no exact subgroup, yet its logits are not invariant without pooling."""
    image = replace(IMAGE, shape=(3, 1, 1), fields=FieldBlocks("C3", np.zeros(3, int)))
    turning = replace(
        image, fields=FieldBlocks("C3", np.zeros(3, int), step=np.array([1, 2, 0]))
    )
    invariant = replace(image, fields=trivial_fields(3, group="C3"))
    linear = Linear("l", ("f",), np.ones((2, 3)), np.zeros(2))
    for source, known in ((image, False), (turning, False), (invariant, True)):
        graph = Graph((source, Flatten("f", ("image",)), linear), "l")
        assert (graph.fields("l").step is not None) == known


def test_fields_of_a_flattened_grid_are_unknown() -> None:
    """Flattening more than channels has no fields, and the message says so."""
    graph = Graph((IMAGE, Flatten("flat", ("image",))), "flat")
    wanted = r"^Flatten 'flat': found \(3, 5, 5\); wanted \(C, 1, 1\)"
    with pytest.raises(GraphError, match=wanted):
        graph.fields("flat")
