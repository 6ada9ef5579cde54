"""Programs of this machine, with a time limit, that another thread can stop."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from mobileq_android.errors import PhoneError, StoppedError

_SHORTEST, _LONGEST = 0.01, 0.1
"""Seconds between looks at whether to stop."""

MOST_OUTPUT = 2**26
"""Bytes; a program that prints more is ended."""


@dataclass(frozen=True)
class Done:
    """How a program ended.

    Attributes:
        code: Exit status; None if it took too long, or printed too much, and was ended.
        out: What it printed.
        err: What it printed on standard error.
    """

    code: int | None
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Both outputs, for people."""
        return (self.out + b"\n" + self.err).decode(errors="replace").strip()


class Stop:
    """Tells threads to stop; what they run is ended."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Stop everything."""
        self._event.set()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            StoppedError: not.
        """
        if self._event.is_set():
            raise StoppedError("interrupted")

    def sleep(self, seconds: float) -> None:
        """Wait, unless there is a reason to stop.

        Raises:
            StoppedError: there is.
        """
        self._event.wait(seconds)
        self.check()


def run(
    command: Sequence[str],
    *,
    stop: Stop,
    timeout: float,
    given: bytes | None = None,
) -> Done:
    """Run a program.

    Args:
        command: Program and arguments; no shell reads them.
        stop: When it is set, the program is killed.
        timeout: Seconds until it is killed.
        given: Its standard input; nothing by default.

    Raises:
        PhoneError: it cannot be started.
        StoppedError: `stop` was set.
    """
    stop.check()
    # Files rather than pipes: a grandchild, such as adb's server, may keep them open.
    with TemporaryFile() as source, TemporaryFile() as out, TemporaryFile() as err:
        source.write(given or b"")
        source.seek(0)
        try:
            process = subprocess.Popen(
                list(command),
                stdin=source,
                stdout=out,
                stderr=err,
                # Ctrl-C is for us; we end what must end.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise PhoneError(
                f"{command[0]}: cannot be started ({error}); wanted a program"
            ) from error
        try:
            code = _wait(process, stop, timeout, (out, err))
        finally:
            process.kill()
            process.wait()
        return Done(code, _content(out), _content(err))


def _wait(
    process: subprocess.Popen[bytes],
    stop: Stop,
    timeout: float,
    printed: Sequence[IO[bytes]],
) -> int | None:
    """The exit status; None if there is none in time, or if it prints without end.

    Raises:
        StoppedError: `stop` was set.
    """
    end = time.monotonic() + timeout
    wait = _SHORTEST
    while True:
        try:
            return process.wait(wait)
        except subprocess.TimeoutExpired:
            wait = min(2 * wait, _LONGEST)
            stop.check()
            most = max(os.fstat(file.fileno()).st_size for file in printed)
            if time.monotonic() > end or most > MOST_OUTPUT:
                return None


def _content(file: IO[bytes]) -> bytes:
    """What was printed, up to a limit."""
    file.seek(0)
    return file.read(MOST_OUTPUT)
