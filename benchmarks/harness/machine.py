"""Where a benchmark ran: processor, cores, instructions, versions, load. No dates."""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from mobileq import __version__
from mobileq.bench.machine import busy_machine

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
"""Instructions that decide how fast integers are."""

BUSY = 0.5
"""Other programs' load per core from which timings are said to be disturbed."""


def describe() -> dict[str, Any]:
    """Plain values."""
    found: dict[str, Any] = asdict(busy_machine())
    for name in ("ai-edge-quantizer", "tensorflow-cpu"):
        try:
            found["packages"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0]
    return {**found, "mobileq": __version__, "flags": flags(), "load": round(load, 1)}


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Those of `FLAGS` that the processor has.

    Args:
        cpuinfo: Linux's list of processors.
    """
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return []
    return [flag for flag in FLAGS if flag in words]
