"""Graphs as arrays and plain values: every bit comes back, and nonsense does not."""

from __future__ import annotations

import json
import typing
from dataclasses import is_dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.collapse.collapse import collapse
from mobileq.errors import GraphError
from mobileq.graph import store
from mobileq.graph.annotations import annotated, array_type, node_kinds, without_none
from mobileq.graph.base import Node
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Cap, Conv, Input, Linear
from mobileq.graph.store import graph_from_tensors, graph_to_tensors
from support.every_node import everything
from support.networks import random_network
from support.same_graph import require_same_graph


def through_json(graph: Graph) -> Graph:
    """The graph, stored and read again, with its plain values as text in between."""
    arrays, plain = graph_to_tensors(graph)
    text = json.dumps(plain, allow_nan=False)
    return graph_from_tensors(arrays, json.loads(text))


@given(seed=st.integers(0, 1000))
def test_every_kind_of_node_comes_back(seed: int) -> None:
    """Every bit of every field, whatever float type the numbers fit in."""
    graph = everything(seed)
    known = {type(node) for node in graph.nodes}
    assert known <= set(node_kinds().values())
    require_same_graph(through_json(graph), graph)


@given(seed=st.integers(0, 1000))
def test_collapsed_networks_come_back(seed: int) -> None:
    """What `collapse` makes of networks of every family, bit for bit."""
    network, shape = random_network(seed)
    graph = collapse(network, shape).graph
    require_same_graph(through_json(graph), graph)


@pytest.mark.parametrize("kind", node_kinds().values(), ids=lambda kind: kind.__name__)
def test_every_annotation_is_understood(kind: type[Node]) -> None:
    """A new node type whose fields cannot be stored is noticed here."""
    _require_understood(kind)


def _require_understood(hint: Any) -> None:
    """Walk through annotations down to numbers and names."""
    hint = without_none(hint)
    if typing.get_origin(hint) is np.ndarray:
        assert array_type(hint).kind in store._KINDS_READ
    elif typing.get_origin(hint) is tuple:
        for part in typing.get_args(hint):
            if part is not Ellipsis:
                _require_understood(part)
    elif is_dataclass(hint):
        assert isinstance(hint, type)
        for inner in annotated(hint).values():
            _require_understood(inner)
    else:
        assert hint in (bool, int, float, str) or issubclass(hint, Enum)


def test_arrays_are_small_and_kept_once() -> None:
    """float32 where no bit is lost, small integers, and one copy of equal arrays."""
    arrays, plain = graph_to_tensors(everything(0))
    assert {str(a.dtype) for a in arrays.values()} <= {"float32", "uint8"}
    masks = [n["mask"]["array"] for n in plain["nodes"] if "mask" in n]
    assert masks == ["mask:mask", "soft:mask", "mean:mask"]
    arrays, _ = graph_to_tensors(everything(1))
    assert str(arrays["stem:weight"].dtype) == "float64"


def test_a_name_that_looks_like_a_field_is_no_other_array() -> None:
    """Two arrays never get one name."""
    image = Input("a", (), (2, 1, 1), trivial_fields(2))
    first = Cap("a:high", ("a",), np.array([1.0, 2.0]))
    second = Cap("a", ("a:high",), np.array([3.0, 4.0]))
    graph = Graph(
        (replace(image, name="x"), replace(first, inputs=("x",)), second), "a"
    )
    require_same_graph(through_json(graph), graph)


def test_missing_fields_take_their_default() -> None:
    """A file from before a field existed can be read."""
    arrays, plain = graph_to_tensors(everything(0))
    conv = plain["nodes"][1]
    for name in ("stride", "padding", "groups", "activation", "statistics"):
        del conv[name]
    reader = store._Reader(arrays)
    node = reader.decode({k: v for k, v in conv.items() if k != "node"}, Conv, "node")
    assert (node.stride, node.groups, node.statistics) == (1, 1, None)


class _Strange(Node):
    """A kind that no file may hold."""


def test_what_cannot_be_stored_is_named() -> None:
    """An unknown kind, and numbers that are not finite."""
    graph = everything(0)
    strange = Graph((*graph.nodes, _Strange("odd", ("logits",))), "odd")
    with pytest.raises(GraphError, match=r"^_Strange 'odd': cannot be stored"):
        graph_to_tensors(strange)
    linear = graph["logits"]
    assert isinstance(linear, Linear)
    broken = replace(linear, bias=np.array([np.nan, 0]))
    with pytest.raises(GraphError, match=r"^logits:bias: NaN or infinity"):
        graph_to_tensors(graph.replaced({"logits": broken}))
