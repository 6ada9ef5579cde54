"""What a file of a kept result holds, or why it is measured again; see `store.py`."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.plain import from_plain

FORMAT = "mobileq-bench-result"
VERSION = 1

Array = NDArray[Any]

_Figures = TypeVar("_Figures")


class Unusable(Exception):
    """Why a result that is there is measured again."""

    def __str__(self) -> str:
        """One line."""
        return " ".join(super().__str__().split())


def read_content(path: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a result's file holds; None if there is none.

    Raises:
        Unusable: it is of something else than `wanted`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise Unusable(f"is damaged ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise Unusable("is of another program")
    if content.get("version") != VERSION:
        raise Unusable(f"has format version {content.get('version')!r}")
    found = content.get("identity")
    if not isinstance(found, dict):
        raise Unusable("does not say what it was measured with")
    changed = [n for n in sorted({*wanted, *found}) if found.get(n) != wanted.get(n)]
    if changed:
        names = " and ".join(changed).replace("_", " ")
        raise Unusable(f"was measured with another {names}")
    return content


def read_figures(kind: type[_Figures], content: Mapping[str, Any]) -> _Figures:
    """Figures of a type.

    Raises:
        Unusable: they are of another one.
    """
    try:
        return from_plain(kind, content["figures"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(f"has other figures ({error})") from error


def read_array(path: Path, digest: object) -> Array:
    """An array whose file has this hash.

    Raises:
        Unusable: it has not.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unusable(f"lacks its array ({error})") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise Unusable(f"does not belong to {path.name}")
    # It has the hash of what was written, so its header asks for what is there.
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))


def npy_bytes(array: Array) -> bytes:
    """An array as numpy.save writes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
