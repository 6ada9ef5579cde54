"""Fetch PCam's official files: resumable, checked by MD5, unpacked, verified.

Each archive is fetched by pooch with `Download` and unpacked by `Unpack`. A kill at any
moment leaves parts that the next run goes on from, and never a file that has its final
name and is not whole.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pooch

from mobileq.data.archives import OFFICIAL, SPLITS, Archive, PcamFiles
from mobileq.data.blocks import one_line
from mobileq.data.download import Download, Patience
from mobileq.data.parts import Part, size_of
from mobileq.data.pcam import open_pcam
from mobileq.data.steps import Report, Step, silent
from mobileq.data.unpacked import Unpack, is_whole, unpacking_path
from mobileq.errors import DataError

PATIENT = Patience()
"""For a download of hours over the internet."""


@dataclass(frozen=True)
class Outcome:
    """What was done for one file.

    Attributes:
        name: the HDF5 file.
        how: "kept" as it was there already, "unpacked" from an archive that was there,
            or "fetched".
        received: bytes that came over the network for it in this run.
    """

    name: str
    how: Literal["kept", "unpacked", "fetched"]
    received: int = 0


def fetch_pcam(
    directory: Path,
    files: PcamFiles = OFFICIAL,
    *,
    splits: Sequence[str] = SPLITS,
    keep_archives: bool = False,
    patience: Patience = PATIENT,
    report: Report = silent,
) -> tuple[Outcome, ...]:
    """Make sure that `directory` holds the HDF5 files of `splits`, whole and verified.

    Archives that lie there are used, an interrupted run is continued. An archive is
    removed once it is unpacked, wherever it came from.

    Args:
        directory: made if it does not exist.
        files: where the archives are, their sizes and hashes.
        splits: which splits.
        keep_archives: leave the .h5.gz files there.
        patience: when to give up on a connection.
        report: called with every step.

    Returns:
        One outcome for each file, in the order of the work.

    Raises:
        DataError: no connection, wrong bytes, no space, or a file is in the way.
    """
    wanted = files.of(splits)
    job = _Job(directory, files, keep_archives, patience, report)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _sole_user(directory), _quiet_pooch():
            return _run(job, wanted)
    except OSError as error:
        raise DataError(
            f"{directory}: cannot be written ({one_line(error)}); wanted a writable "
            f"directory with free space: what was fetched is kept, run this again"
        ) from error


def _run(job: _Job, wanted: Sequence[Archive]) -> tuple[Outcome, ...]:
    """See what is there and whether the rest has room, get it, open everything."""
    _clean_up(job.directory, wanted)
    whole = {a: is_whole(job.directory, a, job.report) for a in wanted}
    todo = [archive for archive in wanted if not whole[archive]]
    _check_space(job.directory, todo, job.keep)
    outcomes = tuple(
        Outcome(archive.name, "kept") if whole[archive] else job.run(archive)
        for archive in wanted
    )
    for archive in wanted:
        _verify(job.directory, archive)
    return outcomes


def space_needed(
    directory: Path, todo: Sequence[Archive], *, keep_archives: bool
) -> int:
    """Return the bytes that fetching and unpacking `todo` in order take at most.

    What is in the directory already, archives and parts, is not counted again.
    """
    used = peak = 0
    for archive in todo:
        packed = directory / archive.packed_name
        part = Part.of(directory, archive).path
        here = packed if size_of(packed) == archive.packed_bytes else part
        used += max(0, archive.packed_bytes - size_of(here)) + archive.unpacked_bytes
        peak = max(peak, used)
        if not keep_archives:
            used -= archive.packed_bytes
    return peak


def _check_space(directory: Path, todo: Sequence[Archive], keep: bool) -> None:
    needed = space_needed(directory, todo, keep_archives=keep)
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise DataError(
            f"{directory}: {free / 1e9:.2f} GB are free, wanted {needed / 1e9:.2f} GB "
            f"to fetch and unpack {len(todo)} files: free some space, give a directory "
            f"on another disk, or take fewer splits with --split"
        )


@dataclass(frozen=True)
class _Job:
    """How one archive after the other is fetched and unpacked."""

    directory: Path
    files: PcamFiles
    keep: bool
    patience: Patience
    report: Report

    def run(self, archive: Archive) -> Outcome:
        """Fetch the archive unless it is there, and unpack it."""
        name = archive.packed_name
        source = pooch.Pooch(
            path=self.directory,
            base_url=self.files.base_url,
            registry={name: f"md5:{archive.packed_md5}"},
            urls={name: self.files.url(archive)},
        )
        download = Download(archive, self.patience, self.report)
        unpack = Unpack(archive, self.keep, self.report)
        if (self.directory / name).exists():
            self.report(Step(name, "check", 0, archive.packed_bytes))
        try:
            source.fetch(name, downloader=download, processor=unpack)
        except ValueError as error:  # pooch: another MD5
            self._reject(archive, error, final=download.in_one_go)
            try:
                source.fetch(name, downloader=download, processor=unpack)
            except ValueError as again:
                self._reject(archive, again, final=True)
        # No byte at all: a part that was complete already is unpacked as well.
        if download.received:
            return Outcome(archive.name, "fetched", download.received)
        return Outcome(archive.name, "unpacked")

    def _reject(self, archive: Archive, error: ValueError, *, final: bool) -> None:
        """Remove wrong bytes.

        Raises:
            DataError: it is `final`, a second download would bring the same.
        """
        Part.of(self.directory, archive).discard()
        wrong = f"MD5 is {_found_md5(error)}, wanted {archive.packed_md5}"
        if final:
            raise DataError(
                f"{self.files.url(archive)}: {wrong}; what came was removed: the "
                f"server has another file, or something on the way changes it; try "
                f"again later or give another address with --base-url"
            ) from error
        note = f"{wrong}; it was put together from parts, once more from the start"
        step = Step(archive.packed_name, "fetch", 0, archive.packed_bytes, note)
        self.report(step)


def _found_md5(error: ValueError) -> str:
    found = re.search(r"\bgot ([0-9a-f]{32})\b", str(error))
    return found[1] if found else "another"


def _verify(directory: Path, archive: Archive) -> None:
    """Open the archive's split as training does.

    Raises:
        DataError: files, layout, labels or number of patches are not as wanted.
    """
    found = len(open_pcam(directory, archive.split))
    if found != archive.patches:
        raise DataError(
            f"{directory / archive.name}: {found:,} patches; wanted "
            f"{archive.patches:,}: delete it and run this again"
        )


def _clean_up(directory: Path, wanted: Sequence[Archive]) -> None:
    """Remove what a killed run left and no run can use."""
    parts = [Part.of(directory, archive).path for archive in wanted]
    linked = {part.stat().st_ino for part in parts if part.exists()}
    for path in directory.glob("tmp*"):
        # Pooch's temporary name of a finished part, which is one of its hard links.
        if path.is_file() and path.stat().st_ino in linked:
            path.unlink()
    for archive in wanted:
        unpacking_path(directory, archive).unlink(missing_ok=True)


@contextmanager
def _sole_user(directory: Path) -> Iterator[None]:
    """Hold the directory, so that no other run writes to the same parts.

    Raises:
        DataError: another run holds it.
    """
    if os.name != "posix":
        # No directory can be held there; the MD5 still guards.
        yield
        return
    import fcntl

    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{directory}: another run is fetching into it; wanted none: wait for "
                f"it or stop it"
            ) from error
        except OSError:
            # Some network file systems cannot lock a directory; the MD5 still guards.
            logging.getLogger(__name__).debug("no lock on %s", directory)
        yield
    finally:
        os.close(handle)


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from printing what `report` says already."""
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
