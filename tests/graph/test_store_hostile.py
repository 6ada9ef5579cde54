"""Graphs of files that nobody vouches for: one line, and nothing large is made."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.errors import GraphError
from mobileq.graph import store
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import AveragePool, Cap, Input, Padding, Relu
from mobileq.graph.store import graph_from_tensors, graph_to_tensors
from support.every_node import everything
from support.handmade import disc

Plain = dict[str, Any]


def _node(plain: Plain, index: int, **values: Any) -> None:
    """Change fields of one node."""
    plain["nodes"][index].update(values)


HUGE = 2**31 - 1
DAMAGE: dict[str, tuple[Callable[[Plain], object], str]] = {
    "no nodes": (lambda p: p.pop("nodes"), "graph: incomplete; wanted nodes, output"),
    "another key": (lambda p: p.update(more=1), "graph: unknown key 'more'"),
    "not a list": (lambda p: p.update(nodes={}), "wanted a list of at most 4,096"),
    "too many": (lambda p: p.update(nodes=[{}] * 5000), "a list of at most 4,096"),
    "empty": (lambda p: p.update(nodes=[]), "array 'cap:high': no node has it"),
    "no dictionary": (lambda p: p["nodes"].append(3), r"node \d+: is NoneType"),
    "unknown kind": (lambda p: _node(p, 3, node="Exec"), "node 3: is 'Exec'"),
    "base class": (lambda p: _node(p, 3, node="Node"), "node 3: is 'Node'"),
    "private class": (lambda p: _node(p, 3, node="_Pool"), "node 3: is '_Pool'"),
    "odd kind": (lambda p: _node(p, 3, node=["Relu"]), "node 3: is list"),
    "long kind": (lambda p: _node(p, 3, node="x" * 9999), r"is 'x{56}\.\.\.;"),
    "unknown field": (lambda p: _node(p, 3, alpha=1), "Relu: unknown key 'alpha'"),
    "missing field": (lambda p: p["nodes"][1].pop("bias"), "node 1, Conv: incomplete"),
    "missing array": (
        lambda p: _node(p, 1, bias={"array": "gone"}),
        "node 1.bias: array 'gone' is not in the file; wanted float64",
    ),
    "no array": (lambda p: _node(p, 1, bias=[1.0]), "node 1.bias: array NoneType"),
    "wrong type": (
        lambda p: _node(p, 7, mask={"array": "stem:weight"}),
        "node 7.mask: array of float32; wanted uint8",
    ),
    "wrong shape": (
        lambda p: _node(p, 1, bias={"array": "stem:weight"}),
        r"Conv 'stem': found bias \(4, 3, 3, 3\); wanted \(4,\)",
    ),
    "wrong rank": (
        lambda p: _node(p, -1, weight={"array": "logits:bias"}),
        r"Linear 'logits': found weight \(2,\)",
    ),
    "no name": (lambda p: _node(p, 3, name=""), "node 3.name: found ''; wanted a str"),
    "control characters": (lambda p: _node(p, 3, name="a\x1b[2J"), "wanted a str"),
    "long name": (lambda p: _node(p, 3, name="x" * 600), "node 3.name: found 'xx"),
    "name of a list": (lambda p: _node(p, 3, name=[1]), "node 3.name: found list"),
    "twice": (lambda p: _node(p, 4, name="relu"), "the name is taken twice"),
    "cycle": (lambda p: _node(p, 1, inputs=["relu"]), "tensors that come before it"),
    "itself": (lambda p: _node(p, 3, inputs=["relu"]), "tensors that come before it"),
    "no input": (lambda p: _node(p, 3, inputs=[]), "wanted 1 tensors that come"),
    "inputs no list": (lambda p: _node(p, 3, inputs="norm"), "wanted a list"),
    "stride as text": (lambda p: _node(p, 1, stride="2"), "found '2'; wanted a int"),
    "stride as truth": (lambda p: _node(p, 1, stride=True), "wanted a int"),
    "huge stride": (
        lambda p: _node(p, 1, stride=10**30),
        "found 1000000.*; wanted a int",
    ),
    "no stride": (lambda p: _node(p, 1, stride=0), "found stride 0; wanted 1 or more"),
    "no groups": (lambda p: _node(p, 1, groups=0), "found 0 groups"),
    "eps": (lambda p: _node(p, 2, eps=float("inf")), "found inf; wanted a float"),
    "activation": (lambda p: _node(p, 1, activation="exp"), "wanted one of none, relu"),
    "activation list": (lambda p: _node(p, 1, activation=[]), "found list; wanted one"),
    "kernel of one": (lambda p: _node(p, 8, kernel=[3]), "1 values; wanted 2"),
    "no block": (lambda p: _node(p, 10, block=0), "impossible shapes"),
    "negative image": (lambda p: _node(p, 0, shape=[3, -9, -9]), "Input|one as large"),
    "flat image": (lambda p: _node(p, 0, shape=[3]), r"wanted \(C, H, W\)"),
    "pixels": (
        lambda p: _node(p, 0, pixel_scale=0.0),
        "pixel_scale 0.0; wanted such as",
    ),
    "grey level": (
        lambda p: _node(p, 0, pixel_zero=256),
        "pixel_zero 256; wanted 0 to",
    ),
    "other output": (lambda p: p.update(output="x"), "output is 'x'; wanted the name"),
    "output": (lambda p: p.update(output=[]), "output: found list; wanted a str"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_values_are_refused(kind: str) -> None:
    """One line that says where, what was found and what was wanted."""
    damage, message = DAMAGE[kind]
    arrays, plain = graph_to_tensors(everything(0))
    damage(plain)
    with pytest.raises(GraphError, match=message) as caught:
        graph_from_tensors(arrays, plain)
    assert "\n" not in str(caught.value)


ARRAYS: dict[str, tuple[str, Any, str]] = {
    "NaN": ("stem:bias", np.full(4, np.nan), "node 1.bias: NaN or infinity"),
    "infinity": ("norm:scale", np.full(4, np.inf), "node 2.scale: NaN or infinity"),
    "complex": ("stem:bias", np.ones(4, np.complex64), "array of complex64; wanted"),
    "integers": ("stem:bias", np.ones(4, np.int32), "array of int32; wanted float64"),
    "truth": ("mask:mask", disc(5).astype(bool), "array of bool; wanted uint8"),
    "no mask": ("mask:mask", 2 * disc(5), "found other values; wanted 0 and 1"),
    "variance": ("norm:variance", -np.ones(4), "wanted a positive one"),
    "negative blocks": ("stem:fields.block", np.full(4, -1), "wanted blocks 0, 1, 2"),
    "gaps": ("stem:fields.block", np.full(4, 2**31 - 1), "wanted blocks 0, 1, 2"),
    "flat blocks": ("stem:fields.block", np.zeros((4, 1), np.uint8), "."),
    "no permutation": ("stem:fields.step", np.array([9, 9, 9, 9]), "not a permutation"),
    "unsigned 64": (
        "stem:fields.step",
        np.arange(4, dtype=np.uint64),
        "array of uint64",
    ),
    "scalar": ("stem:weight", np.float32(3), "impossible values for Conv"),
    "nothing": ("norm:variance", np.ones(0), r"found variance \(0,\)"),
    "superfluous": ("more", np.ones(1), "array 'more': no node has it"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_damaged_arrays_are_refused(kind: str) -> None:
    """Other types, other shapes and values that no network has."""
    name, array, message = ARRAYS[kind]
    arrays, plain = graph_to_tensors(everything(0))
    with pytest.raises(GraphError, match=message):
        graph_from_tensors({**arrays, name: np.asarray(array)}, plain)


def test_a_missing_array_is_named() -> None:
    """Whatever array is missing, the message says where it belongs."""
    arrays, plain = graph_to_tensors(everything(0))
    for name in arrays:
        rest = {k: v for k, v in arrays.items() if k != name}
        with pytest.raises(GraphError, match="is not in the file; wanted"):
            graph_from_tensors(rest, plain)


def test_one_array_cannot_become_many_large_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nodes copy what they hold, so that copies count."""
    monkeypatch.setattr(store, "MOST_NUMBERS", 1000)
    image = Input("x", (), (400, 1, 1), trivial_fields(400))
    caps = [Cap(f"cap{i}", ("x",), np.ones(400)) for i in range(3)]
    arrays, plain = graph_to_tensors(Graph((image, *caps), "cap0"))
    assert sum(a.size for a in arrays.values()) < 1000
    with pytest.raises(GraphError, match="more than 1,000 numbers in all"):
        graph_from_tensors(arrays, plain)


def test_huge_images_are_refused() -> None:
    """Their size is in the plain values, not in an array."""
    image = Input("x", (), (3, HUGE, HUGE), trivial_fields(3))
    arrays, plain = graph_to_tensors(Graph((image, Relu("y", ("x",))), "y"))
    with pytest.raises(GraphError, match=r"'x': found a tensor of .* 134,217,728"):
        graph_from_tensors(arrays, plain)


def test_large_windows_are_refused() -> None:
    """A window that padding makes legal would become a convolution of its size."""
    image = Input("x", (), (3, 9, 9), trivial_fields(3))
    pool = AveragePool("pool", ("x",), (30000, 30000), 1, Padding.even(15000))
    arrays, plain = graph_to_tensors(Graph((image, pool), "pool"))
    with pytest.raises(GraphError, match=r"found a window of \(30000, 30000\)"):
        graph_from_tensors(arrays, plain)


def test_a_long_chain_is_read() -> None:
    """Fields are passed on from node to node, however many change none of them."""
    relus = [Relu(f"r{i + 1}", (f"r{i}",)) for i in range(3000)]
    graph = Graph((Input("r0", (), (1, 1, 1), trivial_fields(1)), *relus), "r3000")
    found = graph_from_tensors(*graph_to_tensors(graph))
    assert found.fields("r3000").channels == 1


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["relu", "Conv", "stem:weight", 2**31 - 1, -1]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["array", "kind", "name"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    """Some values of the plain part are exchanged for others: never another error."""
    arrays, plain = graph_to_tensors(everything(0))
    plain = copy.deepcopy(plain)
    for _ in range(data.draw(st.integers(1, 3))):
        _exchange(data, plain)
    message = ""
    try:
        graph_from_tensors(arrays, plain)
    except GraphError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1500


def _exchange(data: st.DataObject, value: Any) -> None:
    """Walk down to a random place, and put a random value there."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return
    key = data.draw(st.sampled_from(keys))
    if isinstance(value[key], dict | list) and data.draw(st.booleans()):
        _exchange(data, value[key])
    else:
        value[key] = data.draw(JSON_VALUES)
