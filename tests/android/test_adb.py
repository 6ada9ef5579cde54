"""Finding phones: states, serial numbers, and an adb that is missing or broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq_android.adb import (
    AdbTarget,
    Found,
    choose,
    connected,
    find_adb,
    parse_devices,
)
from mobileq_android.errors import DeviceGoneError, PhoneError
from mobileq_android.process import Stop
from support.fake_adb import SHELL, make_adb

PHONES = (Found("A1", "device"), Found("127.0.0.1:6555", "device"))


@pytest.fixture(autouse=True)
def no_serial(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no phone."""
    for name in ("ANDROID_SERIAL", "ADB"):
        monkeypatch.delenv(name, raising=False)


def refused(found: tuple[Found, ...], wanted: tuple[str, ...] = ()) -> str:
    """What is said of devices that cannot be used."""
    with pytest.raises(PhoneError) as caught:
        choose(found, wanted)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_list_of_devices(tmp_path: Path) -> None:
    """Serial number and state of every line; messages of the server are left out."""
    lines = "A1\tdevice\n127.0.0.1:6555\toffline\nB 2\tno permissions (udev); see x\n"
    found = connected(str(make_adb(tmp_path / "adb", lines)), Stop())
    assert found == (
        Found("A1", "device"),
        Found("127.0.0.1:6555", "offline"),
        Found("B 2", "no permissions (udev); see x"),
    )


@given(st.text())
def test_any_list_is_read(text: str) -> None:
    """No output of adb ends in anything but devices."""
    for found in parse_devices(text):
        assert found.serial


def test_choosing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only one, those that are named, the environment's, or all that are ready."""
    assert choose(PHONES[:1]) == ("A1",)
    assert choose(PHONES, ("127.0.0.1:6555", "A1", "A1")) == ("127.0.0.1:6555", "A1")
    assert choose((*PHONES, Found("C", "offline")), ("all",)) == (
        "A1",
        "127.0.0.1:6555",
    )
    monkeypatch.setenv("ANDROID_SERIAL", "A1")
    assert choose(PHONES) == ("A1",)
    assert choose(PHONES, ("127.0.0.1:6555",)) == ("127.0.0.1:6555",)


def test_nothing_to_choose() -> None:
    """None there, several there, or others there."""
    assert "no phone" in refused(())
    assert "--serial" in refused(PHONES)
    assert "A1 (device)" in refused(PHONES, ("B",))
    assert "no such device" in refused(PHONES, ("-n; reboot\n",))


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("unauthorized", "allow USB debugging"),
        ("authorizing", "allow USB debugging"),
        ("offline", "adb reconnect"),
        ("no permissions (missing udev rules)", "udev"),
        ("recovery", "start Android"),
        ("strange", "connect it again"),
    ],
)
def test_devices_that_are_not_ready(state: str, remedy: str, tmp_path: Path) -> None:
    """Each state is named with what to do, whether the phone was named or not."""
    adb = make_adb(tmp_path / "adb", f"A1\t{state}\n")
    found = connected(str(adb), Stop())
    for wanted in ((), ("A1",), ("all",)):
        line = refused(found, wanted)
        assert line.startswith(f"A1: is {state!r}")
        assert remedy in line


def test_no_adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How to get it is said; --adb comes before ADB, and that before PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PhoneError, match="platform-tools"):
        find_adb()
    on_path, named = make_adb(tmp_path / "adb"), make_adb(tmp_path / "other adb")
    assert find_adb() == str(on_path)
    monkeypatch.setenv("ADB", str(named))
    assert find_adb() == str(named)
    assert find_adb(str(on_path)) == str(on_path)
    with pytest.raises(PhoneError, match="nonesuch"):
        find_adb("nonesuch")


def test_an_adb_that_fails(tmp_path: Path) -> None:
    """Its last line is told."""
    adb = tmp_path / "adb"
    adb.write_text("#!/bin/sh\necho 'cannot bind to port' >&2\nexit 1\n")
    adb.chmod(0o755)
    with pytest.raises(PhoneError, match="cannot bind to port"):
        connected(str(adb), Stop())
    adb.write_text("no program")
    with pytest.raises(PhoneError, match="cannot be started"):
        connected(str(adb), Stop())


def test_commands_reach_the_shell_quoted(tmp_path: Path) -> None:
    """What a name holds is printed by the shell, and not run."""
    adb = make_adb(tmp_path / "adb", does=SHELL)
    target = AdbTarget(str(adb), "A1", Stop())
    pwned = tmp_path / "pwned"
    name = f"$(touch {pwned}) `touch {pwned}`; touch {pwned} '\" \\ \n é"
    done = target.run(["printf", "%s", name])
    assert done.out.decode() == name
    assert not pwned.exists()
    assert target.run(["sh", "-c", "exit 7"]).code == 7


def test_a_device_that_vanishes(tmp_path: Path) -> None:
    """It is told from a command that fails, by asking for its state."""
    gone = (
        "print('error: device offline' if 'get-state' in arguments else "
        "'error: closed', file=sys.stderr); sys.exit(1)"
    )
    target = AdbTarget(str(make_adb(tmp_path / "adb", does=gone)), "A1", Stop())
    source = tmp_path / "file"
    source.write_bytes(b"x")
    for ask in (
        lambda: target.run(["true"]),
        lambda: target.push(source, "/x"),
        lambda: target.pull("/x"),
    ):
        with pytest.raises(DeviceGoneError, match="error: closed"):
            ask()


def test_pushes_and_pulls_that_fail(tmp_path: Path) -> None:
    """A full disk and a file that is not there are told in adb's words."""
    does = SHELL + (
        "print('adb: error: No space left on device', file=sys.stderr); sys.exit(1)"
    )
    target = AdbTarget(str(make_adb(tmp_path / "adb", does=does)), "A1", Stop())
    source = tmp_path / "file"
    source.write_bytes(b"x")
    with pytest.raises(PhoneError, match="No space left on device"):
        target.push(source, "/x")
    with pytest.raises(PhoneError, match="cannot be pulled"):
        target.pull("/x")
