"""What a device is. It does not change while we measure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mobileq_android.errors import PhoneError, one_line
from mobileq_android.target import Target

OLDEST_SDK = 26
"""Android 8: its shell has sha256sum. adb has passed exit codes on since Android 7."""

ARM64, X86_64 = "aarch64", "x86_64"
MACHINES = {ARM64: 183, "arm64": 183, X86_64: 62, "armv7l": 40, "armv8l": 40, "i686": 3}
"""e_machine of the programs that `uname -m` says can be run (elf.h)."""

UNKNOWN = "unknown"
_MARK = "@@mobileq "

_SCRIPT = r"""
mark() { echo; echo "@@mobileq $1"; }
mark props
for p in ro.product.manufacturer ro.product.model ro.soc.manufacturer ro.soc.model \
    ro.hardware ro.board.platform ro.product.cpu.abi ro.build.version.release \
    ro.build.version.sdk ro.build.fingerprint
do
    v=$(getprop "$p" 2>/dev/null) && echo "$p=$v"
done
mark uname
uname -m
mark kernel
uname -r
mark board
tr -d '\000' </proc/device-tree/model 2>/dev/null
mark release
cat /etc/os-release 2>/dev/null
mark cpuinfo
cat /proc/cpuinfo 2>/dev/null
mark memory
head -n 1 /proc/meminfo 2>/dev/null
mark frequencies
for c in /sys/devices/system/cpu/cpu[0-9]*
do
    f=$(cat "$c/cpufreq/cpuinfo_max_freq" 2>/dev/null) || f=0
    echo "${c##*/cpu} $f"
done
mark governor
cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null
mark end
"""

_FEATURES = ("asimd", "asimddp", "i8mm", "sve", "sve2", "sme", "avx2", "avx512_vnni")
"""Instructions that decide how fast integers are multiplied."""


@dataclass(frozen=True)
class Device:
    """A phone or board.

    Attributes:
        name: Serial number, or user@host.
        kind: `android` or `linux`.
        model: Such as `Google Pixel 8`.
        soc: System on a chip, such as `Google Tensor G3`.
        machine: What `uname -m` says, such as `aarch64`.
        abi: Android's name of it, such as `arm64-v8a`; empty on Linux.
        system: Such as `Android 14 (SDK 34)` or `Debian GNU/Linux 12 (bookworm)`.
        build: Android's fingerprint of the build; empty on Linux.
        kernel: Release of the kernel.
        max_khz: Highest frequency of each core in kHz; 0 where it is not known.
        features: Instructions that all cores have and that matter here.
        governor: How the clock is chosen.
        memory_bytes: Of the device; 0 where it is not known.
    """

    name: str
    kind: str
    model: str
    soc: str
    machine: str
    abi: str
    system: str
    build: str
    kernel: str
    max_khz: tuple[int, ...]
    features: tuple[str, ...]
    governor: str
    memory_bytes: int

    @property
    def cores(self) -> int:
        """How many there are."""
        return len(self.max_khz)

    def __str__(self) -> str:
        """One line."""
        parts = [self.model, self.soc, self.system, self.machine]
        return ", ".join(part for part in parts if part and part != UNKNOWN)

    @property
    def clocks(self) -> str:
        """Such as `4 x 1.80 GHz, 4 x 2.40 GHz`; empty where it is not known."""
        known = [khz for khz in self.max_khz if khz]
        return ", ".join(
            f"{known.count(khz)} x {khz / 1e6:.2f} GHz" for khz in sorted(set(known))
        )


def look(target: Target) -> Device:
    """Ask a device what it is.

    Raises:
        DeviceGoneError: it cannot be reached.
        PhoneError: it does not answer as a Linux system does.
    """
    done = target.run(["sh", "-c", _SCRIPT])
    parts = sections(done.out.decode(errors="replace"))
    if "end" not in parts or not parts.get("uname"):
        raise PhoneError(
            f"{target.name}: its shell says {one_line(done.text) or 'nothing'!r}; "
            f"wanted what an Android or Linux system says of itself"
        )
    return parse(target.name, parts)


def sections(text: str) -> dict[str, str]:
    """What follows each mark of a script's output."""
    found: dict[str, str] = {}
    name = ""
    for line in text.replace("\r", "").splitlines():
        if line.startswith(_MARK):
            name = line[len(_MARK) :].strip()
            found[name] = ""
        elif name:
            found[name] += f"{line}\n"
    return {key: value.strip() for key, value in found.items()}


def parse(name: str, parts: Mapping[str, str]) -> Device:
    """A device from what it says of itself.

    Args:
        name: Serial number, or user@host.
        parts: Output of the script, by mark.
    """
    props = _pairs(parts.get("props", ""))
    android = bool(props.get("ro.build.version.sdk"))
    release = _pairs(parts.get("release", ""))
    if android:
        model = _joined(
            props.get("ro.product.manufacturer"), props.get("ro.product.model")
        )
        system = (
            f"Android {props.get('ro.build.version.release', '?')} "
            f"(SDK {props['ro.build.version.sdk']})"
        )
    else:
        model = one_line(parts.get("board", ""))
        system = release.get("PRETTY_NAME", "").strip('"') or "Linux"
    frequencies = _frequencies(parts.get("frequencies", ""))
    memory = re.search(r"MemTotal:\s*(\d+)", parts.get("memory", ""))
    return Device(
        name=name,
        kind="android" if android else "linux",
        model=model or UNKNOWN,
        soc=_soc(props, parts.get("cpuinfo", "")) or UNKNOWN,
        machine=one_line(parts.get("uname", "")),
        abi=props.get("ro.product.cpu.abi", ""),
        system=one_line(system),
        build=props.get("ro.build.fingerprint", ""),
        kernel=one_line(parts.get("kernel", "")) or UNKNOWN,
        max_khz=frequencies,
        features=_features(parts.get("cpuinfo", "")),
        governor=one_line(parts.get("governor", "")) or UNKNOWN,
        memory_bytes=int(memory[1]) * 1024 if memory else 0,
    )


def check_system(device: Device) -> None:
    """Check that a device can be worked with.

    Raises:
        PhoneError: Android that is too old.
    """
    sdk = re.search(r"\(SDK (\d+)\)", device.system)
    if sdk and int(sdk[1]) < OLDEST_SDK:
        raise PhoneError(
            f"{device.name}: {device.system}; wanted SDK {OLDEST_SDK} or newer "
            f"(Android 8), whose shell has sha256sum"
        )


def check_program(device: Device, name: str, head: bytes) -> None:
    """Check that a program is made for a device.

    Args:
        device: Where it is to run.
        name: Of its file, for the message.
        head: Its first bytes. Scripts are made for every device.

    Raises:
        PhoneError: it is made for another processor, or is no program.
    """
    if head[:2] == b"#!":
        return
    if head[:4] != b"\x7fELF" or len(head) < 20:
        raise PhoneError(
            f"{name}: is no program; wanted a benchmark_model for {device.machine}"
        )
    machine = int.from_bytes(head[18:20], "little")
    wanted = MACHINES.get(device.machine)
    # A 64-bit ARM system runs 32-bit programs too, and 64-bit PCs those of 32 bits.
    fits = {183: (183, 40), 62: (62, 3)}.get(wanted or 0, (wanted,))
    if wanted is not None and machine not in fits:
        names = {number: known for known, number in reversed(MACHINES.items())}
        raise PhoneError(
            f"{name}: is made for {names.get(machine, f'ELF machine {machine}')}; "
            f"wanted a benchmark tool for {device.machine}, as {device.name} is (its "
            f"ABI is {device.abi or device.machine})"
        )


def big_cores(device: Device, threads: int) -> tuple[int, ...]:
    """The fastest cores, at least as many as threads; none if all are alike.

    Phones have slow and fast cores, and a scheduler that moves threads between them;
    times on the fast ones alone are what can be repeated.

    Args:
        device: With the highest frequency of each core.
        threads: Of one inference.
    """
    speeds = sorted(set(device.max_khz), reverse=True)
    if len(speeds) < 2 or 0 in speeds:
        return ()
    chosen: list[int] = []
    for speed in speeds:
        chosen += [core for core, khz in enumerate(device.max_khz) if khz == speed]
        if len(chosen) >= threads:
            break
    return tuple(sorted(chosen)) if len(chosen) < device.cores else ()


def mask_of(cores: tuple[int, ...]) -> str:
    """Cores as taskset takes them, in hexadecimal: bit n is core n."""
    return f"{sum(1 << core for core in cores):x}"


def _soc(props: Mapping[str, str], cpuinfo: str) -> str:
    """The chip's name, from the most telling source that there is."""
    named = _joined(props.get("ro.soc.manufacturer"), props.get("ro.soc.model"))
    hardware = re.search(r"^(?:Hardware|model name)\s*:\s*(.+)$", cpuinfo, re.M)
    for found in (
        named,
        hardware[1] if hardware else "",
        props.get("ro.board.platform", ""),
        props.get("ro.hardware", ""),
    ):
        if found:
            return one_line(found)
    return ""


def _joined(maker: str | None, model: str | None) -> str:
    """Maker and model; the maker once."""
    first, second = (maker or "").strip(), (model or "").strip()
    if second.lower().startswith(first.lower()):
        return one_line(second)
    return one_line(f"{first} {second}")


def _pairs(text: str) -> dict[str, str]:
    """Lines of the form key=value; a value that is empty is left out."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): one_line(value) for key, _, value in pairs if value.strip()}


def _frequencies(text: str) -> tuple[int, ...]:
    """Highest frequency of every core in kHz, in the order of the cores."""
    found = {}
    for core, khz in re.findall(r"^(\d{1,4}) (\d{1,9})$", text, re.M):
        found[int(core)] = int(khz)
    return tuple(found.get(core, 0) for core in range(max(found, default=-1) + 1))


def _features(cpuinfo: str) -> tuple[str, ...]:
    """Those of `_FEATURES` that every core has."""
    lists = re.findall(r"^(?:Features|flags)\s*:\s*(.*)$", cpuinfo, re.M)
    common = set.intersection(*(set(one.split()) for one in lists)) if lists else set()
    return tuple(one for one in _FEATURES if one in common)
