"""Was the machine quiet while something was timed?

Three signs are taken, because each one misses what another one sees:

    spin     a loop of fixed work, timed between the blocks on the same cores. It grows
             when the clock changes or the core is shared.
    steal    time that a hypervisor gave to other guests (/proc/stat).
    others   processor time of all programs but the ones that were timed (/proc/stat).

The load average is recorded but decides nothing: it covers the minute before, in which
whoever measures was busy preparing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPIN_LIMIT = 1.2
"""p90 of the loop over its median. On an idle machine it is below 1.05; a core that two
programs share gives 2."""

STEAL_LIMIT = 0.01
"""Share of all processor time; 1 % of steal is a p99 that belongs to a neighbour."""

OTHERS_LIMIT = 0.1
"""Share of all processor time that other programs took. Below that, they disturb less
than a timer interrupt."""

_STAT = Path("/proc/stat")
_STEAL = 7
_IDLE = (3, 4)
_GUEST = 8
"""Fields of /proc/stat from here on are counted in `user` and `nice` already."""


@dataclass(frozen=True)
class Noise:
    """How quiet it was; None where the system does not say.

    Attributes:
        spin: p90 of the fixed loop over its median; None with fewer than ten.
        steal: Share of processor time that the hypervisor took, 0 to 1.
        others: Share of processor time that other programs took, 0 to 1.
        load: Load average of the minute before, in runnable tasks.
    """

    spin: float | None
    steal: float | None
    others: float | None
    load: float | None

    @property
    def noisy(self) -> bool:
        """Whether one of the limits is broken."""
        return bool(self._reasons())

    @property
    def sentence(self) -> str:
        """What to tell whoever reads the times; empty for a quiet machine."""
        reasons = self._reasons()
        if not reasons:
            return ""
        return (
            f"The machine was noisy while latency was measured: {'; '.join(reasons)}. "
            f"Compare ratios rather than milliseconds, or measure again on an idle "
            f"machine."
        )

    def _reasons(self) -> list[str]:
        """What breaks which limit."""
        found = []
        if self.spin is not None and self.spin > SPIN_LIMIT:
            found.append(
                f"one in ten repetitions of a fixed loop took {self.spin:.2f} times "
                f"the usual time or more (at most {SPIN_LIMIT:g} on a quiet one)"
            )
        if self.steal is not None and self.steal > STEAL_LIMIT:
            found.append(
                f"the hypervisor took {self.steal:.1%} of the processor time (at most "
                f"{STEAL_LIMIT:.0%})"
            )
        if self.others is not None and self.others > OTHERS_LIMIT:
            found.append(
                f"other programs took {self.others:.0%} of the processor time (at most "
                f"{OTHERS_LIMIT:.0%})"
            )
        return found


@dataclass(frozen=True)
class _Ticks:
    """Processor time since boot, of all cores.

    Attributes:
        total: In ticks.
        busy: Not idle and not stolen.
        steal: Taken by the hypervisor.
    """

    total: int
    busy: int
    steal: int


class NoiseMeter:
    """Watches the machine from its creation to `finish`.

    Args:
        own_seconds: Returns the processor time of the programs that are timed, in
            seconds; that of this process is added.
        stat: Linux's counters.
    """

    def __init__(
        self, own_seconds: Callable[[], float] = lambda: 0.0, stat: Path = _STAT
    ) -> None:
        self._own = own_seconds
        self._stat = stat
        self._load = load_average()
        self._spins: list[int] = []
        self._before = _ticks(stat)
        self._own_before, self._this_before = own_seconds(), _this_process()

    def add(self, spin_ns: int) -> None:
        """Note how long the fixed loop took."""
        self._spins.append(spin_ns)

    def finish(self) -> Noise:
        """What was seen."""
        steal, others = None, None
        now = _ticks(self._stat)
        if self._before is not None and now is not None:
            total = now.total - self._before.total
            if total > 0:
                # Apart, since a sum of both would be rounded.
                own = self._own() - self._own_before
                own += _this_process() - self._this_before
                ticks = own * os.sysconf("SC_CLK_TCK")
                busy = now.busy - self._before.busy
                # Linux's counters of steal and iowait may run backwards for a while,
                # and both times are rounded to ticks.
                steal = _share(now.steal - self._before.steal, total)
                others = _share(busy - ticks, total)
        return Noise(spin_ratio(self._spins), steal, others, self._load)


def spin_ratio(nanoseconds: Sequence[int]) -> float | None:
    """p90 over the median; None with fewer than ten times."""
    if len(nanoseconds) < 10:
        return None
    median, p90 = np.percentile(np.asarray(nanoseconds, np.float64), (50, 90))
    return float(p90 / median)


def load_average() -> float | None:
    """Runnable tasks, averaged over the last minute; None where it is not known."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows has no such function
        return None


def _share(part: float, total: int) -> float:
    """Part of a whole, held between 0 and 1."""
    return min(1.0, max(0.0, part / total))


def _this_process() -> float:
    """Processor time of this process, in seconds."""
    spent = os.times()
    return spent.user + spent.system


def _ticks(stat: Path) -> _Ticks | None:
    """Read the counters; None where there are none."""
    try:
        first = stat.read_text(encoding="ascii", errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return None
    fields = first.split()
    if fields[:1] != ["cpu"]:
        return None
    del fields[0]
    if len(fields) <= _STEAL or not all(f.isdigit() for f in fields):
        return None
    values = [int(field) for field in fields[:_GUEST]]
    total, steal = sum(values), values[_STEAL]
    return _Ticks(total, total - steal - sum(values[i] for i in _IDLE), steal)
