"""A downloader for pooch that goes on where an earlier run or connection broke off.

Lengths that a server announces are not believed: the archive's size is known, and
whether its bytes are right, pooch decides by their MD5.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import requests
import urllib3

from mobileq import __version__
from mobileq.data.archives import Archive
from mobileq.data.blocks import one_line
from mobileq.data.parts import Part
from mobileq.data.steps import Report, Step
from mobileq.errors import DataError

BLOCK_BYTES = 2**18
"""Bytes read and written at once."""

_GZIP = b"\x1f\x8b"
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How long to put up with a bad connection.

    Attributes:
        tries: connections in a row that may fail to bring `enough_bytes`.
        enough_bytes: a connection that brings as much starts the count anew.
        wait_seconds: pause after the first failure; doubles with each further one.
        longest_wait_seconds: limit of that, and of what a server may ask for.
        timeout_seconds: silence after which a connection counts as broken.
    """

    tries: int = 6
    enough_bytes: int = 2**20
    wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    timeout_seconds: float = 60.0


@dataclass(frozen=True)
class _Setback:
    """Why a connection ended, how long to wait, whether to begin at zero."""

    reason: str
    wait_seconds: float = 0.0
    restart: bool = False


@dataclass
class Download:
    """Fetches one archive; called by pooch.

    Attributes:
        archive: what to fetch.
        patience: when to give up.
        report: called after each block.
        received: bytes that came over the network so far.
        in_one_go: whether all bytes of the file came in one answer. If not, and the
            MD5 is wrong, a second download from the start may help.
    """

    archive: Archive
    patience: Patience
    report: Report
    received: int = 0
    in_one_go: bool = False
    _reached: bool = False

    def __call__(self, url: str, output_file: str | Path, source: object) -> None:
        """Write the whole archive to `output_file`, its MD5 unchecked.

        Args:
            url: address of the archive.
            output_file: pooch's temporary file in the directory of the data set.
            source: the Pooch that calls.

        Raises:
            DataError: the address cannot be reached, answers with something else, or
                breaks off too often. Except in the second case the part is kept.
            OSError: it cannot be written.
        """
        target = Path(output_file)
        part = Part.of(target.parent, self.archive)
        # Pooch's file is empty; without it a kill while fetching leaves none behind.
        target.unlink(missing_ok=True)
        self._complete(url, part)
        self._tell("check", 0)
        try:
            # Pooch removes its file when it is interrupted; the part outlives that.
            target.hardlink_to(part.path)
        except OSError:  # a file system without hard links
            part.path.replace(target)

    def _complete(self, url: str, part: Part) -> None:
        """Make connections until the part has the archive's length."""
        size = self.archive.packed_bytes
        failures = 0
        while (have := part.size) < size:
            setback = self._connect(url, part)
            now = part.size
            if now == size:
                return
            failures = 1 if now - have >= self.patience.enough_bytes else failures + 1
            if failures >= self.patience.tries:
                raise DataError(
                    f"{url}: {setback.reason}, {failures} times in a row, {now:,} of "
                    f"{size:,} bytes are here; wanted the whole file: run the same "
                    f"command later, it goes on from there"
                )
            self._pause(setback, failures, now)

    def _pause(self, setback: _Setback, failures: int, have: int) -> None:
        wait = max(
            setback.wait_seconds, self.patience.wait_seconds * 2 ** (failures - 1)
        )
        wait = min(wait, self.patience.longest_wait_seconds)
        again = f"try {failures + 1} of {self.patience.tries} in {wait:.0f} s"
        self._tell("fetch", have, f"{setback.reason}; {again}")
        time.sleep(wait)

    def _connect(self, url: str, part: Part) -> _Setback:
        """Ask once for what is missing, store what comes, return why it ended."""
        have = part.size
        tag = part.tag if have else ""
        try:
            with requests.get(
                url,
                headers=_headers(have, tag),
                stream=True,
                timeout=self.patience.timeout_seconds,
            ) as answer:
                self._reached = True
                setback = self._judge(answer, url, have, tag)
                if setback is None:
                    self._store(answer, url, part)
                elif setback.restart:
                    part.discard()
        except (
            requests.ConnectionError,
            requests.Timeout,
            urllib3.exceptions.HTTPError,  # while reading the body
        ) as error:
            if _nobody_there(error) and not self._reached:
                raise self._unreachable(url, error, part.path.parent) from error
            return _Setback(f"the connection broke ({_cause(error)})")
        except requests.RequestException as error:
            raise self._unreachable(url, error, part.path.parent) from error
        return setback or _Setback("the connection ended early")

    def _judge(
        self, answer: requests.Response, url: str, have: int, tag: str
    ) -> _Setback | None:
        """Return None if the answer's body may be stored.

        Raises:
            DataError: it is an answer that will not change.
        """
        status = f"the server answered {answer.status_code} {answer.reason}"
        if answer.status_code == 200:
            return None
        if answer.status_code == 416:  # the part is longer than the server's file
            return _Setback(status, restart=True)
        if answer.status_code in _TRY_AGAIN:
            asked = answer.headers.get("Retry-After", "")
            return _Setback(status, float(asked) if asked.isdecimal() else 0.0)
        if answer.status_code != 206 or not have:
            raise DataError(
                f"{url}: {status}; wanted 200 and {self.archive.packed_name}: check "
                f"the address, or give another one with --base-url"
            )
        span = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", span.strip())
        if found is None or int(found[1]) != have:
            reason = f"the server sent range {span!r}, not 'bytes {have}-...'"
            return _Setback(reason, restart=True)
        if found[2] not in ("*", str(self.archive.packed_bytes)):
            raise DataError(
                f"{url}: the server's file has {int(found[2]):,} bytes; wanted "
                f"{self.archive.packed_bytes:,}: give another address with --base-url"
            )
        if tag and _tag_of(answer) not in ("", tag):
            return _Setback("the server's file has changed", restart=True)
        return None

    def _store(self, answer: requests.Response, url: str, part: Part) -> None:
        """Append the body to the part, or begin it anew after a 200."""
        size = self.archive.packed_bytes
        self.in_one_go = answer.status_code == 200
        done = 0 if self.in_one_go else part.size
        block = _read(answer, size - done)
        if self.in_one_go and block:
            # Before the part goes: a login page is no reason to lose it.
            if not block.startswith(_GZIP[: len(block)]):
                raise _no_gzip(url, block, answer)
            part.begin(_tag_of(answer))
        # Unbuffered: after a kill, the file's length says what was written.
        with part.path.open("ab", buffering=0) as file:
            while block:
                _write_all(file, block)
                done += len(block)
                self.received += len(block)
                self._tell("fetch", done)
                block = _read(answer, size - done)

    def _unreachable(self, url: str, error: Exception, directory: Path) -> DataError:
        name = self.archive.packed_name
        lies = (
            f"the {name} that lies in {directory} has another MD5 than "
            f"{self.archive.packed_md5}, wanted a whole one"
            if (directory / name).exists()
            else f"wanted {name}, {self.archive.packed_bytes:,} bytes"
        )
        return DataError(
            f"{url}: cannot be fetched ({_cause(error)}); {lies}: check the "
            f"connection and run this again, or download it elsewhere, put it into "
            f"{directory} and run this again"
        )

    def _tell(
        self, stage: Literal["fetch", "check"], done: int, note: str = ""
    ) -> None:
        size = self.archive.packed_bytes
        self.report(Step(self.archive.packed_name, stage, done, size, note))


def _headers(have: int, tag: str) -> dict[str, str]:
    # Zenodo slows down clients that do not say who they are.
    headers = {
        "User-Agent": f"mobileq/{__version__} (PCam download with pooch)",
        "Accept-Encoding": "identity",
    }
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag:
            headers["If-Range"] = tag
    return headers


def _tag_of(answer: requests.Response) -> str:
    """Return what identifies the server's version of the file; weak ETags do not."""
    tag = str(answer.headers.get("ETag", ""))
    if tag and not tag.startswith("W/"):
        return tag
    return str(answer.headers.get("Last-Modified", ""))


def _read(answer: requests.Response, wanted: int) -> bytes:
    """Return up to `wanted` bytes, as soon as some are there; none at the end."""
    # Not answer.content: that would unpack what a server calls encoded.
    block: bytes = answer.raw.read1(min(BLOCK_BYTES, wanted), decode_content=False)
    return block


def _write_all(file: BinaryIO, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def _no_gzip(url: str, block: bytes, answer: requests.Response) -> DataError:
    kind = answer.headers.get("Content-Type", "no content type")
    return DataError(
        f"{url}: the answer begins with {block[:16]!r} ({kind}); wanted a gzip file: "
        f"is there a login page or a proxy in between? Open the address in a browser"
    )


def _nobody_there(error: Exception) -> bool:
    """Whether no connection came about: name unknown, refused, no route, bad proxy."""
    return bool(error.args) and isinstance(
        error.args[0], urllib3.exceptions.MaxRetryError
    )


def _cause(error: BaseException) -> str:
    """Return the innermost message that requests and urllib3 have wrapped."""
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", None) or inner
    return one_line(reason if isinstance(reason, Exception) else error)
