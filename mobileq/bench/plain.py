"""Figures as plain values of JSON, and back.

Frozen dataclasses become objects and tuples lists. JSON has no NaN and no infinity;
they become text, so that a figure that is none stays one.
"""

from __future__ import annotations

import dataclasses
import math
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_Value = TypeVar("_Value")


def to_plain(value: Any) -> Any:
    """Plain values that `from_plain` understands.

    Args:
        value: Dataclasses, tuples, lists, dictionaries and plain values of any depth.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(kind: type[_Value], value: Any) -> _Value:
    """What `to_plain` was given.

    Args:
        kind: Its type: a dataclass, `tuple[X, ...]`, `X | None` or a plain one.
        value: Plain values.

    Raises:
        TypeError: a value has another type; the message says which and where.
    """
    found: _Value = _read(kind, value, "figures")
    return found


def _read(kind: Any, value: Any, where: str) -> Any:
    """One value; `where` is its place, for messages."""
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        (kind,) = (one for one in inner if one is not type(None))
        return _read(kind, value, where)
    if origin is tuple:
        return _tuple(inner, value, where)
    if kind is float and value in ("nan", "inf", "-inf"):
        return float(value)
    if kind is float and value is None:
        # As files for other programs have it.
        return math.nan
    if kind is float and type(value) is int:
        return float(value)
    plain = origin or kind
    if type(value) is not plain:
        raise TypeError(f"{where} is {_short(value)}; wanted {plain.__name__}")
    return value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    """An object with the fields of a dataclass."""
    names = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(value, dict) or set(value) != names:
        found = _short(sorted(value) if isinstance(value, dict) else value)
        raise TypeError(f"{where} holds {found}; wanted {', '.join(sorted(names))}")
    hints = get_type_hints(kind)
    read = {name: _read(hints[name], value[name], f"{where}.{name}") for name in names}
    return kind(**read)


def _tuple(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """A list that stands for a tuple, of any or of a fixed length."""
    if not isinstance(value, list):
        raise TypeError(f"{where} is {_short(value)}; wanted a list")
    if inner[1:] == (...,):
        inner = inner[:1] * len(value)
    if len(inner) != len(value):
        raise TypeError(f"{where} has {len(value)} values; wanted {len(inner)}")
    return tuple(
        _read(one, item, f"{where}[{index}]")
        for index, (one, item) in enumerate(zip(inner, value, strict=True))
    )


def _short(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
