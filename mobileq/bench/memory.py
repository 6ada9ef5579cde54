"""Resident memory of this process."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_KIB = 1024


def resident_bytes() -> int:
    """Resident memory now; the peak where the system does not say."""
    return _from_status("VmRSS") or _largest()


def peak_bytes() -> int:
    """Most resident memory so far.

    Linux keeps two figures. `ru_maxrss` outlives `exec`: of a process just started it
    is what its parent had, so a small process of a large parent would look large.
    `VmHWM` begins anew, and is taken where there is one.
    """
    return _from_status("VmHWM") or _largest()


def _from_status(key: str) -> int:
    """A line of Linux's status file, in bytes; 0 where there is none."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * _KIB
    return 0


def _largest() -> int:
    """The same by `getrusage`, which counts bytes on macOS and KiB elsewhere."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * _KIB
