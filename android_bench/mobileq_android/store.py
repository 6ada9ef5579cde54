"""Files on a device, by the hash of their content.

    FOLDER/<sha256>        a file; its name says what it holds
    FOLDER/<sha256>.part-* a push under way; one of a killed run goes a day later
    FOLDER/run-*/          what one run needs besides

No name of this machine's files is ever used over there.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from pathlib import Path

from mobileq_android.errors import PhoneError, one_line
from mobileq_android.state import look
from mobileq_android.target import Target

SPARE_BYTES = 2**24
"""Left free besides what is pushed, for outputs."""


class Store:
    """Our directory on a device, made if it is not there, and for us alone.

    Args:
        target: The device.

    Raises:
        DeviceGoneError: it cannot be reached.
        PhoneError: the directory cannot be made.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pushed: list[str] = []
        self.run_folder = f"{target.folder}/run-{uuid.uuid4().hex[:12]}"
        self._shell('mkdir -p -m 700 "$1" && mkdir -m 700 "$2"', self.run_folder)

    @property
    def pushed(self) -> tuple[str, ...]:
        """Paths of the files that were not there before."""
        return tuple(self._pushed)

    def put(self, source: Path, *, program: bool = False) -> str:
        """Bring a file there, unless it is there already.

        Args:
            source: The file.
            program: Whether it is to be run.

        Returns:
            Its path on the device.

        Raises:
            DeviceGoneError: the device cannot be reached.
            PhoneError: no such file, no space, or what arrives is not what was sent.
        """
        try:
            data = source.read_bytes()
        except OSError as error:
            raise PhoneError(
                f"{source}: cannot be read ({error.strerror}); wanted a file"
            ) from error
        digest = hashlib.sha256(data).hexdigest()
        path = f"{self._target.folder}/{digest}"
        mode = "700" if program else "600"
        if self._digest(path) == digest:
            self._shell('chmod "$2" "$1"', mode, folder=path)
            return path
        self._check_space(source, len(data))
        partial = f"{path}.part-{uuid.uuid4().hex[:12]}"
        try:
            self._target.push(source, partial)
            found = self._digest(partial)
            if found != digest:
                raise PhoneError(
                    f"{self._target.name}: {source} arrived with SHA-256 "
                    f"{found or 'unknown'}; wanted {digest} (push again; check the "
                    f"cable)"
                )
        except PhoneError:
            self._drop(partial)
            raise
        self._pushed.append(path)
        self._shell('chmod "$2" "$1" && mv -f "$1" "$3"', mode, path, folder=partial)
        return path

    def clean(self, target: Target, *, keep: bool) -> None:
        """Remove what this run has made, and the directory if nothing else is in it.

        Args:
            target: The device, for clean-up.
            keep: Whether pushed files stay, so that the next run pushes nothing.

        Raises:
            DeviceGoneError: the device cannot be reached.
            PhoneError: something cannot be removed.
        """
        paths = [self.run_folder, *([] if keep else self._pushed)]
        done = target.run(["rm", "-rf", *paths])
        # What killed runs have left; not what another run needs just now.
        leftovers = (
            'find "$1" -mindepth 1 -maxdepth 1 -mtime +0 '
            '"(" -name "*.part-*" -o -name "run-*" ")" -exec rm -rf {} + 2>/dev/null; '
            'rmdir "$1" 2>/dev/null; true'
        )
        target.run(["sh", "-c", leftovers, "sh", target.folder])
        if done.code != 0:
            raise PhoneError(
                f"{target.name}: {target.folder} cannot be cleaned "
                f"({one_line(done.text)}); wanted it empty (remove it by hand)"
            )

    def _check_space(self, source: Path, size: int) -> None:
        """Check that a file fits.

        Raises:
            PhoneError: it does not.
        """
        free = look(self._target, self._target.folder).free_bytes
        if free is not None and free < size + SPARE_BYTES:
            raise PhoneError(
                f"{self._target.name}: {free:,} bytes are free for {source} of "
                f"{size:,} bytes; wanted {size + SPARE_BYTES:,} (make room on the "
                f"device)"
            )

    def _digest(self, path: str) -> str | None:
        """SHA-256 of a file on the device; None if there is none."""
        done = self._target.run(["sha256sum", path])
        found = re.match(rb"\\?([0-9a-f]{64})\b", done.out)
        return found[1].decode() if done.code == 0 and found else None

    def _drop(self, path: str) -> None:
        """Remove a file, if the device still answers."""
        try:
            self._target.unstopped().run(["rm", "-f", path])
        except PhoneError:
            return

    def _shell(self, script: str, *more: str, folder: str | None = None) -> None:
        """Run a script on our directory, or on another path.

        Raises:
            PhoneError: it fails.
        """
        place = folder or self._target.folder
        done = self._target.run(["sh", "-c", script, "sh", place, *more])
        if done.code != 0:
            raise PhoneError(
                f"{self._target.name}: {place}: {one_line(done.text)}; wanted a "
                f"directory that can be written"
            )
