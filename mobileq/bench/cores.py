"""Which cores a runtime is pinned to."""

from __future__ import annotations

import os
from pathlib import Path

_SYSTEM = Path("/sys/devices/system/cpu")


def allowed_cores() -> tuple[int, ...]:
    """Logical cores that this process may use; none where the system does not say."""
    usable = getattr(os, "sched_getaffinity", None)
    return tuple(sorted(usable(0))) if usable else ()


def choose_cores(
    threads: int, allowed: tuple[int, ...] | None = None, system: Path = _SYSTEM
) -> tuple[int, ...]:
    """Cores for a number of threads, the fastest first.

    A thread gets a physical core of its own as long as there are any: two threads of
    one core share its arithmetic units. Among equals the highest number wins, because
    the system's own work and most interrupts are on the lowest.

    Args:
        threads: How many are wanted.
        allowed: Logical cores to choose from; by default `allowed_cores()`.
        system: Linux's directory of processors.

    Returns:
        `threads` of them, or all if there are fewer; sorted.
    """
    cores = allowed_cores() if allowed is None else allowed
    ranked = sorted(cores, key=lambda core: (-_frequency(core, system), -core))
    seen: dict[str, int] = {}
    turn: dict[int, int] = {}
    for core in ranked:
        physical = _read(system / f"cpu{core}" / "topology" / "thread_siblings_list")
        physical = physical or str(core)
        turn[core] = seen.get(physical, 0)
        seen[physical] = turn[core] + 1
    # Sorting is stable: first one thread of every physical core, then the second ones.
    ranked.sort(key=lambda core: turn[core])
    return tuple(sorted(ranked[:threads]))


def pin(cores: tuple[int, ...]) -> None:
    """Keep this thread, and the threads it will start, on some cores.

    Args:
        cores: None to leave things as they are.
    """
    settle = getattr(os, "sched_setaffinity", None)
    if settle and cores:
        settle(0, cores)


def _frequency(core: int, system: Path) -> int:
    """Highest clock of a core in kHz; 0 where it is not known."""
    text = _read(system / f"cpu{core}" / "cpufreq" / "cpuinfo_max_freq")
    return int(text) if text.isdigit() else 0


def _read(path: Path) -> str:
    """A small file of the system, or nothing."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
