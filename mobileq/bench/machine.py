"""Where something was measured."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from mobileq.bench.noise import load_average

PACKAGES = ("numpy", "torch", "escnn", "onnxruntime", "ai-edge-litert")
"""Whose versions may change the figures."""

FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""Instructions that decide how fast integers and floats are multiplied."""

UNKNOWN = "unknown"
"""Where the system does not say, as in most virtual machines."""

_NAMES = ("Model", "Hardware", "model name")
"""Keys of Linux's list of processors, the most telling first: on ARM a board has the
first, a phone the second, and the third says no more than the architecture's version;
on x86 there is only the third."""

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        processor: Name of the processor.
        cores: Logical cores that this process may use.
        system: Operating system and architecture.
        python: Version.
        packages: Versions of `PACKAGES`, where installed.
        flags: Those of `FLAGS` that the processor has.
        governor: How the clock is chosen, such as `performance` or `powersave`.
        memory_bytes: Of the machine; 0 where it is not known.
        kernel: Release of the operating system's kernel.
        load: Load average of the last minute; None where it is not known, or where
            nothing is timed: figures that do not depend on it are the same every time.
    """

    processor: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]
    flags: tuple[str, ...] = ()
    governor: str = UNKNOWN
    memory_bytes: int = 0
    kernel: str = UNKNOWN
    load: float | None = None

    def __str__(self) -> str:
        """One line."""
        plural = "" if self.cores == 1 else "s"
        return f"{self.processor}, {self.cores} core{plural}, {self.system}"

    @property
    def details(self) -> str:
        """A second line: instructions, clock, memory, kernel, load."""
        parts = [" ".join(self.flags) or "no vector instructions known"]
        parts.append(f"frequency governor {self.governor}")
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / 2**30:.1f} GiB of memory")
        parts.append(f"kernel {self.kernel}")
        if self.load is not None:
            parts.append(f"load {self.load:.2f} at the start")
        return ", ".join(parts)


@dataclass(frozen=True)
class Device:
    """A phone or board that files were run on.

    Attributes:
        name: Serial number, or user@host.
        kind: `android` or `linux`.
        model: Such as `Google Pixel 8`; `unknown` where it does not say.
        soc: System on a chip.
        machine: Architecture, such as `aarch64`.
        system: Such as `Android 14 (SDK 34)`.
        build: Android's fingerprint of the build; empty on Linux.
        kernel: Release of the kernel.
        max_khz: Highest frequency of each core in kHz; 0 where it is not known.
        flags: Instructions that all cores have and that matter here.
        governor: How the clock is chosen.
        memory_bytes: Of the device; 0 where it is not known.
        tool: What timed the files, with version or hash.
        state: Battery and heat at the beginning; empty where it does not say.
    """

    name: str
    kind: str
    model: str
    soc: str
    machine: str
    system: str
    build: str
    kernel: str
    max_khz: tuple[int, ...]
    flags: tuple[str, ...]
    governor: str
    memory_bytes: int
    tool: str
    state: str

    def __str__(self) -> str:
        """One line."""
        parts = (
            self.model,
            self.soc,
            self.system,
            self.machine,
            f"kernel {self.kernel}",
        )
        known = [part for part in parts if part and UNKNOWN not in part]
        return f"{self.name}: {', '.join(known)}"

    def facts(self) -> dict[str, str]:
        """Everything, as text by name; what is not known is left out."""
        clocks = [khz for khz in self.max_khz if khz]
        found = {
            "model": self.model,
            "system on a chip": self.soc,
            "system": self.system,
            "build": self.build,
            "kernel": self.kernel,
            "architecture": self.machine,
            "cores": str(len(self.max_khz)),
            "highest clocks": ", ".join(
                f"{clocks.count(khz)} x {khz / 1e6:.2f} GHz"
                for khz in sorted(set(clocks))
            ),
            "instructions": " ".join(self.flags),
            "frequency governor": self.governor,
            "memory": f"{self.memory_bytes / 2**30:.1f} GiB" * bool(self.memory_bytes),
            "timed by": self.tool,
            "at the beginning": self.state,
        }
        return {key: text for key, text in found.items() if text and text != UNKNOWN}


def this_machine() -> Machine:
    """The machine and the versions that are running."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    usable = getattr(os, "sched_getaffinity", None)
    return Machine(
        processor=processor_name(),
        cores=len(usable(0)) if usable else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=packages,
        flags=processor_flags(),
        governor=_text(_GOVERNOR) or UNKNOWN,
        memory_bytes=_memory(),
        kernel=platform.release() or UNKNOWN,
    )


def busy_machine() -> Machine:
    """This machine and how busy it is, for figures that are times."""
    return replace(this_machine(), load=load_average())


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, or at least its architecture.

    Args:
        cpuinfo: Linux's list of processors.
    """
    entries = _entries(cpuinfo)
    for wanted in _NAMES:
        for key, value in entries:
            if key == wanted and value:
                return value
    return platform.processor() or platform.machine()


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Those of `FLAGS` that every processor has, in their order.

    Phones have processors of several kinds, and a thread may run on any of them.

    Args:
        cpuinfo: Linux's list of processors.
    """
    found = [
        set(value.split())
        for key, value in _entries(cpuinfo)
        if key in ("flags", "Features")
    ]
    common = set.intersection(*found) if found else set()
    return tuple(flag for flag in FLAGS if flag in common)


def _entries(cpuinfo: Path) -> list[tuple[str, str]]:
    """Keys and values of Linux's list of processors."""
    lines = (line.partition(":") for line in _text(cpuinfo).splitlines())
    return [(key.strip(), value.strip()) for key, _, value in lines]


def _memory() -> int:
    """Physical memory in bytes; 0 where it is not known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _text(path: Path) -> str:
    """A file of the system, or nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
