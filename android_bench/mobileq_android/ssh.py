"""Boards with Linux, by the ssh command line: it knows the user's keys and hosts."""

from __future__ import annotations

import copy
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from mobileq_android.errors import DeviceGoneError, PhoneError, one_line
from mobileq_android.process import Done, Stop, run
from mobileq_android.shell import quoted

VARIABLE = "MOBILEQ_SSH"
"""Names another ssh, with options, such as `ssh -F my_config`."""

_LOST = 255
"""ssh's own exit code: the connection failed."""

_PATIENCE = 60.0
_BYTES_PER_SECOND = 2**18


class SshTarget:
    """A board.

    Args:
        host: As ssh takes it: `user@host`, an alias of ~/.ssh/config, or
            `ssh://user@host:port`.
        stop: When it is set, whatever runs is ended.

    Raises:
        DeviceGoneError: it does not let us in.
        PhoneError: no such host, or no ssh here.
    """

    def __init__(self, host: str, stop: Stop) -> None:
        if not host or host.startswith("-") or not host.isprintable() or " " in host:
            raise PhoneError(
                f"--ssh {one_line(host)!r}: no host; wanted user@host, an alias of "
                f"~/.ssh/config, or ssh://user@host:port"
            )
        self._command = _ssh()
        self._host, self._stop = host, stop
        done = self.run(["sh", "-c", 'cd && pwd && printf %s "${XDG_CACHE_HOME:-}"'])
        home, _, cache = done.out.decode(errors="replace").partition("\n")
        if done.code != 0 or not home.startswith("/"):
            raise PhoneError(
                f"{host}: its shell says {one_line(done.text)!r}; wanted the home "
                f"directory of a Linux system"
            )
        base = cache if cache.startswith("/") else f"{home}/.cache"
        self.folder = f"{base.rstrip('/')}/mobileq"

    @property
    def name(self) -> str:
        """As ssh was told."""
        return self._host

    def run(self, command: Sequence[str], *, timeout: float = _PATIENCE) -> Done:
        """Run a command in the board's shell, quoted.

        Raises:
            DeviceGoneError: the board cannot be reached.
        """
        return self._ask(command, timeout=timeout)

    def push(self, source: Path, path: str) -> None:
        """Copy a file to the board.

        Raises:
            DeviceGoneError: the board cannot be reached.
            PhoneError: it does not take it.
        """
        data = source.read_bytes()
        limit = _PATIENCE + len(data) / _BYTES_PER_SECOND
        done = self._ask(
            ["sh", "-c", 'cat > "$1"', "sh", path], given=data, timeout=limit
        )
        if done.code != 0:
            raise PhoneError(
                f"{self.name}: {source} cannot be copied to {path}: "
                f"{one_line(done.text) or 'no answer in time'}; wanted space and a "
                f"directory that can be written"
            )

    def pull(self, path: str) -> bytes:
        """A file of the board.

        Raises:
            DeviceGoneError: the board cannot be reached.
            PhoneError: there is none.
        """
        done = self._ask(["cat", path], timeout=10 * _PATIENCE)
        if done.code != 0:
            said = one_line(done.err.decode(errors="replace")) or "no answer in time"
            raise PhoneError(
                f"{self.name}: {path} cannot be read: {said}; wanted a file there"
            )
        return done.out

    def unstopped(self) -> SshTarget:
        """The same board, whatever was stopped."""
        other = copy.copy(self)
        other._stop = Stop()
        return other

    def _ask(
        self, command: Sequence[str], *, timeout: float, given: bytes | None = None
    ) -> Done:
        """Run ssh.

        Raises:
            DeviceGoneError: it cannot connect, or has lost the connection.
        """
        whole = [
            *self._command,
            *("-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-T"),
            # What is quiet for this long has gone.
            *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
            *("--", self._host, quoted(command)),
        ]
        done = run(whole, stop=self._stop, timeout=timeout, given=given)
        if done.code == _LOST:
            said = done.err.decode(errors="replace").strip().splitlines()
            raise DeviceGoneError(
                f"{self._host}: ssh says {one_line(said[-1] if said else '')!r}; "
                f"wanted a host that 'ssh {self._host} true' reaches without a "
                f"password (ssh-copy-id; {VARIABLE} names another ssh or its options)"
            )
        return done


def _ssh() -> list[str]:
    """The ssh program and its options.

    Raises:
        PhoneError: there is none.
    """
    told = os.environ.get(VARIABLE) or "ssh"
    try:
        command = shlex.split(told)
    except ValueError:
        command = []
    if not command or shutil.which(command[0]) is None:
        raise PhoneError(
            f"{one_line(told)!r}: no such program; wanted OpenSSH's client ({VARIABLE} "
            f"names it)"
        )
    return command
