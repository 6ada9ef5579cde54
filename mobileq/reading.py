"""Files that nobody vouches for are read whole, within bounds, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 2**31
"""Of any file that is read into memory; the largest networks of phones have a tenth."""


def read_bounded(path: Path, most: int = MOST_BYTES) -> bytes:
    """Bytes of a regular file.

    A named pipe or a device would never end, or make the program wait.

    Args:
        path: Of the file.
        most: Largest size in bytes.

    Raises:
        OSError: missing, not readable, not a regular file, or too large; `strerror`
            says which.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if found.st_size > most:
            text = f"{found.st_size:,} bytes, more than {most:,}"
            raise OSError(errno.EFBIG, text, str(path))
        return file.read(most)
