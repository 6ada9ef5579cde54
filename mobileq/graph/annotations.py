"""What the annotations of a dataclass say about its fields, for `store.py`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.graph import nodes
from mobileq.graph.base import Node
from mobileq.graph.curves import Curve


def node_kinds() -> dict[str, type[Node]]:
    """Every kind of node that a file may hold, by name."""
    known = [Curve, *(getattr(nodes, name) for name in nodes.__all__)]
    return {
        kind.__name__: kind
        for kind in known
        if inspect.isclass(kind) and issubclass(kind, Node) and kind is not Node
    }


@functools.cache
def annotated(kind: Any) -> Mapping[str, Any]:
    """Annotations of what a dataclass is made of, by name."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind) if f.init}


def has_default(field: dataclasses.Field[Any]) -> bool:
    """Whether a field may be left out."""
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def without_none(hint: Any) -> Any:
    """An annotation without `| None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return hint


def array_type(hint: Any) -> np.dtype[Any] | None:
    """Type of the numbers of an annotated array; None if it is no array.

    `NDArray[kind]` is `ndarray[shape, dtype[kind]]` up to numpy 2.4, and an alias of
    that with one argument from 2.5 on.
    """
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.get_origin(NDArray[Any]) is not np.ndarray:
        return np.dtype(arguments[0])
    if typing.get_origin(hint) is np.ndarray:
        return np.dtype(typing.get_args(arguments[1])[0])
    return None
