"""Which cores are chosen, on machines made of files; and memory of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench import memory
from mobileq.bench.cores import allowed_cores, choose_cores, pin
from mobileq.bench.memory import peak_bytes, resident_bytes

KHZ = (800_000, 1_800_000, 3_200_000)

linux_only = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system pins no process to cores"
)


@dataclass(frozen=True)
class Topology:
    """A machine.

    Attributes:
        physical: Number of the physical core of each logical one.
        clock: Highest clock of each logical core in kHz; None where it is not told.
    """

    physical: Sequence[int]
    clock: Sequence[int | None]

    @contextmanager
    def files(self) -> Iterator[Path]:
        """As Linux shows it."""
        with TemporaryDirectory() as folder:
            system = Path(folder)
            for core, physical in enumerate(self.physical):
                same = [i for i, p in enumerate(self.physical) if p == physical]
                topology = system / f"cpu{core}" / "topology"
                topology.mkdir(parents=True)
                siblings = topology / "thread_siblings_list"
                siblings.write_text(",".join(map(str, same)) + "\n")
                clock = self.clock[core]
                if clock is not None:
                    cpufreq = system / f"cpu{core}" / "cpufreq"
                    cpufreq.mkdir()
                    (cpufreq / "cpuinfo_max_freq").write_text(f"{clock}\n")
            yield system

    def choose(
        self, threads: int, allowed: Sequence[int] | None = None
    ) -> tuple[int, ...]:
        """What is chosen of it."""
        everything = range(len(self.physical))
        with self.files() as system:
            return choose_cores(
                threads, tuple(everything if allowed is None else allowed), system
            )


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Up to ten logical cores; both threads of a physical core have its clock."""
    size = draw(st.integers(1, 10))
    physical = draw(st.lists(st.integers(0, size - 1), min_size=size, max_size=size))
    known = draw(st.booleans())
    clocks: Mapping[int, int] = {
        core: draw(st.sampled_from(KHZ)) for core in sorted(set(physical))
    }
    return Topology(physical, [clocks[p] if known else None for p in physical])


@given(topologies(), st.integers(1, 12), st.data())
def test_any_machine(machine: Topology, threads: int, data: st.DataObject) -> None:
    """As many as asked for if there are; physical cores first, and the fastest."""
    every = range(len(machine.physical))
    allowed = sorted(data.draw(st.sets(st.sampled_from(every))))
    chosen = machine.choose(threads, allowed)
    assert len(chosen) == min(threads, len(allowed))
    assert list(chosen) == sorted(set(chosen))
    assert set(chosen) <= set(allowed)
    available = {machine.physical[core] for core in allowed}
    taken = {machine.physical[core] for core in chosen}
    assert len(taken) == min(len(chosen), len(available))
    # No physical core is left out that is faster than one that is taken.
    clock = {p: machine.clock[i] or 0 for i, p in enumerate(machine.physical)}
    if available - taken:
        slowest = min((clock[core] for core in taken), default=max(KHZ))
        assert max(clock[core] for core in available - taken) <= slowest


@given(topologies(), st.data())
def test_one_more_thread(machine: Topology, data: st.DataObject) -> None:
    """Cores of fewer threads are among those of more, so that rows can be compared."""
    threads = data.draw(st.integers(1, 10))
    assert set(machine.choose(threads)) <= set(machine.choose(threads + 1))


def test_desktop_with_two_threads_per_core() -> None:
    """Of four cores with two threads each, the last thread of the last cores first."""
    machine = Topology([0, 1, 2, 3, 0, 1, 2, 3], [KHZ[2]] * 8)
    assert machine.choose(1) == (7,)
    assert machine.choose(4) == (4, 5, 6, 7)
    assert machine.choose(5) == (3, 4, 5, 6, 7)


def test_phone() -> None:
    """Of four small, three large and one largest core, the largest come first."""
    machine = Topology(range(8), [KHZ[0]] * 4 + [KHZ[1]] * 3 + [KHZ[2]])
    assert machine.choose(1) == (7,)
    assert machine.choose(4) == (4, 5, 6, 7)
    assert machine.choose(5) == (3, 4, 5, 6, 7)
    assert machine.choose(4, [0, 1, 2, 3, 5]) == (1, 2, 3, 5)


def test_silent_machine(tmp_path: Path) -> None:
    """Where the system tells nothing, every core counts as one, and the last wins."""
    assert choose_cores(2, (0, 1, 2, 3), tmp_path / "nothing") == (2, 3)
    assert choose_cores(2, (), tmp_path / "nothing") == ()


def test_nonsense_for_a_clock(tmp_path: Path) -> None:
    """A clock that is no number counts as one that is not known."""
    for text in ("", "<unknown>", "-5", "3.2e6", "²"):
        folder = tmp_path / "cpu0" / "cpufreq"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpuinfo_max_freq").write_text(text, encoding="utf-8")
        assert choose_cores(1, (0, 1), tmp_path) == (1,)


@linux_only
def test_pinning() -> None:
    """A pinned thread is on these cores and no others; no cores change nothing."""
    before = os.sched_getaffinity(0)
    try:
        pin(())
        assert os.sched_getaffinity(0) == before
        chosen = choose_cores(1)
        pin(chosen)
        assert os.sched_getaffinity(0) == set(chosen)
        assert allowed_cores() == chosen
    finally:
        os.sched_setaffinity(0, before)


def test_cores_of_this_machine() -> None:
    """They are among those that this process may use."""
    assert set(choose_cores(1)) <= set(allowed_cores())
    assert choose_cores(10**6) == allowed_cores()


def test_system_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes cannot be pinned, nothing is chosen and nothing done."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert allowed_cores() == choose_cores(4) == ()
    pin((0,))


def test_memory_grows_with_an_array() -> None:
    """64 MiB that are written to are resident, and stay in the peak when let go."""
    size = 2**26
    before = resident_bytes()
    ballast = np.ones(size, np.uint8)
    grown = resident_bytes()
    # Something else may have been given back meanwhile, but not half of it.
    assert grown - before > size // 2
    # Linux counts pages of each thread in lots, and adds them up a little late.
    assert peak_bytes() >= grown - 2**20
    peak = peak_bytes()
    del ballast
    assert peak_bytes() >= peak - 2**20


def test_memory_is_read_in_kib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux's status file counts in KiB; the two lines are not mixed up."""
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmPeak:\t9 kB\nVmHWM:\t    20 kB\nVmRSS:\t   10 kB\n")
    monkeypatch.setattr(memory, "_STATUS", status)
    assert (resident_bytes(), peak_bytes()) == (10 * 1024, 20 * 1024)


@pytest.mark.parametrize("content", [None, "Name:\tx\n", ""])
def test_memory_where_the_system_does_not_say(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the file, or without the lines, the peak by `getrusage` is taken."""
    import resource

    status = tmp_path / "status"
    if content is not None:
        status.write_text(content)
    monkeypatch.setattr(memory, "_STATUS", status)
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    assert resident_bytes() >= found * unit
    assert peak_bytes() >= found * unit
