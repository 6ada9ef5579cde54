"""What a device says of itself, and how it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq_android import facts, state
from mobileq_android.adb import AdbTarget
from mobileq_android.errors import PhoneError
from mobileq_android.facts import Device
from mobileq_android.process import Stop
from support.fake_adb import make_adb
from support.local_device import LocalDevice

PIXEL = """
@@mobileq props
ro.product.manufacturer=Google
ro.product.model=Pixel 8
ro.soc.manufacturer=Google
ro.soc.model=Tensor G3
ro.product.cpu.abi=arm64-v8a
ro.build.version.release=14
ro.build.version.sdk=34
ro.build.fingerprint=google/shiba/shiba:14/UQ1A/1:user/release-keys
ro.hardware=shiba
@@mobileq uname
aarch64
@@mobileq kernel
5.15.110-android14
@@mobileq board
@@mobileq release
@@mobileq cpuinfo
processor\t: 0
Features\t: fp asimd asimddp i8mm
processor\t: 1
Features\t: fp asimd asimddp
@@mobileq memory
MemTotal:        7654321 kB
@@mobileq frequencies
0 1704000
1 1704000
10 2367000
2 1704000
3 1704000
4 2367000
5 2367000
6 2367000
7 2367000
8 2914000
9 2367000
@@mobileq governor
sched_pixel
@@mobileq end
"""

STATE = """
@@mobileq battery
Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 40
  scale: 50
  temperature: 312
@@mobileq thermal
IsStatusOverride: false
Thermal Status: 2
@@mobileq zones
45000 cpu-big
38 skin
-274000 off
@@mobileq clocks
0 1704000 1704000
8 2000000 2914000
@@mobileq space
Filesystem     1K-blocks    Used Available Use% Mounted on
/dev/block/dm-52 115249236 40000000  75000000  35% /data
@@mobileq end
"""


def pixel() -> Device:
    """A phone."""
    return facts.parse("A1", facts.sections(PIXEL))


def test_a_phone() -> None:
    """Maker, chip, Android, kernel, clocks in the order of the cores, instructions."""
    device = pixel()
    assert device == Device(
        name="A1",
        kind="android",
        model="Google Pixel 8",
        soc="Google Tensor G3",
        machine="aarch64",
        abi="arm64-v8a",
        system="Android 14 (SDK 34)",
        build="google/shiba/shiba:14/UQ1A/1:user/release-keys",
        kernel="5.15.110-android14",
        max_khz=(1704000,) * 4 + (2367000,) * 4 + (2914000,) + (2367000,) * 2,
        features=("asimd", "asimddp"),
        governor="sched_pixel",
        memory_bytes=7654321 * 1024,
    )
    assert device.clocks == "4 x 1.70 GHz, 6 x 2.37 GHz, 1 x 2.91 GHz"


def test_this_machine(tmp_path: Path) -> None:
    """The script runs in a real shell, and says what Python says."""
    import os
    import platform

    target = LocalDevice(tmp_path)
    device = facts.look(target)
    assert (device.kind, device.machine) == ("linux", platform.machine())
    assert device.kernel == platform.release()
    assert device.cores >= len(os.sched_getaffinity(0))
    found = state.look(target, str(tmp_path))
    free = os.statvfs(tmp_path)
    # Others write to the disk meanwhile.
    wanted = free.f_bavail * free.f_frsize
    assert found.free_bytes == pytest.approx(wanted, rel=0.2)


def test_a_state() -> None:
    """Battery in percent of its scale, heat, capped clocks, free space."""
    found = state.parse(STATE)
    assert found == state.State(
        battery_percent=80,
        charging=True,
        battery_celsius=31.2,
        thermal_status=2,
        hottest_celsius=45.0,
        capped_cores=(8,),
        free_bytes=75000000 * 1024,
    )
    assert found.throttled
    assert len(found.warnings()) == 2
    low = replace(found, battery_percent=7, charging=False, thermal_status=0)
    assert "battery at 7 %" in low.warnings()[0]
    assert not low.throttled
    assert state.parse("") == state.State(None, None, None, None, None, (), None)
    assert not str(state.parse(""))


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Whatever a device prints, it is a device, and a state."""
    marked = "\n".join(f"@@mobileq {name}\n{text}" for name in ("props", "cpuinfo"))
    assert "\n" not in str(facts.parse("A1", facts.sections(marked)))
    assert (
        state.parse(f"@@mobileq battery\n{text}\n@@mobileq zones\n{text}") is not None
    )


def test_devices_that_say_nothing(tmp_path: Path) -> None:
    """A device that answers something else is no Linux system."""
    adb = make_adb(tmp_path / "adb", does="print('what?')")
    with pytest.raises(PhoneError, match=r"its shell says 'what\?'"):
        facts.look(AdbTarget(str(adb), "A1", Stop()))


def test_old_android() -> None:
    """Whose adb passes no exit codes on."""
    facts.check_system(pixel())
    with pytest.raises(PhoneError, match="SDK 26 or newer"):
        facts.check_system(replace(pixel(), system="Android 7.1.2 (SDK 25)"))


def test_programs_for_another_processor() -> None:
    """ELF files are told apart by their machine; scripts run everywhere."""

    def elf(machine: int) -> bytes:
        return b"\x7fELF\x02\x01".ljust(18, b"\0") + machine.to_bytes(2, "little")

    device = pixel()
    for fine in (elf(183), elf(40), b"#!/bin/sh\n"):
        facts.check_program(device, "tool", fine)
    with pytest.raises(PhoneError, match=r"tool: is made for x86_64; .*aarch64"):
        facts.check_program(device, "tool", elf(62))
    with pytest.raises(PhoneError, match="is no program"):
        facts.check_program(device, "tool", b"PK\x03\x04")


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 8))
def test_big_cores(speeds: list[int], threads: int) -> None:
    """They are the fastest, enough for the threads, and never simply all."""
    device = replace(pixel(), max_khz=tuple(1000 * speed for speed in speeds))
    cores = facts.big_cores(device, threads)
    if not cores:
        return
    rest = [speeds[core] for core in range(len(speeds)) if core not in cores]
    assert rest
    assert max(rest) < min(speeds[core] for core in cores)
    assert len(cores) >= min(threads, len(speeds))
    assert int(facts.mask_of(cores), 16).bit_count() == len(cores)


def test_masks() -> None:
    """As taskset takes them."""
    assert facts.big_cores(pixel(), 1) == (8,)
    assert facts.big_cores(pixel(), 2) == (4, 5, 6, 7, 8, 9, 10)
    assert facts.mask_of((4, 5, 6, 7)) == "f0"
    assert facts.big_cores(replace(pixel(), max_khz=(5, 5)), 1) == ()
    assert facts.big_cores(replace(pixel(), max_khz=(5, 0)), 1) == ()
