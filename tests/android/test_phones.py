"""The whole command against real adbd on emulated arm64 phones.

The binary is a stand-in, LiteRT's own litert-benchmark: no package ships
benchmark_model. Times are an emulator's, and only their presence is looked at.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import ROOT, SOURCE_ROOTS
from mobileq.api import export
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.verify.images import verification_images
from mobileq_android.adb import AdbTarget
from mobileq_android.errors import DeviceGoneError, PhoneError
from mobileq_android.process import Stop
from mobileq_android.store import Store
from support.phones import STAND_IN, Network, Phone, missing
from support.signals import hear_interrupts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=str(missing())),
]

SCRIPT = ROOT / "android_bench" / "benchmark_android.py"
SIZE = 31
HANGS = f"6{os.getpid():07d}"
"""Seconds, and a number that no other program sleeps for."""
QUICK = ("--cool-down", "0", "--runs", "3", "--seconds", "0")
PATIENCE = 300.0
"""Seconds for what takes a minute on an emulator."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Where the phones are."""
    with Network(tmp_path_factory.mktemp("network")) as found:
        yield found


@pytest.fixture(scope="module")
def phones(network: Network) -> tuple[Phone, Phone]:
    """Two phones."""
    return network.phone(6555), network.phone(6557)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of C4, in a directory whose name a shell would run."""
    folder = tmp_path_factory.mktemp("it's `touch pwned` $(touch pwned); &")
    torch.manual_seed(0)
    spec = ModelSpec(group="C4", width=0.1, input_size=SIZE, reduced_strides=2)
    example = torch.zeros(1, 3, SIZE, SIZE)
    out = folder / "model.mobileq"
    export(build_model(spec), example, out=out, formats=("tflite",))
    return out


def script(
    network: Network, *arguments: str | Path, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run benchmark_android.py with a Python that has nothing installed."""
    return subprocess.run(
        [
            *(sys.executable, "-I", "-S", str(SCRIPT), *map(str, arguments)),
            *("--adb", str(network.adb), *QUICK),
        ],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=PATIENCE,
        check=False,
    )


def clean(phone: Phone) -> bool:
    """Whether nothing of ours is on a phone, and nothing runs."""
    return "none" in phone.shell("ls /data/local/tmp/mobileq 2>/dev/null || echo none")


def test_the_script_on_two_phones(
    network: Network, phones: tuple[Phone, Phone], bundle: Path, tmp_path: Path
) -> None:
    """Both give times of both files, and no turned output of the INT8 file differs."""
    np.save(tmp_path / "patches.npy", verification_images((3, SIZE, SIZE), count=1))
    done = script(
        network,
        bundle,
        *("--serial", "all", "--threads", "1", "--patches", tmp_path / "patches.npy"),
        *("--benchmark-binary", STAND_IN, "--json-file", tmp_path / "found.json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    devices = json.loads((tmp_path / "found.json").read_text())["devices"]
    assert [one["name"] for one in devices] == [phone.serial for phone in phones]
    for one in devices:
        assert one["device"]["machine"] == "aarch64"
        assert one["device"]["system"] == "Android 14 (SDK 34)"
        assert one["state"]["battery_percent"] == 90
        rows = {(r["file"], r["setting"]["delegate"]): r for r in one["rows"]}
        for name in ("model.float.tflite", "model.int8.tflite"):
            timing = rows[name, "xnnpack"]["timed"]["timing"]
            assert timing["runs"] == 3
            assert timing["mean_ms"] > 0
            assert "GPU" in rows[name, "gpu"]["unavailable"]
            assert "use_nnapi" in rows[name, "nnapi"]["unavailable"]
        turned = rows["model.int8.tflite", "xnnpack"]["turned"]
        assert turned == {"compared": 3, "changed": 0}
    assert "mobileq emulated phone" in done.stdout
    assert all(clean(phone) for phone in phones)
    assert not [*tmp_path.rglob("pwned")]
    assert not [*bundle.parent.rglob("pwned")]


def test_mobileq_bench(
    network: Network, phones: tuple[Phone, Phone], bundle: Path, tmp_path: Path
) -> None:
    """The same rows as every runtime's, in the tables, bench.json and report.html."""
    out = tmp_path / "out"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mobileq", "bench", str(bundle), *QUICK),
            *("--runtime", "android", "--runtime", "tflite", "--out", str(out)),
            *("--serial", phones[0].serial, "--adb", str(network.adb)),
            *("--benchmark-binary", str(STAND_IN), "--delegate", "xnnpack"),
            *("--threads", "1", "--images", "1", "--no-angles"),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "bench.json").read_text())
    (device,) = found["devices"]
    assert device["model"] == "mobileq emulated phone"
    assert device["build"].startswith("mobileq/emulated")
    assert "benchmark_model" in device["tool"]
    rows = {(r["label"]["runtime"], r["label"]["precision"]): r for r in found["rows"]}
    assert set(rows) == {
        (runtime, precision)
        for runtime in ("android", "tflite")
        for precision in ("float", "int8")
    }
    integer = rows["android", "int8"]
    assert integer["rotations"]["changed"] == 0
    # XNNPACK for arm64 and for this machine: the same integers.
    assert integer["host"]["differing"] == 0
    assert integer["cost"]["latency"]["runs"] == 3
    page = (out / "report.html").read_text()
    assert "mobileq emulated phone" in page
    assert phones[0].serial in page
    assert clean(phones[0])


def test_python_on_the_phone(
    network: Network, phones: tuple[Phone, Phone], bundle: Path, tmp_path: Path
) -> None:
    """With LiteRT for Python there, no binary is needed, and p99 is known."""
    done = script(
        network,
        bundle,
        *("--serial", phones[1].serial, "--threads", "1", "--delegate", "xnnpack"),
        *("--device-python", "/usr/bin/python3", "--device-packages", "/opt/packages"),
        *("--json-file", tmp_path / "found.json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (one,) = json.loads((tmp_path / "found.json").read_text())["devices"]
    assert all(row["timed"]["timing"]["p99_ms"] > 0 for row in one["rows"])
    assert clean(phones[1])


def tool(tmp_path: Path, script_text: str) -> Path:
    """A program for the phone in the binary's place."""
    path = tmp_path / "tool"
    path.write_text(
        "#!/bin/sh\n"
        "[ \"$1\" != --help ] || { echo '--graph --num_runs --num_threads'; exit; }\n"
        f"{script_text}\n"
    )
    return path


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("kill -SEGV $$", "signal 11"),
        (f"sleep {HANGS}", "no end after 4 s"),
        ("head -c 99999 /dev/urandom", "printed no figures"),
        ("yes INFO: rubbish", "no end after 4 s"),
    ],
    ids=["crashes", "hangs", "rubbish", "endless rubbish"],
)
def test_tools_that_go_wrong(
    does: str,
    said: str,
    network: Network,
    phones: tuple[Phone, Phone],
    bundle: Path,
    tmp_path: Path,
) -> None:
    """Rows say why; the exit code is 1; what hangs is ended; the phone is clean."""
    done = script(
        network,
        bundle / "model.int8.tflite",
        *("--serial", phones[0].serial, "--threads", "1", "--delegate", "xnnpack"),
        *("--benchmark-binary", tool(tmp_path, does), "--patience", "4"),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stdout
    assert clean(phones[0])
    # Its programs are programs of this machine, run by the emulator.
    assert f"sleep {HANGS}" not in phones[0].shell("ps -A -o args")


def test_a_phone_that_vanishes(
    network: Network, phones: tuple[Phone, Phone], bundle: Path, tmp_path: Path
) -> None:
    """The other one's rows are all there; the exit code says that some are missing."""
    gone = network.phone(6559)
    begun = time.monotonic()

    def pull_out() -> None:
        while "run-" not in gone.shell("ls /data/local/tmp/mobileq"):
            assert time.monotonic() < begun + PATIENCE
        time.sleep(1.0)
        gone.kill()

    thread = threading.Thread(target=pull_out)
    thread.start()
    done = script(
        network,
        bundle / "model.int8.tflite",
        *("--serial", gone.serial, "--serial", phones[0].serial, "--threads", "1,2"),
        *("--benchmark-binary", STAND_IN, "--delegate", "xnnpack"),
        *("--json-file", tmp_path / "found.json"),
        cwd=tmp_path,
    )
    thread.join()
    assert done.returncode == 1
    lost, there = json.loads((tmp_path / "found.json").read_text())["devices"]
    assert lost["failure"].startswith(f"{gone.serial}: is gone")
    assert there["failure"] is None
    assert [row["setting"]["threads"] for row in there["rows"]] == [1, 2]
    assert all(row["timed"] for row in there["rows"])
    assert clean(phones[0])


def test_an_interruption(
    network: Network, phones: tuple[Phone, Phone], bundle: Path, tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM leave the phones as they were, also with several of them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(SCRIPT), str(bundle), *QUICK),
                *("--serial", "all", "--adb", str(network.adb)),
                *("--benchmark-binary", str(tool(tmp_path, f"sleep {HANGS}"))),
            ],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_interrupts,
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if "timing" in line:
                    break
            time.sleep(2.0)
            process.send_signal(number)
            _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert "the devices have been cleaned" in said
        assert all(clean(phone) for phone in phones)


def test_a_full_disk(network: Network, tmp_path: Path) -> None:
    """It is seen before the push; one that fills up meanwhile keeps nothing of it."""
    small = network.phone(6561, mebibytes=24)
    target = AdbTarget(str(network.adb), small.serial, Stop())
    store = Store(target)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(2**24))
    with pytest.raises(PhoneError, match="bytes are free"):
        store.put(large)
    half = f"{target.folder}/{'0' * 64}.part-x"
    with pytest.raises(PhoneError, match="No space left"):
        target.push(_larger(tmp_path), half)
    store.clean(target, keep=True)
    assert clean(small)
    small.kill()


def _larger(tmp_path: Path) -> Path:
    """A file that does not fit, whatever is free."""
    path = tmp_path / "larger"
    path.write_bytes(os.urandom(2**25))
    return path


def test_a_push_that_is_cut_off(network: Network, tmp_path: Path) -> None:
    """The phone dies while it receives: the file's name is never used."""
    phone = network.phone(6563)
    target = AdbTarget(str(network.adb), phone.serial, Stop())
    store = Store(target)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(2**27))
    killer = threading.Timer(0.15, phone.kill)
    killer.start()
    with pytest.raises(DeviceGoneError):
        store.put(large)
    killer.join()
    assert store.pushed == ()
