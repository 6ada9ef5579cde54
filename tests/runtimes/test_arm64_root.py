"""Whether there is an emulated arm64 system, and what is told to whoever lacks one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from mobileq.errors import InputError, NotInstalledError
from mobileq.runtimes.arm64_root import CPUS, VARIABLE, find_root
from support.emulator import X86_64, make_system
from support.runner_files import one_line

SCRIPT = ROOT / "tools" / "arm64_root.sh"


def refused(path: Path | None, *words: str) -> None:
    """Check that a directory is refused in one line that says how to make one."""
    with pytest.raises(NotInstalledError) as caught:
        find_root(path)
    one_line(caught, "tools/arm64_root.sh DIRECTORY", VARIABLE, *words)


def test_a_system_is_found_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory that is told goes before the environment's; paths are absolute."""
    make_system(tmp_path / "one")
    make_system(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "other")
    assert find_root().directory == tmp_path / "other"
    found = find_root(Path("one"))
    assert found.directory == tmp_path / "one"
    assert found.version == "10.0.2"
    assert found.cpus.issuperset(CPUS)
    assert found.command("cortex-a53") == [
        str(tmp_path / "one" / "qemu-aarch64"),
        "-cpu",
        "cortex-a53",
        "-L",
        str(tmp_path / "one" / "root"),
        str(tmp_path / "one" / "root" / "usr" / "bin" / "python3"),
        "-I",
    ]


@pytest.mark.parametrize("value", [None, ""])
def test_none_is_told(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without option and variable, or with an empty one, the remedy names both."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    refused(None, "--root", "no arm64 system")


@pytest.mark.parametrize(
    "part",
    ["root/usr/bin/python3", "packages/ai_edge_litert", "packages/numpy", "complete"],
)
def test_a_part_is_missing(part: str, tmp_path: Path) -> None:
    """A directory that was begun but not finished is refused; the part is named."""
    made = make_system(tmp_path / "made") / part
    if made.is_dir():
        made.rmdir()
    else:
        made.unlink()
    refused(tmp_path / "made", str(made))


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """The path is named as it was given."""
    refused(tmp_path / "nowhere", str(tmp_path / "nowhere"))


def test_another_architecture(tmp_path: Path) -> None:
    """A system for x86-64 is no arm64 system, whatever its name is."""
    refused(make_system(tmp_path, machine=X86_64), "ELF machine 62", "183")


def test_a_python_that_is_no_program(tmp_path: Path) -> None:
    """A script or a directory in its place is refused, too."""
    python = make_system(tmp_path) / "root" / "usr" / "bin" / "python3"
    python.write_text("#!/bin/sh\n")
    refused(tmp_path, "no program")
    python.unlink()
    python.mkdir()
    refused(tmp_path, "cannot be read")


def test_no_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the directory nor on PATH; one on PATH is taken."""
    own = make_system(tmp_path / "made") / "qemu-aarch64"
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    monkeypatch.setenv("PATH", str(elsewhere))
    moved = own.rename(elsewhere / "qemu-aarch64")
    assert find_root(tmp_path / "made").emulator == moved
    moved.unlink()
    refused(tmp_path / "made", "no qemu-aarch64", "qemu-user 10 or newer")


def test_an_emulator_that_is_too_old(tmp_path: Path) -> None:
    """Version 7.2 computes wrong results."""
    made = make_system(tmp_path, version="qemu-aarch64 version 7.2.17 (Debian)")
    refused(made, "version 7.2.17", "10 or newer")


def test_an_emulator_that_is_none(tmp_path: Path) -> None:
    """Another program, and one that cannot be run."""
    made = make_system(tmp_path, version="hello\nworld")
    refused(made, "says 'hello")
    (made / "qemu-aarch64").write_bytes(b"\x7fELF rubbish")
    refused(made, "does not run")


def test_an_unknown_processor(tmp_path: Path) -> None:
    """The message says where names come from."""
    root = find_root(make_system(tmp_path))
    with pytest.raises(InputError) as caught:
        root.command("pentium")
    one_line(caught, "'pentium'", "-cpu help", "neoverse-v1")


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script that makes a system."""
    command = ["sh", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_leaves_a_complete_system_alone(tmp_path: Path) -> None:
    """A second run downloads nothing and changes nothing."""
    made = make_system(tmp_path / "made")
    before = sorted(tmp_path.rglob("*"))
    done = script(made)
    assert (done.returncode, done.stdout) == (0, f"{made}: complete already\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_script_refuses_what_it_cannot_make(tmp_path: Path) -> None:
    """No directory, two, or a name that apt would read as something else: one line."""
    for arguments in ((), (tmp_path / "a", tmp_path / "b"), (tmp_path / 'a "; b',)):
        done = script(*arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "wanted" in done.stderr


def test_the_wheels_are_pinned() -> None:
    """Each by version and hash, and LiteRT in the version that is locked for here."""
    text = (ROOT / "tools" / "arm64_wheels.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    for line in lines:
        pin, _, checksum = line.partition(" --hash=sha256:")
        assert pin.replace("_", "-") in locked
        assert len(bytes.fromhex(checksum)) == 32
