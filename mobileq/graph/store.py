"""A graph as named arrays and plain values, and back, bit for bit.

    {"output": "logits", "nodes": [{"node": "Conv", "name": ..., "weight": {"array":
    "stem:weight"}, "stride": 2, ...}, ...]}

What a node holds is read off the annotations of its dataclass, for writing and for
reading, so that a new node type needs nothing here. Arrays are kept in the smallest
type that gives back every bit, and equal ones once. What comes from a file is not
trusted: each value must have the annotated type, and nothing is made that is larger
than `limits.py` allows. No framework is imported here.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import GraphError
from mobileq.graph.annotations import (
    annotated,
    array_type,
    has_default,
    node_kinds,
    without_none,
)
from mobileq.graph.base import Node
from mobileq.graph.graph import Graph
from mobileq.graph.limits import (
    LARGEST_INTEGER,
    LONGEST_NAME,
    MOST_NODES,
    MOST_NUMBERS,
    require_bounded,
)

Arrays = Mapping[str, NDArray[Any]]

_SMALLER: Mapping[str, tuple[str, ...]] = {
    "float64": ("float32",),
    "int64": ("uint8", "int16", "int32"),
}
"""Types that may stand for another one in a file, the smallest first."""

_KINDS_READ = {"f": "f", "i": "iu", "u": "u"}
"""Kinds of numbers in a file, by the kind that a node holds."""

_IMPOSSIBLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What constructors raise at values that no caller of ours hands them."""


def graph_to_tensors(graph: Graph) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """A graph as arrays by name, and plain values that say where they belong.

    Raises:
        GraphError: a node of an unknown kind, or NaN or infinity in one.
    """
    writer, known, plain = _Writer(), node_kinds(), []
    for node in graph.nodes:
        kind = type(node).__name__
        if known.get(kind) is not type(node):
            raise GraphError(
                f"{kind} {node.name!r}: cannot be stored; wanted a node "
                f"of {', '.join(known)}"
            )
        values = writer.encode(node, type(node), node.name)
        plain.append({"node": kind, **values})
    return writer.arrays, {"output": graph.output, "nodes": plain}


def graph_from_tensors(arrays: Arrays, plain: object) -> Graph:
    """The graph of what `graph_to_tensors` made.

    Args:
        arrays: By name.
        plain: The plain values; not trusted.

    Raises:
        GraphError: anything in it is missing, superfluous, of another type, too large,
            or does not make a graph.
    """
    content = _exactly(plain, {"output", "nodes"}, "graph")
    listed = content["nodes"]
    if not isinstance(listed, list) or len(listed) > MOST_NODES:
        raise GraphError(f"graph: wanted a list of at most {MOST_NODES:,} nodes")
    reader, known = _Reader(arrays), node_kinds()
    made: list[Node] = []
    for index, entry in enumerate(listed):
        where = f"node {index}"
        kind = entry.get("node") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in known:
            raise GraphError(
                f"{where}: is {_short(kind)}; wanted one of {', '.join(known)} "
                f"(install a newer mobileq)"
            )
        values = {key: value for key, value in entry.items() if key != "node"}
        made.append(reader.decode(values, known[kind], where))
    output = reader.decode(content["output"], str, "output")
    if extra := sorted(set(arrays) - reader.used):
        raise GraphError(f"array {_short(extra[0])}: no node has it; wanted none such")
    try:
        graph = Graph(tuple(made), output)
    except _IMPOSSIBLE:
        raise GraphError("nodes of impossible shapes; wanted a graph") from None
    return require_bounded(graph)


class _Writer:
    """Turns values into plain ones; keeps the arrays among them."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def encode(self, value: Any, hint: Any, path: str) -> Any:
        """A value as annotated by `hint`, as plain values."""
        kind: Any = without_none(hint)
        if value is None:
            return None
        if kind in (bool, int, float, str):
            return kind(value)
        if isinstance(value, np.ndarray):
            return {"array": self._keep(value, path)}
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, tuple):
            item = typing.get_args(kind)
            hints = [item[0]] * len(value) if item[-1] is Ellipsis else item
            pairs = enumerate(zip(value, hints, strict=True))
            return [self.encode(v, h, f"{path}.{i}") for i, (v, h) in pairs]
        if type(value).__qualname__ != kind.__qualname__:
            raise GraphError(f"{path}: {type(value).__name__} cannot be stored")
        separator = ":" if isinstance(value, Node) else "."
        return {
            name: self.encode(
                getattr(value, name), field_hint, f"{path}{separator}{name}"
            )
            for name, field_hint in annotated(kind).items()
        }

    def _keep(self, array: NDArray[Any], path: str) -> str:
        """Name of an array, new or one with the same bytes.

        Raises:
            GraphError: it holds NaN or infinity.
        """
        if not np.isfinite(array).all():
            raise GraphError(f"{path}: NaN or infinity; wanted finite values")
        small = _smallest(array)
        key = (small.dtype.str, small.shape, small.tobytes())
        if key not in self._names:
            name, number = path, 1
            while name in self.arrays:
                name, number = f"{path}~{number}", number + 1
            self._names[key] = name
            self.arrays[name] = small
        return self._names[key]


class _Reader:
    """Turns plain values into annotated ones, or refuses them."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._numbers = 0
        self.used: set[str] = set()
        """Names of the arrays that were asked for."""

    def decode(self, value: Any, hint: Any, path: str) -> Any:
        """A plain value as `hint` says.

        Raises:
            GraphError: it is not of that type.
        """
        if (wanted := without_none(hint)) is not hint and value is None:
            return None
        origin = typing.get_origin(wanted)
        if wanted in (bool, int, float, str):
            return _scalar(value, wanted, path)
        if (numbers := array_type(wanted)) is not None:
            return self._array(value, numbers, path)
        if origin is tuple:
            return self._tuple(value, typing.get_args(wanted), path)
        if issubclass(wanted, Enum):
            return _member(value, wanted, path)
        return self._made(value, wanted, path)

    def _tuple(self, value: Any, hints: tuple[Any, ...], path: str) -> tuple[Any, ...]:
        """A list as a tuple of any or of one length."""
        if not isinstance(value, list):
            raise GraphError(f"{path}: found {_short(value)}; wanted a list")
        if hints[-1] is Ellipsis:
            hints = (hints[0],) * len(value)
        if len(hints) != len(value):
            raise GraphError(f"{path}: {len(value)} values; wanted {len(hints)}")
        pairs = enumerate(zip(value, hints, strict=True))
        return tuple(self.decode(v, h, f"{path}.{i}") for i, (v, h) in pairs)

    def _array(self, value: Any, wanted: np.dtype[Any], path: str) -> NDArray[Any]:
        """The array that is named, of a type that the node's own can stand for."""
        name = value.get("array") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in self._arrays:
            raise GraphError(
                f"{path}: array {_short(name)} is not in the file; wanted {wanted}"
            )
        found = self._arrays[name]
        self.used.add(name)
        kinds = _KINDS_READ[wanted.kind]
        if found.dtype.kind not in kinds or not np.can_cast(found.dtype, wanted):
            raise GraphError(f"{path}: array of {found.dtype}; wanted {wanted}")
        # One array in the file may be that of many nodes, which copy it.
        self._numbers += found.size
        if self._numbers > MOST_NUMBERS:
            raise GraphError(f"{path}: more than {MOST_NUMBERS:,} numbers in all")
        if not np.isfinite(found).all():
            raise GraphError(f"{path}: NaN or infinity; wanted finite values")
        # Every constructor copies it into the type that the node holds.
        return found

    def _made(self, value: Any, kind: Any, path: str) -> Any:
        """A dataclass from its fields; those with a default may be missing."""
        hints = annotated(kind)
        needed = {f.name for f in dataclasses.fields(kind) if f.name in hints}
        needed -= {f.name for f in dataclasses.fields(kind) if has_default(f)}
        given = _exactly(value, needed, f"{path}, {kind.__name__}", more=set(hints))
        decoded = {
            name: self.decode(v, hints[name], f"{path}.{name}")
            for name, v in given.items()
        }
        try:
            return kind(**decoded)
        except _IMPOSSIBLE:
            raise GraphError(
                f"{path}: impossible values for {kind.__name__}; wanted those of a "
                f"graph that mobileq made"
            ) from None


def _scalar(value: Any, wanted: type[Any], path: str) -> Any:
    """A number, a truth value or a name."""
    legal = type(value) is wanted
    if wanted is float:
        legal = type(value) in (int, float) and abs(value) <= np.finfo(np.float64).max
    elif wanted is int:
        legal = legal and abs(value) <= LARGEST_INTEGER
    elif wanted is str:
        legal = legal and 0 < len(value) <= LONGEST_NAME and value.isprintable()
    if not legal:
        raise GraphError(f"{path}: found {_short(value)}; wanted a {wanted.__name__}")
    return wanted(value)


def _member(value: Any, wanted: type[Enum], path: str) -> Enum:
    """A member of an enumeration, by its value."""
    for member in wanted:
        if type(value) is type(member.value) and value == member.value:
            return member
    known = ", ".join(str(member.value) for member in wanted)
    raise GraphError(f"{path}: found {_short(value)}; wanted one of {known}")


def _exactly(
    value: Any, needed: set[str], path: str, *, more: set[str] | None = None
) -> dict[str, Any]:
    """A dictionary with all the keys that are needed, and of others only `more`."""
    if not isinstance(value, dict) or needed - set(value):
        wanted = ", ".join(sorted(needed))
        raise GraphError(f"{path}: incomplete; wanted {wanted or 'a dictionary'}")
    if extra := sorted(set(value) - needed - (more or set())):
        raise GraphError(f"{path}: unknown key {_short(extra[0])}; wanted none such")
    return value


def _smallest(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the smallest type from which every bit comes back."""
    for name in _SMALLER.get(array.dtype.name, ()):
        with np.errstate(over="ignore", invalid="ignore"):
            small = array.astype(name)
        if small.astype(array.dtype).tobytes() == array.tobytes():
            return np.ascontiguousarray(small)
    return np.ascontiguousarray(array)


def _short(value: object) -> str:
    """A value for a message, however long it is."""
    text = repr(value) if isinstance(value, str | int | float) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
