"""Files on a device, by the hash of their content."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from mobileq_android import store as store_module
from mobileq_android.errors import DeviceGoneError, PhoneError
from mobileq_android.state import State
from mobileq_android.store import Store
from support.local_device import LocalDevice


@pytest.fixture
def device(tmp_path: Path) -> LocalDevice:
    """This machine as a device, in a directory with a blank in its name."""
    (tmp_path / "the device").mkdir()
    return LocalDevice(tmp_path / "the device")


def file(tmp_path: Path, content: bytes = b"content") -> Path:
    """A file whose name a shell would run, if it were ever given to one."""
    path = tmp_path / "$(touch pwned);`touch pwned` 'a.tflite"
    path.write_bytes(content)
    return path


def test_a_second_run_pushes_nothing(device: LocalDevice, tmp_path: Path) -> None:
    """What is there under its hash is not sent again, whatever it is called."""
    source = file(tmp_path)
    first = Store(device)
    path = first.put(source)
    assert path == f"{device.folder}/{hashlib.sha256(b'content').hexdigest()}"
    assert Path(path).read_bytes() == b"content"
    assert first.pushed == (path,)
    first.clean(device, keep=True)
    other = tmp_path / "another name"
    other.write_bytes(b"content")
    second = Store(device)
    assert second.put(other) == path
    assert second.pushed == ()
    assert len(device.pushes) == 1
    second.clean(device, keep=False)
    # It was not this run that pushed it.
    assert Path(path).exists()
    assert not (tmp_path / "pwned").exists()


def test_everything_goes(device: LocalDevice, tmp_path: Path) -> None:
    """A run leaves nothing, not even the directory."""
    store = Store(device)
    store.put(file(tmp_path))
    assert stat.S_IMODE(os.stat(device.folder).st_mode) == 0o700
    store.clean(device, keep=False)
    assert not Path(device.folder).exists()


def test_files_of_others_stay(device: LocalDevice, tmp_path: Path) -> None:
    """Only what this run has made is removed."""
    store = Store(device)
    store.put(file(tmp_path))
    (Path(device.folder) / "mine").write_text("keep me")
    store.clean(device, keep=False)
    assert device.files() == ["mine"]


def test_a_file_that_is_damaged_there(device: LocalDevice, tmp_path: Path) -> None:
    """Its content is looked at, not its name alone."""
    source = file(tmp_path)
    store = Store(device)
    path = Path(store.put(source))
    path.write_bytes(b"other")
    assert Path(store.put(source)).read_bytes() == b"content"


def test_a_push_that_is_cut_off(device: LocalDevice, tmp_path: Path) -> None:
    """Half a file never gets the whole one's name, and is removed."""
    device.arrives = lambda data: data[: len(data) // 2]
    store = Store(device)
    with pytest.raises(PhoneError, match=r"arrived with SHA-256 .*wanted") as caught:
        store.put(file(tmp_path))
    assert "\n" not in str(caught.value)
    assert store.pushed == ()
    store.clean(device, keep=True)
    assert not Path(device.folder).exists()


def test_pushes_that_others_left(device: LocalDevice, tmp_path: Path) -> None:
    """What a killed run has left goes a day later; what is under way stays."""
    store = Store(device)
    old, new = (Path(device.folder) / f"abc.part-{age}" for age in ("old", "new"))
    run = Path(device.folder) / "run-old"
    run.mkdir()
    for path in (old, new, run / "inputs"):
        path.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 86400
    for path in (old, run):
        os.utime(path, (two_days_ago, two_days_ago))
    store.clean(device, keep=False)
    assert device.files() == [new.name]


def test_no_space(
    device: LocalDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said before anything is pushed."""
    full = State(None, None, None, None, None, (), 100)
    monkeypatch.setattr(store_module, "look", lambda target, folder: full)
    store = Store(device)
    with pytest.raises(PhoneError, match="100 bytes are free"):
        store.put(file(tmp_path))
    assert device.pushes == []


def test_a_device_that_vanishes(device: LocalDevice, tmp_path: Path) -> None:
    """Also in the middle of a push."""
    store = Store(device)

    def gone(data: bytes) -> bytes:
        device.gone = True
        raise DeviceGoneError("gone")

    device.arrives = gone
    with pytest.raises(DeviceGoneError):
        store.put(file(tmp_path))
    with pytest.raises(DeviceGoneError):
        store.clean(device, keep=False)


def test_missing_files_and_folders(device: LocalDevice, tmp_path: Path) -> None:
    """A file that is not here; a directory that cannot be made there."""
    with pytest.raises(PhoneError, match="none: cannot be read"):
        Store(device).put(tmp_path / "none")
    blocked = LocalDevice(tmp_path / "blocked")
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(PhoneError, match="can be written"):
        Store(blocked)
