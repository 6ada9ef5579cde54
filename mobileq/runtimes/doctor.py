"""What is installed, what this machine computes with, and what to do about the rest.

Each package is imported in a process of its own: one that is there and cannot be
imported is what goes wrong most often, and some take the process along.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from packaging.requirements import Requirement
from packaging.version import InvalidVersion

from mobileq.bench.machine import Machine
from mobileq.errors import NotInstalledError
from mobileq.runtimes.requirements import installed_version, requirements

PATIENCE = 120.0
"""Seconds for one import; TensorFlow takes five."""

PURPOSES = {
    "torch": "training, collapsing",
    "escnn": "training, collapsing",
    "lie-learn": "training, collapsing",
    "pooch": "fetching PCam",
    "requests": "fetching PCam",
    "urllib3": "fetching PCam",
    "h5py": "PCam's files",
    "onnx": "ONNX files",
    "onnxruntime": "ONNX files",
    "ai-edge-litert": "TFLite files",
    "flatbuffers": "TFLite files",
    "tensorflow": "float TFLite files",
    "tensorflow-cpu": "float TFLite files",
    "matplotlib": "plots, reports",
    "jinja2": "reports",
}
"""What packages are for; the others are for everything."""

MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "pillow": "PIL",
    "lie-learn": "lie_learn",
    "tensorflow-cpu": "tensorflow",
}
"""Where a module's name is not the package's."""

HARMFUL = {
    "autograd": "is of no use, and is left behind by pymanopt",
    "pymanopt": "makes escnn import TensorFlow: 7 s instead of 3 s",
    "scikit-learn": "breaks escnn's D_N groups",
}
"""Packages that this one does not want beside it (docs/decisions/0001)."""

_WIDE = ("avx512_vnni", "avx_vnni", "amx_int8")


class State(Enum):
    """What was found."""

    OK = "ok"
    ABSENT = "absent"
    MISSING = "missing"
    OLD = "old"
    BROKEN = "broken"
    HARMFUL = "harmful"

    @property
    def bad(self) -> bool:
        """Whether something has to be done; what is absent may be wanted, or not."""
        return self in (State.MISSING, State.OLD, State.BROKEN)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: How it is.
        found: Version, or what else there is to say.
        remedy: What to do; empty where there is nothing.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def examine(
    machine: Machine,
    *,
    imports: bool = True,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[Finding, ...]:
    """Look at everything.

    Args:
        machine: Where this runs.
        imports: Whether to import every package, which takes some seconds.
        progress: Told what is looked at.
    """
    return (
        *_kernels(machine),
        *_packages(imports, progress),
        *_harmful(),
        *_programs(),
    )


def _kernels(machine: Machine) -> Iterator[Finding]:
    """Which instructions multiply 8-bit integers here."""
    name, flags = "8-bit products", set(machine.flags)
    wide = [flag for flag in _WIDE if flag in flags]
    if wide:
        yield Finding(name, State.OK, f"{' '.join(wide)}: summed exactly in 32 bits")
    elif "i8mm" in flags or "asimddp" in flags:
        which = "i8mm" if "i8mm" in flags else "asimddp"
        yield Finding(name, State.OK, f"{which}: summed exactly in 32 bits")
    elif "x86" in machine.system or "AMD64" in machine.system:
        yield Finding(
            name,
            State.OK,
            "no VNNI: XNNPACK's older kernels, slower; ONNX Runtime's would saturate, "
            "so its precision mode is on",
        )
    else:
        yield Finding(
            name, State.OK, "no dot products: XNNPACK's older kernels, slower"
        )


def _packages(imports: bool, progress: Callable[[str], None]) -> Iterator[Finding]:
    """Every package that this one asks for, and those that an extra brings."""
    for wanted in requirements():
        requirement = wanted.requirement
        progress(requirement.name)
        found = _package(requirement, imports=imports)
        if found.state is State.MISSING and wanted.extras:
            remedy = " or ".join(f"pip install 'mobileq[{e}]'" for e in wanted.extras)
            found = replace(found, state=State.ABSENT, remedy=remedy)
        yield found


def _package(requirement: Requirement, *, imports: bool) -> Finding:
    """One package."""
    name, wanted = requirement.name, f"'{requirement.name}{requirement.specifier}'"
    purpose = PURPOSES.get(name, "")
    remedy = f"pip install {wanted}"
    version = installed_version(name)
    if version is None:
        for_what = f", for {purpose}" if purpose else ""
        return Finding(name, State.MISSING, f"not installed{for_what}", remedy)
    try:
        fits = requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        fits = False
    if not fits:
        return Finding(name, State.OLD, f"{version}; wanted {wanted}", remedy)
    broken = _import_error(MODULES.get(name, name)) if imports else None
    if broken is not None:
        again = f"pip install --force-reinstall {wanted}"
        return Finding(name, State.BROKEN, f"{version}, but {broken}", again)
    return Finding(name, State.OK, version)


def _import_error(module: str) -> str | None:
    """Why a module cannot be imported; None if it can."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"importing it takes more than {PATIENCE:g} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    said = lines[-1].strip()[:200] if lines else f"exit code {done.returncode}"
    return f"importing it fails: {said}"


def _harmful() -> Iterator[Finding]:
    """Packages that had better not be there."""
    for name, why in HARMFUL.items():
        version = installed_version(name)
        if version is not None:
            yield Finding(
                name, State.HARMFUL, f"{version}: {why}", f"pip uninstall {name}"
            )


def _programs() -> Iterator[Finding]:
    """What phones, boards and emulated processors need; few people want them."""
    from mobileq.runtimes.arm64_root import find_root
    from mobileq_android.adb import connected, find_adb
    from mobileq_android.errors import PhoneError
    from mobileq_android.process import Stop

    try:
        adb = find_adb()
        phones = [f"{one.serial} ({one.state})" for one in connected(adb, Stop())]
        yield Finding("adb", State.OK, f"{adb}; phones: {', '.join(phones) or 'none'}")
    except PhoneError as error:
        yield Finding(
            "adb",
            State.ABSENT,
            str(error).partition(";")[0],
            "for phones: Android SDK platform-tools, or 'apt-get install adb'",
        )
    ssh = shutil.which("ssh")
    if ssh:
        yield Finding("ssh", State.OK, ssh)
    else:
        remedy = "for boards: OpenSSH's client"
        yield Finding("ssh", State.ABSENT, "not installed", remedy)
    try:
        root = find_root()
        yield Finding(
            "emulated arm64", State.OK, f"{root.directory}, qemu {root.version}"
        )
    except NotInstalledError:
        remedy = "for mobileq arm64: tools/arm64_root.sh of the repository"
        yield Finding("emulated arm64", State.ABSENT, "not set up", remedy)
