"""What is said of a machine, and whether it was quiet: from files as Linux has them."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench.machine import (
    FLAGS,
    UNKNOWN,
    Machine,
    busy_machine,
    processor_flags,
    processor_name,
    this_machine,
)
from mobileq.bench.noise import (
    OTHERS_LIMIT,
    SPIN_LIMIT,
    STEAL_LIMIT,
    Noise,
    NoiseMeter,
    load_average,
    spin_ratio,
)

DESKTOP = """\
processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 106
model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni amx_int8x
vmx flags\t: vnmi avx_vnni
bugs\t\t: spectre_v1

processor\t: 1
vendor_id\t: GenuineIntel
model\t\t: 106
model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni
power management:
"""

PHONE = """\
Processor\t: AArch64 Processor rev 14 (aarch64)
processor\t: 0
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes fphp asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd05

processor\t: 7
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes fphp asimdhp asimddp i8mm sve
CPU implementer\t: 0x41
CPU part\t: 0xd44

Hardware\t: Qualcomm Technologies, Inc SM8350
"""

BOARD = """\
processor\t: 0
model name\t: ARMv8 Processor rev 3 (v8l)
BogoMIPS\t: 108.00
Features\t: fp asimd crc32 cpuid

Hardware\t: BCM2835
Revision\t: c03114
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""

FIELDS = 10
"""Of the first line of /proc/stat: user nice system idle iowait irq softirq steal
guest guest_nice."""

counts = st.lists(st.integers(0, 10**6), min_size=FIELDS, max_size=FIELDS)


def written(path: Path, text: str) -> Path:
    """A file with this text."""
    path.write_text(text, encoding="utf-8")
    return path


def stat(path: Path, values: list[int]) -> Path:
    """Counters as Linux shows them, of all cores and of one."""
    line = " ".join(map(str, values))
    return written(path, f"cpu  {line}\ncpu0 {line}\nintr 1 2 3\n")


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        (
            DESKTOP,
            "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
            ("avx2", "avx512f", "avx512_vnni"),
        ),
        (PHONE, "Qualcomm Technologies, Inc SM8350", ("asimd", "asimddp")),
        (BOARD, "Raspberry Pi 4 Model B Rev 1.4", ("asimd",)),
    ],
    ids=["desktop", "phone", "board"],
)
def test_processors(
    text: str, name: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """The most telling name; of the flags only those that all its processors have."""
    cpuinfo = written(tmp_path / "cpuinfo", text)
    assert processor_name(cpuinfo) == name
    assert processor_flags(cpuinfo) == flags


@pytest.mark.parametrize("text", [None, "", "model name\t:\n", "no colon\n:\n"])
def test_silent_processor(text: str | None, tmp_path: Path) -> None:
    """Where the system does not say, at least the architecture is named."""
    cpuinfo = tmp_path / "cpuinfo"
    if text is not None:
        written(cpuinfo, text)
    assert processor_name(cpuinfo) in (os.uname().machine, processor_name(Path("/no")))
    assert processor_name(cpuinfo)
    assert processor_flags(cpuinfo) == ()


def test_cpuinfo_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 do not end a measurement."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_bytes(b"model name\t: caf\xe9 9000\nflags\t: avx2 \xff\n")
    assert processor_name(cpuinfo).endswith("9000")
    assert processor_flags(cpuinfo) == ("avx2",)


def test_this_machine() -> None:
    """Everything that is said of it has a sense."""
    found = this_machine()
    assert found.processor
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert set(found.flags) <= set(FLAGS)
    assert re.fullmatch(r"3\.\d+\.\d+.*", found.python)
    assert "numpy" in found.packages
    assert found.memory_bytes == 0 or found.memory_bytes > 2**26
    assert "\n" not in f"{found}{found.details}"


def test_how_busy_the_machine_is() -> None:
    """Only figures that are times name the load; all others are the same every time."""
    assert this_machine() == this_machine()
    assert this_machine().load is None
    busy = busy_machine()
    assert busy.load is None or busy.load >= 0
    assert replace(busy, load=None) == this_machine()


def test_words_for_a_machine() -> None:
    """Two lines: what it is, and what decides how fast it multiplies."""
    machine = Machine(
        "A chip",
        2,
        "Linux aarch64",
        "3.11.9",
        {},
        ("asimd", "i8mm"),
        "performance",
        3 * 2**29,
        "6.1",
        0.5,
    )
    assert str(machine) == "A chip, 2 cores, Linux aarch64"
    assert machine.details == (
        "asimd i8mm, frequency governor performance, 1.5 GiB of memory, kernel 6.1, "
        "load 0.50 at the start"
    )
    bare = Machine("A chip", 1, "Linux", "3.11.9", {})
    assert str(bare) == "A chip, 1 core, Linux"
    assert bare.details == (
        f"no vector instructions known, frequency governor {UNKNOWN}, kernel {UNKNOWN}"
    )


@given(before=counts, more=counts, own=st.floats(0, 1e5))
def test_shares_of_any_counters(
    before: list[int],
    more: list[int],
    own: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Shares are between 0 and 1, and None where no time has passed."""
    path = stat(tmp_path_factory.mktemp("stat") / "stat", before)
    spent = iter([0.0, own])
    meter = NoiseMeter(lambda: next(spent), path)
    stat(path, [a + b for a, b in zip(before, more, strict=True)])
    noise = meter.finish()
    if sum(more[:8]) == 0:
        assert noise.steal is noise.others is None
        return
    assert noise.steal == pytest.approx(more[7] / sum(more[:8]), rel=1e-12)
    assert noise.others is not None
    assert 0 <= noise.others <= 1


@given(before=counts, after=counts)
def test_counters_that_run_backwards(
    before: list[int], after: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Steal and iowait can decrease on Linux; shares stay between 0 and 1."""
    path = stat(tmp_path_factory.mktemp("stat") / "stat", before)
    meter = NoiseMeter(stat=path)
    stat(path, after)
    noise = meter.finish()
    for share in (noise.steal, noise.others):
        assert share is None or 0 <= share <= 1


def test_shares_of_known_counters(tmp_path: Path) -> None:
    """Of 1000 ticks 20 are stolen, 500 idle; guests are part of `user` already."""
    path = stat(tmp_path / "stat", [100] * FIELDS)
    meter = NoiseMeter(stat=path)
    #                user nice sys  idle wait irq soft steal guests
    stat(path, [n + 100 for n in (400, 10, 50, 450, 50, 10, 10, 20, 99, 9)])
    noise = meter.finish()
    assert noise.steal == 0.02
    # 480 of them were busy, less what this process used since: a few at most.
    assert noise.others is not None
    assert 0.38 <= noise.others <= 0.48


def test_own_time_is_no_noise(tmp_path: Path) -> None:
    """Time of the programs that are measured is not that of others."""
    ticks = os.sysconf("SC_CLK_TCK")
    path = stat(tmp_path / "stat", [0] * FIELDS)
    spent = iter([3.0, 10.0])
    meter = NoiseMeter(lambda: next(spent), path)
    stat(path, [7 * ticks, 0, 0, 3 * ticks, 0, 0, 0, 0, 0, 0])
    assert meter.finish().others == 0.0


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "\n",
        "cpu",
        "cpu 1 2 3",
        "cpu 1 2 3 4 5 6 7 x",
        "cpu0 1 2 3 4 5 6 7 8 9 10",
        "cpu -1 2 3 4 5 6 7 8",
    ],
)
def test_counters_that_are_none(text: str | None, tmp_path: Path) -> None:
    """Where there are no counters, nothing is claimed about shares."""
    path = tmp_path / "stat"
    if text is not None:
        written(path, text)
    noise = NoiseMeter(stat=path).finish()
    assert noise.steal is noise.others is noise.spin is None
    assert not noise.noisy
    assert noise.sentence == ""


def test_old_kernel_without_guests(tmp_path: Path) -> None:
    """Kernels before 2.6.24 have eight counters, and that is enough."""
    path = written(tmp_path / "stat", "cpu 0 0 0 0 0 0 0 0\n")
    meter = NoiseMeter(stat=path)
    written(path, "cpu 0 0 0 75 0 0 0 25\n")
    assert meter.finish().steal == 0.25


def test_fixed_loop(tmp_path: Path) -> None:
    """p90 over the median, from ten times on."""
    meter = NoiseMeter(stat=tmp_path / "nothing")
    for time in range(100, 109):
        meter.add(time)
    assert meter.finish().spin is None
    meter.add(109)
    # Between the ninth and the tenth of ten times lies p90, at 108.1.
    assert meter.finish().spin == pytest.approx(108.1 / 104.5, rel=1e-12)


@given(st.lists(st.integers(1, 10**9), min_size=10, max_size=50))
def test_fixed_loop_of_any_times(times: list[int]) -> None:
    """The ratio is at least 1, and does not depend on the unit or the order."""
    found = spin_ratio(times)
    assert found is not None
    assert found >= 1
    doubled = spin_ratio([2 * time for time in reversed(times)])
    assert doubled == pytest.approx(found, rel=1e-12)


shares = st.none() | st.floats(0, 1)


@given(st.none() | st.floats(1, 100), shares, shares, st.none() | st.floats(0, 99))
def test_sentence(
    spin: float | None, steal: float | None, others: float | None, load: float | None
) -> None:
    """One reason for each limit that is broken; the load decides nothing."""
    noise = Noise(spin, steal, others, load)
    broken = {
        "fixed loop": (spin or 0) > SPIN_LIMIT,
        "hypervisor": (steal or 0) > STEAL_LIMIT,
        "other programs": (others or 0) > OTHERS_LIMIT,
    }
    assert noise.noisy == any(broken.values())
    assert bool(noise.sentence) == noise.noisy
    for word, expected in broken.items():
        assert (word in noise.sentence) == expected
    assert "\n" not in noise.sentence


def test_limits_are_quiet() -> None:
    """A machine exactly at its limits is quiet."""
    assert not Noise(SPIN_LIMIT, STEAL_LIMIT, OTHERS_LIMIT, 64.0).noisy


def test_sentence_of_each_reason() -> None:
    """Each reason can be read alone."""
    after = (
        "Compare ratios rather than milliseconds, or measure again on an idle machine."
    )
    before = "The machine was noisy while latency was measured:"
    assert Noise(1.5, None, None, None).sentence == (
        f"{before} one in ten repetitions of a fixed loop took 1.50 times the usual "
        f"time or more (at most 1.2 on a quiet one). {after}"
    )
    assert Noise(None, 0.023, None, None).sentence == (
        f"{before} the hypervisor took 2.3% of the processor time (at most 1%). {after}"
    )
    assert Noise(None, None, 0.251, None).sentence == (
        f"{before} other programs took 25% of the processor time (at most 10%). {after}"
    )


def test_load_average_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not know it is no reason to stop."""

    def unknown() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown)
    assert load_average() is None
