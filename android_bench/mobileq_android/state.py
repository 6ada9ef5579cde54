"""How a device is just now: battery, heat, clocks, free space.

Hot phones slow down, and so do those that save power; times are only worth something
beside this. What a system does not say is None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mobileq_android.facts import sections
from mobileq_android.target import Target

LIGHT, SEVERE = 1, 3
"""Android's thermal status: clocks are lowered a little, and so that people notice
(android.os.PowerManager)."""

LOW_BATTERY = 15
"""Percent below which phones save power."""

_SCRIPT = r"""
mark() { echo; echo "@@mobileq $1"; }
mark battery
dumpsys battery 2>/dev/null
mark thermal
dumpsys thermalservice 2>/dev/null
mark zones
for z in /sys/class/thermal/thermal_zone*
do
    t=$(cat "$z/temp" 2>/dev/null) && echo "$t $(cat "$z/type" 2>/dev/null)"
done
mark clocks
for c in /sys/devices/system/cpu/cpu[0-9]*
do
    a=$(cat "$c/cpufreq/scaling_max_freq" 2>/dev/null) || continue
    b=$(cat "$c/cpufreq/cpuinfo_max_freq" 2>/dev/null) || continue
    echo "${c##*/cpu} $a $b"
done
mark space
df -k "$1" 2>/dev/null
mark end
"""


@dataclass(frozen=True)
class State:
    """How a device is.

    Attributes:
        battery_percent: Charge.
        charging: Whether it is on a charger.
        battery_celsius: Temperature of the battery.
        thermal_status: Android's, 0 (none) to 6 (shutdown).
        hottest_celsius: Highest temperature of any sensor of the processor.
        capped_cores: Cores whose highest clock has been lowered.
        free_bytes: Where files are pushed.
    """

    battery_percent: int | None
    charging: bool | None
    battery_celsius: float | None
    thermal_status: int | None
    hottest_celsius: float | None
    capped_cores: tuple[int, ...]
    free_bytes: int | None

    @property
    def throttled(self) -> bool:
        """Whether heat lowers its clocks."""
        return (self.thermal_status or 0) >= LIGHT

    def __str__(self) -> str:
        """What there is to say, in one line; empty if the device says nothing."""
        parts = []
        if self.battery_percent is not None:
            power = {True: ", charging", False: ", not charging", None: ""}
            parts.append(f"battery {self.battery_percent} %{power[self.charging]}")
        if self.battery_celsius is not None:
            parts.append(f"{self.battery_celsius:.0f} °C")
        if self.thermal_status is not None:
            parts.append(f"thermal status {self.thermal_status}")
        elif self.hottest_celsius is not None:
            parts.append(f"processor at {self.hottest_celsius:.0f} °C")
        return ", ".join(parts)

    def warnings(self) -> tuple[str, ...]:
        """What makes times doubtful, a line each."""
        found = []
        low = self.battery_percent is not None and self.battery_percent < LOW_BATTERY
        if low and not self.charging:
            found.append(
                f"battery at {self.battery_percent} % and not charging: clocks may be "
                f"lowered to save power"
            )
        if self.throttled:
            found.append(
                f"thermal status {self.thermal_status}: heat lowers the clocks"
            )
        if self.capped_cores:
            cores = ", ".join(map(str, self.capped_cores))
            found.append(f"the clocks of cores {cores} are capped below their highest")
        return tuple(found)


def look(target: Target, folder: str) -> State:
    """Ask a device how it is.

    Args:
        target: The device.
        folder: A directory that exists there; its free space is told.

    Raises:
        DeviceGoneError: it cannot be reached.
    """
    done = target.run(["sh", "-c", _SCRIPT, "sh", folder])
    return parse(done.out.decode(errors="replace"))


def parse(text: str) -> State:
    """A state from the script's output."""
    parts = sections(text)
    battery, thermal = parts.get("battery", ""), parts.get("thermal", "")
    level, scale = (
        _number(r"level:\s*(\d+)", battery),
        _number(r"scale:\s*(\d+)", battery),
    )
    tenths = _number(r"temperature:\s*(-?\d+)", battery)
    powered = re.findall(r"powered:\s*(true|false)", battery)
    status = _number(r"Thermal Status:\s*(\d+)", thermal)
    zones = [
        int(value) / (1000 if abs(int(value)) > 500 else 1)
        for value in re.findall(r"^(-?\d{1,7})\b", parts.get("zones", ""), re.M)
    ]
    clocks = re.findall(r"^(\d+) (\d+) (\d+)$", parts.get("clocks", ""), re.M)
    return State(
        battery_percent=None if level is None else round(100 * level / (scale or 100)),
        charging="true" in powered if powered else None,
        battery_celsius=None if tenths is None else tenths / 10,
        thermal_status=status,
        # Sensors that are off say things such as -274.
        hottest_celsius=max((zone for zone in zones if 0 < zone < 200), default=None),
        capped_cores=tuple(int(c) for c, now, most in clocks if int(now) < int(most)),
        free_bytes=_free(parts.get("space", "")),
    )


def _free(text: str) -> int | None:
    """Bytes available, of the output of df -k.

    A long name of a file system stands on a line of its own, so columns are counted
    from the percent sign.
    """
    found = re.findall(r"\s(\d+)\s+\d+%", text)
    return int(found[-1]) * 1024 if found else None


def _number(pattern: str, text: str) -> int | None:
    """A number in a text; None if it is not there."""
    found = re.search(pattern, text)
    return int(found[1]) if found else None
