"""The emulated arm64 system: where it is, whether it is whole, how to make one.

    DIRECTORY/root          arm64 Debian with Python 3.11
    DIRECTORY/packages      LiteRT and numpy for it
    DIRECTORY/qemu-aarch64  the emulator; without, one on PATH
    DIRECTORY/complete      written last

`tools/arm64_root.sh DIRECTORY` makes it. Nothing is installed: the emulator runs the
system's Python as a plain process, and looks for libraries in `root` first.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mobileq.errors import InputError, NotInstalledError

VARIABLE = "MOBILEQ_ARM64_ROOT"
CPUS = ("cortex-a53", "cortex-a76", "neoverse-v1")
"""Without and with dot products, and with matrix products of 8-bit integers: XNNPACK
has kernels of its own for each."""

EMULATOR = "qemu-aarch64"
OLDEST_EMULATOR = 10
"""qemu-user 7.2 computes wrong INT8 results with some processors."""

_MACHINE_AARCH64 = 183
"""e_machine of an ELF file (elf.h: EM_AARCH64)."""

_PATIENCE = 60.0
"""Seconds for the emulator to say what it is."""

_REMEDY = (
    "run tools/arm64_root.sh DIRECTORY of mobileq's repository on Debian or Ubuntu, "
    f"and give DIRECTORY with --root or {VARIABLE}"
)


@dataclass(frozen=True)
class Arm64Root:
    """An arm64 system and its emulator, both checked.

    Attributes:
        directory: What `tools/arm64_root.sh` made.
        emulator: The emulator, as a program of this machine.
        version: The emulator's, such as 10.0.2.
        cpus: Names of the processors that it knows.
    """

    directory: Path
    emulator: Path
    version: str
    cpus: frozenset[str]

    @property
    def system(self) -> Path:
        """Where the emulated process finds its libraries."""
        return self.directory / "root"

    @property
    def python(self) -> Path:
        """The arm64 Python."""
        return _python(self.directory)

    @property
    def packages(self) -> Path:
        """Where its packages lie."""
        return self.directory / "packages"

    def command(self, cpu: str) -> list[str]:
        """How the arm64 Python is started on a processor; its arguments follow.

        Raises:
            InputError: the emulator does not know the processor.
        """
        if cpu not in self.cpus:
            raise InputError(
                f"processor {cpu!r} is unknown to {self.emulator}; wanted one of "
                f"'{EMULATOR} -cpu help', such as {', '.join(CPUS)}"
            )
        return [
            str(self.emulator),
            *("-cpu", cpu, "-L", str(self.system)),
            *(str(self.python), "-I"),
        ]


def find_root(told: Path | None = None) -> Arm64Root:
    """The arm64 system that is asked for.

    Args:
        told: Its directory; the environment's MOBILEQ_ARM64_ROOT otherwise.

    Raises:
        NotInstalledError: there is none, it is not whole, it is of another
            architecture, or there is no emulator that is new enough.
    """
    named = told or Path(os.environ.get(VARIABLE) or "")
    if not named.name:
        raise NotInstalledError(
            f"no arm64 system: neither --root nor {VARIABLE} names one; wanted its "
            f"directory ({_REMEDY})"
        )
    directory = named.absolute()
    _check(directory)
    emulator = _emulator(directory)
    version = _version(emulator)
    known = _says(emulator, "-cpu", "help")
    return Arm64Root(directory, emulator, version, frozenset(known.split()))


def _python(directory: Path) -> Path:
    """Where the arm64 Python is, if it is there."""
    return directory / "root" / "usr" / "bin" / "python3"


def _check(directory: Path) -> None:
    """Check that a directory holds an arm64 Python and what it imports.

    Raises:
        NotInstalledError: it does not.
    """
    python, packages = _python(directory), directory / "packages"
    parts = (
        (python, "an arm64 Python"),
        (packages / "ai_edge_litert", "LiteRT"),
        (packages / "numpy", "numpy"),
        (directory / "complete", "what tools/arm64_root.sh writes last"),
    )
    for path, what in parts:
        if not path.exists():
            raise NotInstalledError(
                f"{directory}: no arm64 system: {path} is missing; wanted {what} "
                f"({_REMEDY})"
            )
    try:
        with python.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise NotInstalledError(
            f"{python}: cannot be read ({error.strerror}); wanted an arm64 Python "
            f"({_REMEDY})"
        ) from error
    machine = int.from_bytes(head[18:20], "little")
    if head[:6] != b"\x7fELF\x02\x01" or machine != _MACHINE_AARCH64:
        found = f"of ELF machine {machine}" if head[:4] == b"\x7fELF" else "no program"
        raise NotInstalledError(
            f"{python}: {found}; wanted one of machine {_MACHINE_AARCH64}, arm64 "
            f"({_REMEDY})"
        )


def _emulator(directory: Path) -> Path:
    """The directory's emulator, or the one on PATH.

    Raises:
        NotInstalledError: there is none.
    """
    own = directory / EMULATOR
    if os.access(own, os.X_OK) and own.is_file():
        return own
    found = shutil.which(EMULATOR)
    if found is None:
        raise NotInstalledError(
            f"no {EMULATOR}, neither {own} nor on PATH; wanted qemu-user "
            f"{OLDEST_EMULATOR} or newer ({_REMEDY})"
        )
    return Path(found)


def _version(emulator: Path) -> str:
    """Which version an emulator is.

    Raises:
        NotInstalledError: it is too old, or none.
    """
    told = _says(emulator, "--version")
    match = re.search(r"qemu-aarch64 version ((\d+)[\d.]*)", told)
    if match is None or int(match[2]) < OLDEST_EMULATOR:
        found = f"version {match[1]}" if match else f"says {told[:80].strip()!r}"
        raise NotInstalledError(
            f"{emulator}: {found}; wanted qemu-user {OLDEST_EMULATOR} or newer "
            f"({_REMEDY})"
        )
    return match[1]


def _says(emulator: Path, *arguments: str) -> str:
    """What an emulator prints.

    Raises:
        NotInstalledError: it does not run.
    """
    try:
        done = subprocess.run(
            [str(emulator), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(
            f"{emulator}: does not run ({error}); wanted qemu-user {OLDEST_EMULATOR} "
            f"or newer ({_REMEDY})"
        ) from error
    return done.stdout.decode(errors="replace")
