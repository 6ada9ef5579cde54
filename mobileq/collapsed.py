"""The collapsed checkpoint: a network as a Graph, in one file without any code.

A `.safetensors` file with the arrays of the graph and, as JSON in its header, where
they belong, where the network came from and what was verified at its collapse:

    mobileq-collapsed: {"format", "version", "graph", "head", "origin", "training",
                        "ladder"}

Reading it takes numpy and the safetensors library: neither escnn nor torch. The file is
not trusted; see `graph/store.py` and `graph/limits.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobileq.atomic import write_atomically
from mobileq.contract import Head
from mobileq.errors import CheckpointError, GraphError, SymmetryError
from mobileq.graph.graph import Graph
from mobileq.graph.store import graph_from_tensors, graph_to_tensors
from mobileq.reading import read_bounded

SUFFIX = ".collapsed.safetensors"
FORMAT = "mobileq-collapsed"
VERSION = 1

MOST_HEADER = 8 * 2**20
"""Bytes of JSON; a network of a thousand nodes has about one million."""

MOST_BYTES = 2**30
"""Of a file; it is read into memory."""

_KEYS = {"format", "version", "graph", "head", "origin", "training", "ladder"}


@dataclass(frozen=True, eq=False)
class CollapsedCheckpoint:
    """One collapsed network.

    Attributes:
        graph: As `collapse` returns it, BatchNorm not folded.
        origin: The checkpoint that it was made from: source, sha256 and what else is
            known; plain JSON values.
        training: How the network was trained and what it scored; plain JSON values.
        ladder: Rungs that were climbed when it was collapsed, as dictionaries.
        source: Path that it was read from.
        sha256: Hash of the file's bytes, in hexadecimal.
        head: What the network itself makes of the graph's logits.
    """

    graph: Graph
    origin: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    ladder: tuple[Mapping[str, Any], ...] = ()
    source: str = ""
    sha256: str = ""
    head: Head = Head.NONE


def save_collapsed(path: Path, checkpoint: CollapsedCheckpoint) -> None:
    """Write `checkpoint` to `path`, whole or not at all.

    Raises:
        GraphError: the graph holds NaN, infinity or an unknown kind of node.
        CheckpointError: the file cannot be written.
    """
    data = collapsed_bytes(checkpoint)
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def collapsed_bytes(checkpoint: CollapsedCheckpoint) -> bytes:
    """The file's content; the same for the same network.

    Raises:
        GraphError: the graph holds NaN, infinity or an unknown kind of node.
    """
    from safetensors.numpy import save

    arrays, plain = graph_to_tensors(checkpoint.graph)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "graph": plain,
        "head": checkpoint.head.value,
        "origin": dict(checkpoint.origin),
        "training": dict(checkpoint.training),
        "ladder": [dict(rung) for rung in checkpoint.ladder],
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return bytes(save(arrays, metadata={FORMAT: text}))


def is_collapsed(path: Path) -> bool:
    """Whether a file says of itself that it is a collapsed checkpoint."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return f'"{FORMAT}"'.encode() in file.read(min(length, MOST_HEADER))
    except OSError:
        return False


def load_collapsed(path: Path) -> CollapsedCheckpoint:
    """Read a collapsed checkpoint.

    Raises:
        CheckpointError: missing, truncated, foreign, of a newer format, or with a graph
            that is damaged, impossible or too large.
    """
    data = _read(path)
    header, arrays = _parsed(path, data)
    _check_header(path, header)
    try:
        graph = graph_from_tensors(arrays, header["graph"])
    except (GraphError, SymmetryError) as error:
        raise CheckpointError(f"{path}: {error} (collapse it again)") from error
    return CollapsedCheckpoint(
        graph,
        header["origin"],
        header["training"],
        tuple(header["ladder"]),
        str(path),
        hashlib.sha256(data).hexdigest(),
        Head(header["head"]),
    )


def _read(path: Path) -> bytes:
    """Bytes of the file.

    Raises:
        CheckpointError: it cannot be read, or is too large.
    """
    try:
        return read_bounded(path, MOST_BYTES)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); wanted a collapsed checkpoint"
        ) from error


def _parsed(path: Path, data: bytes) -> tuple[Any, dict[str, Any]]:
    """Our part of the header, and the arrays.

    Raises:
        CheckpointError: truncated, or no safetensors file of ours.
    """
    from safetensors.numpy import load

    length = int.from_bytes(data[:8], "little")
    if MOST_HEADER < length <= len(data):
        raise CheckpointError(
            f"{path}: a header of {length:,} bytes; wanted at most {MOST_HEADER:,}"
        )
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        header = json.loads(metadata[FORMAT], parse_constant=_no_constant)
        # A number such as 1e999 is infinite, which JSON cannot say again.
        json.dumps(header, allow_nan=False)
        return header, load(data)
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged, truncated ({len(data):,} bytes) or not a collapsed "
            f"checkpoint; wanted a file that 'mobileq collapse' wrote (collapse again)"
        ) from error


def _no_constant(name: str) -> float:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(name)


def _check_header(path: Path, header: Any) -> None:
    """Check format, version and the types of what is not the graph.

    Raises:
        CheckpointError: foreign, newer, or incomplete.
    """
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: not a {FORMAT}; wanted a file that 'mobileq collapse' wrote"
        )
    version = header.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        shown = version if isinstance(version, int | float) else type(version).__name__
        raise CheckpointError(
            f"{path}: collapsed format {shown!s:.20}; this mobileq reads up to "
            f"{VERSION} (install a newer mobileq)"
        )
    missing = sorted(_KEYS - set(header))
    wrong = [k for k in ("origin", "training") if not isinstance(header.get(k), dict)]
    ladder = header.get("ladder")
    if header.get("head") not in (Head.NONE.value, Head.SOFTMAX.value):
        wrong.append("head")
    if not isinstance(ladder, list) or not all(isinstance(r, dict) for r in ladder):
        wrong.append("ladder")
    if missing or wrong:
        raise CheckpointError(
            f"{path}: {', '.join(missing or wrong)} is missing or of another type; "
            f"wanted {', '.join(sorted(_KEYS))} (collapse again)"
        )


__all__ = [
    "SUFFIX",
    "CollapsedCheckpoint",
    "collapsed_bytes",
    "is_collapsed",
    "load_collapsed",
    "save_collapsed",
]
