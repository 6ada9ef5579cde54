"""Phones, by the adb command line: its interface is stable and everybody has it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobileq_android.errors import DeviceGoneError, PhoneError, one_line
from mobileq_android.process import Done, Stop, run
from mobileq_android.shell import quoted

FOLDER = "/data/local/tmp/mobileq"
"""Ours on every phone; a shell may run programs below /data/local/tmp only."""

ALL = "all"
_PATIENCE = 30.0
_BYTES_PER_SECOND = 2**20
"""A push slower than this is given up: USB 2 is twenty times as fast."""

_REMEDIES = {
    "unauthorized": "unlock the phone and allow USB debugging for this computer",
    "authorizing": "unlock the phone and allow USB debugging for this computer",
    "offline": "pull the cable out and plug it in again, or 'adb reconnect'",
    "no permissions": "give yourself access to the USB device (udev rules), then "
    "'adb kill-server'",
    "recovery": "start Android",
    "sideload": "start Android",
    "bootloader": "start Android",
}


@dataclass(frozen=True)
class Found:
    """A line of `adb devices`.

    Attributes:
        serial: Of the device.
        state: `device` if it can be used.
    """

    serial: str
    state: str


def find_adb(told: str | None = None) -> str:
    """The adb program: the one that is named, ADB's, or the one on PATH.

    Raises:
        PhoneError: there is none.
    """
    named = told or os.environ.get("ADB") or "adb"
    found = shutil.which(named)
    if found is None:
        raise PhoneError(
            f"{named}: no such program; wanted adb (Android SDK platform-tools, or "
            f"'apt-get install adb'; --adb or ADB names another one)"
        )
    return found


def connected(adb: str, stop: Stop) -> tuple[Found, ...]:
    """All devices that adb knows.

    Raises:
        PhoneError: adb does not answer.
    """
    done = run([adb, "devices"], stop=stop, timeout=_PATIENCE)
    if done.code != 0:
        raise PhoneError(
            f"{adb} devices: {_how(done)}; wanted a list of devices ('adb kill-server' "
            f"and try again)"
        )
    return parse_devices(done.out.decode(errors="replace"))


def parse_devices(text: str) -> tuple[Found, ...]:
    """Devices in the output of `adb devices`: serial, tab, state.

    The server's own messages (lines that begin with a star) and the title are left out.
    """
    found = []
    for line in text.splitlines():
        serial, tab, state = line.partition("\t")
        if tab and serial.strip() and not line.startswith("*"):
            found.append(Found(serial.strip(), state.strip()))
    return tuple(found)


def choose(devices: Sequence[Found], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Serial numbers of the devices to use.

    Args:
        devices: Those that adb knows.
        wanted: Serial numbers, or `all`; the environment's ANDROID_SERIAL otherwise,
            and else the only device there is.

    Raises:
        PhoneError: one is missing or cannot be used, or there are several to choose
            from.
    """
    told = os.environ.get("ANDROID_SERIAL")
    asked = tuple(dict.fromkeys(wanted or ([told] if told else [])))
    here = ", ".join(f"{one.serial} ({one.state})" for one in devices) or "none"
    if not devices:
        raise PhoneError(
            "no phone: 'adb devices' lists none; wanted one on a cable with USB "
            "debugging switched on (Settings, Developer options), or 'adb connect'"
        )
    if not asked or ALL in asked:
        usable = [one for one in devices if one.state == "device"]
        if len(devices) > 1 and not asked:
            raise PhoneError(
                f"{len(devices)} devices: {here}; wanted one (--serial NAME, several "
                f"times for several, or --serial all)"
            )
        if not usable:
            raise _unusable(devices[0])
        return tuple(one.serial for one in usable)
    known = {one.serial: one for one in devices}
    for serial in asked:
        if serial not in known:
            raise PhoneError(
                f"{one_line(serial)}: no such device; wanted one of: {here}"
            )
        if known[serial].state != "device":
            raise _unusable(known[serial])
    return asked


def _unusable(found: Found) -> PhoneError:
    """Why a device cannot be used."""
    remedy = next(
        (text for state, text in _REMEDIES.items() if found.state.startswith(state)),
        "connect it again",
    )
    return PhoneError(
        f"{one_line(found.serial)}: is {one_line(found.state)!r}; wanted a device that "
        f"is ready ({remedy})"
    )


class AdbTarget:
    """A phone.

    Args:
        adb: The program.
        serial: Of the device.
        stop: When it is set, whatever runs is ended.
    """

    folder = FOLDER

    def __init__(self, adb: str, serial: str, stop: Stop) -> None:
        self._adb, self._serial, self._stop = adb, serial, stop

    @property
    def name(self) -> str:
        """Its serial number."""
        return self._serial

    def run(self, command: Sequence[str], *, timeout: float = 60.0) -> Done:
        """Run a command in the device's shell, quoted.

        Raises:
            DeviceGoneError: the device is not there any more.
        """
        # -n: the shell must not read what is typed here. -T: no terminal, so that
        # what comes back has not been changed.
        done = self._ask("shell", "-n", "-T", quoted(command), timeout=timeout)
        if done.code not in (0, None):
            self._check(done)
        return done

    def push(self, source: Path, path: str) -> None:
        """Copy a file to the device.

        Raises:
            DeviceGoneError: the device is not there any more.
            PhoneError: it does not take it.
        """
        limit = _PATIENCE + source.stat().st_size / _BYTES_PER_SECOND
        done = self._ask("push", str(source), path, timeout=limit)
        if done.code != 0:
            self._check(done)
            raise PhoneError(
                f"{self.name}: {source} cannot be pushed to {path}: {_how(done)}; "
                f"wanted space and a directory that can be written"
            )

    def pull(self, path: str) -> bytes:
        """A file of the device.

        Raises:
            DeviceGoneError: the device is not there any more.
            PhoneError: there is none.
        """
        with tempfile.TemporaryDirectory(prefix="mobileq-adb-") as folder:
            place = Path(folder) / "file"
            done = self._ask("pull", path, str(place), timeout=10 * _PATIENCE)
            if done.code != 0 or not place.is_file():
                self._check(done)
                raise PhoneError(
                    f"{self.name}: {path} cannot be pulled: {_how(done)}; wanted a "
                    f"file there"
                )
            return place.read_bytes()

    def unstopped(self) -> AdbTarget:
        """The same phone, whatever was stopped."""
        return AdbTarget(self._adb, self._serial, Stop())

    def _ask(self, *arguments: str, timeout: float) -> Done:
        """Run adb for this device."""
        command = [self._adb, "-s", self._serial, *arguments]
        return run(command, stop=self._stop, timeout=timeout)

    def _check(self, done: Done) -> None:
        """Check that the device is still there.

        Raises:
            DeviceGoneError: it is not.
        """
        asked = self._ask("get-state", timeout=_PATIENCE)
        state = asked.out.decode(errors="replace").strip()
        if asked.code != 0 or state != "device":
            raise DeviceGoneError(
                f"{self.name}: is gone in the middle of its work ({_how(done)}); "
                f"wanted a device that stays connected (check cable and power)"
            )


def _how(done: Done) -> str:
    """How a program failed, for a message."""
    if done.code is None:
        return "no answer in time"
    said = done.text.splitlines()
    # A push that fails is followed by what it would have taken.
    said = [line for line in said if "error" in line] or said
    return (
        one_line(said[-1], most=400)
        if said
        else f"exit code {done.code} without a word"
    )
