"""`mobileq bench` and benchmark_android.py with devices: options and mistakes.

The phone is this machine behind a program in adb's place; tests/android has emulated
ones with a real adbd.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import mobileq
from conftest import ROOT, SOURCE_ROOTS, Cli
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.verify.images import verification_images
from support.fake_adb import make_adb, make_phone
from support.local_device import PYTHON, ended, make_tool
from support.signals import hear_interrupts

SIZE = 31
SCRIPT = ROOT / "android_bench" / "benchmark_android.py"
QUICK = ("--cool-down", "0", "--runs", "3", "--seconds", "0")
PATIENCE = 120.0
"""Seconds for what takes a few."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of C4."""
    torch.manual_seed(0)
    spec = ModelSpec(group="C4", width=0.1, input_size=SIZE, reduced_strides=2)
    out = tmp_path_factory.mktemp("it's $(touch pwned)") / "model.mobileq"
    example = torch.zeros(1, 3, SIZE, SIZE)
    mobileq.export(build_model(spec), example, out=out, formats=("tflite",))
    return out


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """An adb with one phone."""
    return make_phone(tmp_path / "phone")


def script(
    *arguments: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run benchmark_android.py with a Python that has nothing installed."""
    usual = {
        k: v for k, v in os.environ.items() if not k.startswith(("ADB", "ANDROID"))
    }
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**usual, **(env or {})},
        check=False,
    )


@pytest.mark.slow
def test_bench_on_a_phone(bundle: Path, phone: Path, tmp_path: Path, cli: Cli) -> None:
    """Accuracy, agreement, symmetry and difference from this machine; a report."""
    out = tmp_path / "out"
    arguments = [
        *("bench", bundle, "--serial", "A1", "--adb", phone, *QUICK, "--out", out),
        *("--device-python", PYTHON, "--data", "synthetic", "--images", "8"),
        *("--threads", "1", "--limit", "32"),
    ]
    done = cli(arguments)
    assert done.returncode == 0, done.stderr
    assert "Outputs of devices against XNNPACK on this machine" in done.stdout
    assert "Devices were given the 8 images that are turned" in done.stdout
    found = json.loads((out / "bench.json").read_text())
    assert [device["name"] for device in found["devices"]] == ["A1"]
    first, second = found["rows"]
    assert {first["label"]["runtime"], second["label"]["runtime"]} == {"linux"}
    assert second["host"]["differing"] == 0
    assert second["rotations"]["changed"] == 0
    assert second["accuracy"]["count"] == 8
    assert second["agreement"] is not None
    assert "Phones and boards" in (out / "report.html").read_text()
    assert not [*phone.parent.rglob("mobileq")]
    assert not [*tmp_path.rglob("pwned")]
    again = cli([*arguments, "--resume", "--fail-if", "changed>0,p50>0"])
    assert again.returncode == 1
    assert "2 figures" in again.stderr  # every time is more than 0
    assert json.loads((out / "bench.json").read_text())["rows"] == found["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bench_is_interrupted(
    number: signal.Signals, bundle: Path, phone: Path, tmp_path: Path
) -> None:
    """What runs on the phone is ended, and nothing stays there."""
    pid = tmp_path / "pid"
    does = f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "mobileq", "bench", str(bundle)),
            *("--runtime", "android", "--adb", str(phone), *QUICK),
            *("--benchmark-binary", str(make_tool(tmp_path / "tool", does))),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    ) as process:
        end = time.monotonic() + PATIENCE
        while not (pid.exists() and pid.read_text()):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert ended(int(pid.read_text()))
    assert not [*phone.parent.rglob("mobileq")]


def test_the_script_keeps_files(bundle: Path, phone: Path, tmp_path: Path) -> None:
    """With --keep a second run pushes nothing; --patches are turned on the device."""
    np.save(tmp_path / "p.npy", verification_images((3, SIZE, SIZE), count=2))
    tool = make_tool(tmp_path / "tool")
    usual = (
        "--adb",
        phone,
        "--benchmark-binary",
        tool,
        *QUICK,
        "--delegate",
        "xnnpack",
    )
    done = script(
        bundle, *usual, "--threads", "1", "--patches", tmp_path / "p.npy", "--keep"
    )
    assert done.returncode == 0, done.stderr
    assert "0/6" in done.stdout
    folder = phone.parent / "data_local_tmp" / "mobileq"
    kept = sorted(folder.iterdir())
    assert len(kept) == 3  # the tool and two files
    times = [path.stat().st_mtime_ns for path in kept]
    done = script(bundle, *usual, "--threads", "1", "--no-pin")
    assert done.returncode == 0, done.stderr
    assert [path.stat().st_mtime_ns for path in sorted(folder.iterdir())] == times


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--threads", "0"), "--threads is '0'"),
        (("--threads", "1,x"), "--threads is '1,x'"),
        (("--patches", "none.npy"), "none.npy: cannot be read"),
        (("--adb", "nonesuch"), "platform-tools"),
        (("--ssh=-oProxyCommand=x",), "no host"),
        ((), "no benchmark tool is named"),
    ],
)
def test_mistakes_of_the_script(
    arguments: tuple[str, ...], said: str, bundle: Path, phone: Path
) -> None:
    """One line and exit code 2."""
    usual = (
        () if "--adb" in arguments or "-oProxy" in str(arguments) else ("--adb", phone)
    )
    done = script(bundle, *usual, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_script_loses_no_file(bundle: Path, phone: Path, tmp_path: Path) -> None:
    """An older --json-file stays, unless it is to be replaced."""
    path = tmp_path / "old.json"
    path.write_text("mine")
    usual = (bundle, "--adb", phone, "--benchmark-binary", make_tool(tmp_path / "tool"))
    done = script(*usual, *QUICK, "--json-file", path)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert path.read_text() == "mine"
    more = (
        "--json-file",
        path,
        "--overwrite",
        "--threads",
        "1",
        "--delegate",
        "builtin",
    )
    assert script(*usual, *QUICK, *more).returncode == 0
    assert json.loads(path.read_text())["format"] == "mobileq-android"
    missing = tmp_path / "none" / "found.json"
    done = script(*usual, *QUICK, "--json-file", missing, "--threads", "1")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr.splitlines()[-1]


def test_devices_that_are_not_ready(tmp_path: Path, bundle: Path, cli: Cli) -> None:
    """Unauthorized and offline phones, and none, by both commands."""
    for state, remedy in (
        ("A1\tunauthorized\n", "allow USB debugging"),
        ("A1\toffline\n", "adb reconnect"),
        ("", "no phone"),
        ("A1\tdevice\nB2\tdevice\n", "--serial"),
    ):
        adb = make_adb(tmp_path / "adb", state)
        for done in (
            script(bundle, "--adb", adb),
            cli(["bench", bundle, "--runtime", "android", "--adb", adb]),
        ):
            assert done.returncode == 2
            assert remedy in done.stderr.splitlines()[-1]
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--delegate", "tpu"), "--delegate is 'tpu'; wanted xnnpack"),
        (("--threads", "none"), "--threads is 'none'"),
        (("--serial", "B2"), "B2: no such device"),
        (("--device-python", "nonesuch"), "nonesuch has no LiteRT"),
        ((), "no benchmark tool is named"),
        (("--benchmark-binary", "none"), "none: cannot be read"),
    ],
)
def test_mistakes_of_bench(
    arguments: tuple[str, ...], said: str, bundle: Path, phone: Path, cli: Cli
) -> None:
    """One line and exit code 2."""
    done = cli(["bench", bundle, "--runtime", "android", "--adb", phone, *arguments])
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("more", [("--ssh", "pi"), ("--runtime", "all")])
def test_a_serial_number_always_means_a_phone(
    more: tuple[str, str], bundle: Path, phone: Path, cli: Cli
) -> None:
    """Beside boards and this machine's runtimes too; it is looked for first."""
    done = cli(["bench", bundle, "--serial", "B2", "--adb", phone, *more])
    assert done.returncode == 2
    assert "B2: no such device" in done.stderr


def test_the_environment_names_phone_and_tool(
    bundle: Path, phone: Path, tmp_path: Path
) -> None:
    """ADB, ANDROID_SERIAL and MOBILEQ_BENCHMARK_MODEL are followed."""
    env = {
        "ADB": str(phone),
        "ANDROID_SERIAL": "A1",
        "MOBILEQ_BENCHMARK_MODEL": str(make_tool(tmp_path / "tool")),
    }
    usual = (bundle / "model.int8.tflite", *QUICK, "--threads", "1")
    done = script(*usual, "--delegate", "xnnpack", env=env)
    assert done.returncode == 0, done.stderr
    assert "Timed by benchmark_model" in done.stdout
    done = script(*usual, env={**env, "ANDROID_SERIAL": "B2"})
    assert done.returncode == 2
    assert "B2: no such device" in done.stderr
