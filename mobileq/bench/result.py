"""A whole benchmark, as a file that programs read: bench.json.

Its schema is published (`mobileq bench --schema`, docs/bench.schema.json). Figures that
are no number, such as an interval of a single image, are null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mobileq import __version__
from mobileq.bench.figures import Row
from mobileq.bench.layer_report import LayerErrors
from mobileq.bench.machine import Device, Machine
from mobileq.bench.noise import Noise
from mobileq.bench.plain import from_plain
from mobileq.bench.tables import plain
from mobileq.errors import InputError
from mobileq.reading import read_bounded

FORMAT = "mobileq-bench"
VERSION = 3
"""Of the JSON; raised when a key changes its meaning or goes."""

SCHEMA = "https://json-schema.org/draft/2020-12/schema"

MOST_BYTES = 2**26
"""Of a file that is read; a result with all operators has a thousandth."""


@dataclass(frozen=True)
class Result:
    """All figures of one benchmark.

    Attributes:
        target: Checkpoint or bundle.
        group: Symmetry group of the network.
        classes: Names of the classes; none where they are not known.
        command: What was called.
        measured: When it began, ISO 8601 with the offset from UTC.
        machine: Where it was measured.
        noise: How quiet the machine was while latency was measured; None if it was
            not measured.
        images: Where the turned images come from.
        image_count: How many they are.
        data: Where the labelled images come from; None if accuracy was not measured.
        data_sha256: Of their pixels and labels (`mobileq.data.fingerprint`).
        rows: One per file, runtime, kernels and number of threads.
        notes: What else there is to say, a line each.
        layers: Equivariance errors of every tensor, float and INT8; None if they were
            not measured.
        devices: Phones and boards that rows are of.
    """

    target: str
    group: str
    classes: tuple[str, ...]
    command: str
    measured: str
    machine: Machine
    noise: Noise | None
    images: str
    image_count: int
    data: str | None
    data_sha256: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    layers: LayerErrors | None = None
    devices: tuple[Device, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = plain({**_header(), **asdict(self)})
        return values


def read_result(path: Path) -> Result:
    """Read what `Result.to_dict` was written to.

    Raises:
        InputError: the file cannot be read, or is not such a result.
    """
    remedy = "wanted a bench.json of 'mobileq bench --out' or '--json'"
    try:
        values = json.loads(read_bounded(path, MOST_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from (
            error
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({error}); {remedy}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"{path}: is no result of mobileq bench; {remedy}")
    if values.get("version") != VERSION:
        raise InputError(
            f"{path}: has format version {values.get('version')!r}; wanted {VERSION} "
            f"(measure again with this version of mobileq)"
        )
    figures = {key: value for key, value in values.items() if key not in _header()}
    try:
        return from_plain(Result, figures)
    except TypeError as error:
        raise InputError(
            f"{path}: {error} ('mobileq bench --schema' shows what there should be)"
        ) from error


def schema() -> dict[str, Any]:
    """The JSON schema of a result."""
    from pydantic import TypeAdapter

    found = TypeAdapter(Result).json_schema()
    fixed: Mapping[str, Any] = {
        "format": {"const": FORMAT},
        "version": {"const": VERSION},
        "mobileq": {"type": "string", "description": "Version that measured it."},
    }
    found["properties"] = {**fixed, **found["properties"]}
    found["required"] = [*found["properties"]]
    described: dict[str, Any] = _with_null({"$schema": SCHEMA, **found})
    return described


def _header() -> dict[str, Any]:
    """What every file begins with."""
    return {"format": FORMAT, "version": VERSION, "mobileq": __version__}


def _with_null(part: Any) -> Any:
    """A schema in which a number may be null: there is none."""
    if isinstance(part, list):
        return [_with_null(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "number":
        return {**part, "type": ["number", "null"]}
    if "properties" in part:
        # Everything is written, also what has a default.
        part = {**part, "required": [*part["properties"]]}
    return {key: _with_null(value) for key, value in part.items() if key != "default"}
