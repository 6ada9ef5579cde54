"""What a device can do for us."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mobileq_android.process import Done


class Target(Protocol):
    """A device: a phone behind adb, or a board behind ssh.

    Paths of the device are absolute. Everything that is run there goes through
    `mobileq_android.shell.quoted`.
    """

    @property
    def name(self) -> str:
        """Its serial number, or user@host."""

    @property
    def folder(self) -> str:
        """Directory on the device that is ours alone."""

    def run(self, command: Sequence[str], *, timeout: float = 60.0) -> Done:
        """Run a command on the device.

        Args:
            command: Program and arguments.
            timeout: Seconds after which the connection is cut; the program may go on.

        Raises:
            DeviceGoneError: the device cannot be reached.
            StoppedError: the user stopped us.
        """

    def push(self, source: Path, path: str) -> None:
        """Copy a file to the device.

        Raises:
            DeviceGoneError: the device cannot be reached.
            PhoneError: it takes no such file, as when its disk is full.
        """

    def pull(self, path: str) -> bytes:
        """A file of the device.

        Raises:
            DeviceGoneError: the device cannot be reached.
            PhoneError: there is none.
        """

    def unstopped(self) -> Target:
        """The same device for clean-up, which is done even after a stop."""
