"""Programs on a device: with a time limit, and ended when they must be."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mobileq_android.errors import ToolError
from mobileq_android.facts import mask_of
from mobileq_android.parse import last_words
from mobileq_android.process import Done
from mobileq_android.target import Target

_GROUP = (
    "group=$({ ps -A -o PID,PGID || ps -A -o pid,pgid; } 2>/dev/null | "
    'while read -r a b; do [ "$a" = $$ ] && echo "$b"; done); '
    '[ -n "$group" ] || read -r a b c d group e </proc/$$/stat; true'
)
"""Finds the process group of the shell, which adbd and sshd make for every command. The
kernel's own file is asked where there is no ps: emulators make up what is in it."""


class Programs:
    """Runs one program after the other on a device.

    Args:
        target: The device.
        folder: Directory there that is this run's alone.
    """

    def __init__(self, target: Target, folder: str) -> None:
        self._target = target
        self.folder = folder

    def run(
        self,
        command: Sequence[str],
        what: str,
        *,
        patience: float,
        cores: tuple[int, ...] = (),
    ) -> Done:
        """Run a program to its end.

        Args:
            command: Program and arguments.
            what: It is, for messages.
            patience: Seconds that it may take.
            cores: It is kept on; any if there are none.

        Raises:
            DeviceGoneError: the device has vanished.
            ToolError: it fails or hangs.
        """
        pinned = [*(["taskset", mask_of(cores)] if cores else []), *command]
        # exec keeps the number of the shell.
        script = f'cd "$1" && {_GROUP} && echo $$ "$group" >pid && shift && exec "$@"'
        done = self._target.run(
            ["sh", "-c", script, "sh", self.folder, *pinned], timeout=patience
        )
        name = f"{self._target.name}: {what}"
        if done.code is None:
            self.kill(self._target)
            raise ToolError(
                f"{name}: no end after {patience:g} s{last_words(done.text)}; "
                f"wanted figures (the tool hangs, or the network is too large)"
            )
        self._target.run(["rm", "-f", f"{self.folder}/pid"])
        if done.code != 0:
            raise ToolError(
                f"{name}: {_ending(done.code)}{last_words(done.text)}; wanted "
                f"figures (leave this delegate out, or try another build of the tool)"
            )
        return done

    def kill(self, target: Target) -> None:
        """End what still runs, and what it has started.

        Args:
            target: The device, for clean-up.
        """
        # Never the group that this shell itself is in: where there is no group for
        # each command, that is adbd's.
        script = (
            f'read -r p g <"$1" || exit 0; {_GROUP}; '
            '[ "$g" -le 1 ] || [ "$g" = "$group" ] || kill -9 -"$g"; '
            'kill -9 "$p"; rm -f "$1"'
        )
        pid = f"{self.folder}/pid"
        target.run(["sh", "-c", f"{{ {script}; }} 2>/dev/null", "sh", pid])

    def push(self, data: bytes, path: str) -> None:
        """Write a file on the device.

        Raises:
            PhoneError: it does not take it.
        """
        with tempfile.TemporaryDirectory(prefix="mobileq-push-") as folder:
            place = Path(folder) / "file"
            place.write_bytes(data)
            self._target.push(place, path)


def _ending(code: int) -> str:
    """How a program on the device ended."""
    if 128 < code < 128 + 65:
        return f"was ended by signal {code - 128}"
    return f"ended with exit code {code}"
