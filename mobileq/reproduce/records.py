"""Results of finished runs on disk, whole or not at all, and what decided them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.atomic import write_json_atomically
from mobileq.data.scores import Scores
from mobileq.errors import CheckpointError, InputError

FILE = "result.json"
FORMAT = "mobileq-data-efficiency-run"
VERSION = 1


@dataclass(frozen=True)
class Record:
    """What a run came to.

    Attributes:
        best_epoch: Whose weights had the lowest validation loss, from 1.
        scores: Of these weights on the test set.
    """

    best_epoch: int
    scores: Scores


def checksum(values: NDArray[Any]) -> int:
    """CRC-32 of an array's bytes."""
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def write_record(folder: Path, record: Record, identity: Mapping[str, Any]) -> None:
    """Keep a result in a run's directory.

    Args:
        folder: The run's directory.
        record: The result.
        identity: Everything that decided it; plain values.

    Raises:
        CheckpointError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "identity": dict(identity),
        "best_epoch": record.best_epoch,
        "test": record.scores.to_dict(),
    }
    write_json_atomically(folder / FILE, content)


def read_record(folder: Path, identity: Mapping[str, Any]) -> Record | None:
    """The result that is kept in a run's directory; None if the run is not finished.

    Args:
        folder: The run's directory.
        identity: As for `write_record`.

    Raises:
        CheckpointError: it cannot be read, or is none.
        InputError: it is of a run with other settings.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {content['format']!r} {content['version']!r}")
        saved = dict(content["identity"])
        record = Record(int(content["best_epoch"]), _scores(content["test"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: no record of a finished run ({error}); wanted the one that was "
            f"written there (delete it: the run is then scored again)"
        ) from error
    for name, value in identity.items():
        if saved.get(name) != value:
            raise InputError(
                f"{path}: {name} is {saved.get(name)!r} in the finished run and "
                f"{value!r} in this command; wanted the same settings (or another "
                f"--runs-dir)"
            )
    return record


def _scores(values: Mapping[str, Any]) -> Scores:
    """Scores from JSON, which has no NaN: the AUC of a single class is null."""
    auc = values["auc"]
    return Scores(
        accuracy=float(values["accuracy"]),
        auc=float("nan") if auc is None else float(auc),
        loss=float(values["loss"]),
        count=int(values["count"]),
    )
