"""Stand-ins for the emulated arm64 system.

A directory that looks like one, and a program in place of the emulator that does what a
test wants, on this machine.
"""

from __future__ import annotations

from pathlib import Path

from support.scripts import HEADER

AARCH64, X86_64 = 183, 62
"""e_machine of ELF files."""

_EMULATOR = """{header}import json, os, runpy, signal, sys, time
from pathlib import Path

if sys.argv[1:] == ["--version"]:
    print({version!r})
    sys.exit()
if sys.argv[1:] == ["-cpu", "help"]:
    print("Available CPUs:\\n  cortex-a53\\n  cortex-a76\\n  neoverse-v1")
    sys.exit()
_, _, cpu, _, _, _, _, script, request = sys.argv
told = json.loads(Path(request).read_text())
inputs, outputs, facts = told["inputs"], told["outputs"], told["facts"]

def run():
    "The script, by this machine's own Python and LiteRT."
    sys.argv[1:] = [request]
    runpy.run_path(script, run_name="__main__")

def claim(machine="aarch64"):
    "Say that it ran elsewhere."
    Path(facts).write_text(json.dumps({{"machine": machine, "features": ["neon"]}}))

{does}
"""

RUNS = "run(); claim()"
"""Stands in for a processor that answers as this machine does."""

CHANGES_LAST = """run(); claim()
found = bytearray(Path(outputs).read_bytes())
found[-2] ^= 1
Path(outputs).write_bytes(found)
"""
"""Stands in for one whose last output is off by one step."""


def make_system(
    directory: Path,
    does: str = RUNS,
    *,
    machine: int = AARCH64,
    version: str = "qemu-aarch64 version 10.0.2 (stand-in)",
) -> Path:
    """A directory that looks like an arm64 system, with a stand-in for its emulator.

    Args:
        directory: Where; made if it is not there.
        does: Python code of the stand-in, in place of running an arm64 program.
        machine: Of what takes the place of the arm64 Python.
        version: What the stand-in says of itself.
    """
    python = directory / "root" / "usr" / "bin" / "python3"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_bytes(b"\x7fELF\x02\x01".ljust(18, b"\0") + bytes([machine, 0]))
    for package in ("ai_edge_litert", "numpy"):
        (directory / "packages" / package).mkdir(parents=True, exist_ok=True)
    (directory / "complete").touch()
    emulator = directory / "qemu-aarch64"
    text = _EMULATOR.format(header=HEADER, version=version, does=does)
    emulator.write_text(text, encoding="utf-8")
    emulator.chmod(0o755)
    return directory
