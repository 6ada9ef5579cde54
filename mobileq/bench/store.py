"""Results on disk as they come, so that an interrupted run goes on where it was.

    <runtime>-<precision>-<kernel>-<hash>.<part>.json   figures of one part of a row
    <runtime>-<precision>-<kernel>-<hash>.<part>.npy    an array that belongs to it

Every file is written whole or not at all. A result is given back only if everything
that decided it is as it was: file, kernels, threads, versions, images and options.

What is kept here can be measured again, so nothing in the directory stops a run: a
result that is damaged, of another program, or of another measurement is measured again
and replaced, and the run says so in a line. Files of other names are left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mobileq import __version__
from mobileq.atomic import write_atomically, write_json_atomically
from mobileq.bench.figures import Label
from mobileq.bench.kept import (
    FORMAT,
    VERSION,
    Array,
    Unusable,
    npy_bytes,
    read_array,
    read_content,
    read_figures,
)
from mobileq.bench.plain import to_plain
from mobileq.errors import CheckpointError, InputError

_Figures = TypeVar("_Figures")
_NAME = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{16}\.[a-z]+\.(json|npy)")
_ABANDONED_SECONDS = 3600
"""Age of a temporary file whose writer was killed; no write takes as long."""


@dataclass(frozen=True)
class Identity:
    """Everything that decides a result besides the row's label.

    Attributes:
        runtime_version: Such as `ai-edge-litert 2.3.0`.
        machine: Where it was measured, for results that depend on it.
        data: Labelled images, as the command line named them.
        checksum: Of these images (`mobileq.data.fingerprint`).
        options: Of this part of the measurement; plain values.
    """

    runtime_version: str
    machine: str = ""
    data: str = ""
    checksum: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self, label: Label) -> dict[str, Any]:
        """Plain values as JSON has them, with the label and this program's version.

        Raises:
            InputError: an option is no plain value.
        """
        values = {"mobileq": __version__, "label": asdict(label), **asdict(self)}
        try:
            plain: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"results of {label}: an option is no plain value ({error}); wanted "
                f"numbers, text, lists and dictionaries"
            ) from error
        return plain


@dataclass(frozen=True)
class Store:
    """Results in a directory; one writer at a time, or several of different rows.

    Attributes:
        directory: Where they lie.
        note: Called with a line for each result that is there and not used.
    """

    directory: Path
    note: Callable[[str], None] = lambda line: None

    @classmethod
    def open(
        cls, directory: Path, note: Callable[[str], None] = lambda line: None
    ) -> Store:
        """Make the directory, and take away what killed writers left in it.

        Raises:
            CheckpointError: there is a file of that name, or it cannot be written.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _sweep(directory)
        except OSError as error:
            raise CheckpointError(
                f"{directory}: cannot hold results ({error}); wanted a directory that "
                f"can be written (name another one)"
            ) from error
        return cls(directory, note)

    def clear(self) -> None:
        """Forget all results; files of other names are left alone.

        Raises:
            CheckpointError: one cannot be removed.
        """
        try:
            for path in self.directory.iterdir():
                if _NAME.fullmatch(path.name):
                    path.unlink()
        except OSError as error:
            raise CheckpointError(
                f"{self.directory}: results cannot be removed ({error}); wanted a "
                f"directory that can be written (name another one)"
            ) from error

    def path(self, label: Label, part: str) -> Path:
        """Where the figures of one part of a row lie.

        Args:
            label: Of the row; its file's hash is part of the name.
            part: Such as `cost`.
        """
        digest = hashlib.sha256(json.dumps(asdict(label)).encode()).hexdigest()
        name = "-".join((label.runtime, label.precision, label.kernel))
        safe = re.sub(r"[^A-Za-z0-9-]", "_", f"{name}-{digest[:16]}")
        return self.directory / f"{safe}.{part}.json"

    def keep(
        self,
        label: Label,
        part: str,
        identity: Identity,
        figures: Any,
        array: Array | None = None,
    ) -> None:
        """Keep figures, and an array that belongs to them.

        Args:
            label: Of the row.
            part: Such as `cost`.
            identity: What decided them.
            figures: A frozen dataclass, a tuple of them, or plain values.
            array: Such as logits.

        Raises:
            CheckpointError: they cannot be written.
            InputError: an option is no plain value.
        """
        path = self.path(label, part)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "identity": identity.to_dict(label),
            "figures": to_plain(figures),
        }
        if array is not None:
            data = npy_bytes(array)
            # The array first: figures with another array's hash are never used.
            write_atomically(path.with_suffix(".npy"), lambda p: p.write_bytes(data))
            content["array"] = hashlib.sha256(data).hexdigest()
        write_json_atomically(path, content)

    def figures(
        self, kind: type[_Figures], label: Label, part: str, identity: Identity
    ) -> _Figures | None:
        """Figures that were kept; None if they are to be measured.

        Args:
            kind: Their type, such as `Cost` or `tuple[AngleError, ...]`.
            label: Of the row.
            part: Such as `cost`.
            identity: What would decide them now.

        Raises:
            InputError: an option is no plain value.
        """
        path = self.path(label, part)
        try:
            content = read_content(path, identity.to_dict(label))
            return None if content is None else read_figures(kind, content)
        except Unusable as reason:
            self.note(f"{path}: {reason}; it is measured again")
            return None

    def array(self, label: Label, part: str, identity: Identity) -> Array | None:
        """The array that was kept with figures; None if it is to be measured.

        Args and errors as of `figures`.
        """
        path = self.path(label, part)
        try:
            content = read_content(path, identity.to_dict(label))
            if content is None:
                return None
            return read_array(path.with_suffix(".npy"), content.get("array"))
        except Unusable as reason:
            self.note(f"{path}: {reason}; it is measured again")
            return None

    def figures_or(
        self,
        kind: type[_Figures],
        label: Label,
        part: str,
        identity: Identity,
        measure: Callable[[], _Figures],
    ) -> _Figures:
        """Figures that were kept, or else those of `measure`, which are then kept.

        Args and errors as of `figures` and `keep`.
        """
        found = self.figures(kind, label, part, identity)
        if found is None:
            found = measure()
            self.keep(label, part, identity, found)
        return found

    def array_or(
        self, label: Label, part: str, identity: Identity, measure: Callable[[], Array]
    ) -> Array:
        """The array that was kept, or else that of `measure`, which is then kept.

        Args and errors as of `figures` and `keep`.
        """
        found = self.array(label, part, identity)
        if found is None:
            found = measure()
            self.keep(label, part, identity, {}, found)
        return found


def _sweep(directory: Path) -> None:
    """Take away temporary files whose writers were killed."""
    oldest = time.time() - _ABANDONED_SECONDS
    for kind in ("json", "npy"):
        for path in directory.glob(f".*.{kind}.*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
