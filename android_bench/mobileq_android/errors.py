"""Errors, each one line: what was found, what was wanted, and what to do."""

from __future__ import annotations


class PhoneError(Exception):
    """Something is missing or wrong, on this machine or on a device."""

    exit_code = 2


class DeviceGoneError(PhoneError):
    """A device has vanished; others go on."""


class ToolError(PhoneError):
    """A benchmark tool failed, hung or printed something else than figures."""


class StoppedError(PhoneError):
    """The user asked to stop."""

    exit_code = 130


def one_line(text: str, most: int = 200) -> str:
    """Text of others, such as a tool's last words, as part of a message.

    Characters that would move a terminal's cursor are left out.
    """
    plain = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(plain.split())
    return line if len(line) <= most else f"{line[:most]}..."
