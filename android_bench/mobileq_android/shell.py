"""Text for a device's shell.

`adb shell` and `ssh` join their arguments with blanks and give the whole to a shell on
the other side, so every argument is quoted here, for POSIX shells (mksh, dash, toybox
sh). Nothing that a name holds is ever executed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from mobileq_android.errors import PhoneError


def quoted(command: Sequence[str]) -> str:
    """A command line of which the shell makes exactly these arguments.

    Args:
        command: Program and arguments.

    Raises:
        PhoneError: an argument holds a NUL, which no program can be given.
    """
    for argument in command:
        if "\0" in argument:
            raise PhoneError(
                f"argument {argument!r}: holds a NUL character; wanted a name without"
            )
    return shlex.join(command)
