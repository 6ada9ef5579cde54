"""The HDF5 files of a data set on disk: unpacked whole or not at all, and recorded.

`pcam.json` beside them holds, for each file, the MD5 of the archive that it came from
and size, time and MD5 of the file itself, so that a later run needs no look inside.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mobileq.data.archives import Archive
from mobileq.data.blocks import one_line
from mobileq.data.parts import Part
from mobileq.data.steps import Report, Step
from mobileq.errors import DataError

RECORD = "pcam.json"
"""Name of the record in the directory of the data set."""

_FORMAT = "mobileq-pcam"
_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Entry:
    """What is recorded of one HDF5 file.

    Attributes:
        archive_md5: MD5 of the archive that it was unpacked from.
        md5: MD5 of the file.
        bytes: its size.
        mtime_ns: its time of change, in nanoseconds.
    """

    archive_md5: str
    md5: str
    bytes: int
    mtime_ns: int


def read_record(directory: Path) -> dict[str, Entry]:
    """Return the entries of the record by file name; none if it is not readable.

    A lost record loses nothing: files are then checked by their MD5.
    """
    try:
        content = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or content.get("format") != _FORMAT:
        return {}
    return {name: Entry(**value) for name, value in files.items() if _is_entry(value)}


def _is_entry(value: Any) -> bool:
    kinds = {field.name: field.type for field in fields(Entry)}
    return isinstance(value, dict) and {
        name: type(found).__name__ for name, found in value.items()
    } == dict(kinds)


def write_entry(directory: Path, name: str, entry: Entry) -> None:
    """Add one entry to the record, which is replaced as a whole.

    Raises:
        OSError: it cannot be written.
    """
    entries = {**read_record(directory), name: entry}
    content = {
        "format": _FORMAT,
        "version": 1,
        "files": {key: asdict(value) for key, value in sorted(entries.items())},
    }
    temporary = directory / f".{RECORD}.new"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / RECORD)


def is_whole(directory: Path, archive: Archive, report: Report) -> bool:
    """Return whether the HDF5 file of `archive` is there, False if there is none.

    It is not read if size and time are as recorded. Otherwise its MD5 decides, so
    that files that were unpacked by hand or copied are kept as well.

    Raises:
        DataError: there is a file, but another one. It is never overwritten.
        OSError: it cannot be read.
    """
    path = directory / archive.name
    if not path.exists():
        return False
    entry = read_record(directory).get(archive.name)
    if entry is not None and entry.archive_md5 != archive.packed_md5:
        entry = None
    state = path.stat()
    if entry is not None and (state.st_size, state.st_mtime_ns) == (
        entry.bytes,
        entry.mtime_ns,
    ):
        return True
    found = _md5(path, report)
    if found not in {archive.unpacked_md5, entry.md5 if entry else ""}:
        raise DataError(
            f"{path}: MD5 is {found} ({state.st_size:,} bytes); wanted "
            f"{archive.unpacked_md5}, PCam's own file: move it away and run this "
            f"again, or give another directory"
        )
    known = Entry(archive.packed_md5, found, state.st_size, state.st_mtime_ns)
    write_entry(directory, archive.name, known)
    return True


def _md5(path: Path, report: Report) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            report(Step(path.name, "check", done, total))
    return digest.hexdigest()


@dataclass(frozen=True)
class Unpack:
    """Unpacks one archive beside it; called by pooch when the archive's MD5 is right.

    Attributes:
        archive: which one.
        keep: whether the archive stays.
        report: called after each block of the archive.
    """

    archive: Archive
    keep: bool
    report: Report

    def __call__(self, fname: str, action: str, source: object) -> str:
        """Unpack `fname` and return the path of the HDF5 file.

        Args:
            fname: path of the archive.
            action: what pooch did to get it.
            source: the Pooch that calls.

        Raises:
            DataError: it is no gzip file, or a truncated one.
            OSError: the HDF5 file cannot be written; the archive is kept.
        """
        packed = Path(fname)
        path = packed.with_name(self.archive.name)
        Part.of(packed.parent, self.archive).discard()
        temporary = unpacking_path(packed.parent, self.archive)
        try:
            found = self._unpack(packed, temporary)
            state = temporary.stat()
            # The record first: a kill in between leaves no file that it does not know.
            entry = Entry(
                self.archive.packed_md5, found, state.st_size, state.st_mtime_ns
            )
            write_entry(packed.parent, self.archive.name, entry)
            temporary.replace(path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{packed}: cannot be unpacked ({one_line(error)}) although its MD5 is "
                f"{self.archive.packed_md5}; wanted a whole gzip file: check the disk"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        if not self.keep:
            packed.unlink()
        return str(path)

    def _unpack(self, packed: Path, temporary: Path) -> str:
        """Write what is in `packed` to `temporary`; return its MD5."""
        digest = hashlib.md5(usedforsecurity=False)
        total = self.archive.packed_bytes
        with (
            packed.open("rb") as raw,
            gzip.open(raw) as stream,
            temporary.open("wb") as file,
        ):
            while block := stream.read(_BLOCK_BYTES):
                file.write(block)
                digest.update(block)
                self.report(Step(self.archive.name, "unpack", raw.tell(), total))
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()


def unpacking_path(directory: Path, archive: Archive) -> Path:
    """Return where the HDF5 file lies while it is being unpacked."""
    return directory / f"{archive.name}.unpacking"
