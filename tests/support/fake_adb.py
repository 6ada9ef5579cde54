"""A program in place of adb, for states that no emulated phone can be brought into."""

from __future__ import annotations

from pathlib import Path

from support.scripts import HEADER

_ADB = """{header}import subprocess, sys, time
arguments = sys.argv[1:]
if arguments == ["devices"]:
    sys.stdout.write("* daemon started successfully\\n"
                     "List of devices attached\\n" + {devices!r} + "\\n")
    sys.exit()
{does}
"""

PHONE = """
import shutil
arguments = [one.replace("/data/local/tmp", {place!r}) for one in arguments]
if arguments[2] == "push":
    content = open(arguments[3], "rb").read()
    if content.startswith(b'{{"packages"'):
        content = content.replace(b"/data/local/tmp", {place!r}.encode())
    open(arguments[4], "wb").write(content); sys.exit()
if arguments[2] == "pull":
    shutil.copyfile(arguments[3], arguments[4]); sys.exit()
"""
"""Takes and gives files; `place` is what /data/local/tmp stands for."""

SHELL = """
assert arguments[0] == "-s"
if arguments[2] == "shell":
    sys.exit(subprocess.run(["sh", "-c", arguments[-1]]).returncode)
if arguments[2] == "get-state":
    print("device"); sys.exit()
"""
"""Commands for any device are run by this machine's shell."""


def make_phone(folder: Path, serial: str = "A1") -> Path:
    """A program in place of adb that knows one phone, which is this machine.

    Args:
        folder: For the program, and for what would be in /data/local/tmp.
        serial: Of the phone.
    """
    place = folder / "data_local_tmp"
    place.mkdir(parents=True)
    does = PHONE.format(place=str(place)) + SHELL
    return make_adb(folder / "adb", f"{serial}\tdevice\n", does)


def make_adb(path: Path, devices: str = "", does: str = "") -> Path:
    """A program that answers as adb does.

    Args:
        path: Where.
        devices: Lines of `adb devices`, with a tab between serial number and state.
        does: Python code for everything else; `arguments` is known.
    """
    text = _ADB.format(header=HEADER, devices=devices, does=does)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
