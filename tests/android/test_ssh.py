"""Boards, by a real ssh and a real sshd on this machine."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import mobileq
from conftest import Cli
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.verify.images import verification_images
from mobileq_android.errors import DeviceGoneError, PhoneError, StoppedError, ToolError
from mobileq_android.plan import Inputs, Options
from mobileq_android.process import Stop
from mobileq_android.session import Session
from mobileq_android.ssh import VARIABLE, SshTarget
from mobileq_android.tools import Budget, Setting
from mobileq_tflite.runner import TfliteRunner
from support.certified import SIZE, small
from support.local_device import PYTHON, ended

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        SSHD is None or shutil.which("ssh-keygen") is None,
        reason="no sshd here (apt-get install openssh-server)",
    ),
]
PATIENCE = 30.0
"""Seconds for what takes less than one."""


@dataclass(frozen=True)
class Board:
    """An sshd of our own.

    Attributes:
        host: As ssh takes it.
        home: Where its files go.
        process: The daemon.
    """

    host: str
    home: Path
    process: subprocess.Popen[bytes]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A daemon for this user and one key, on a free port of the loopback."""
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name],
            check=True,
        )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shutil.copy(tmp_path / "user.pub", tmp_path / "keys")
    (tmp_path / "keys").chmod(0o600)
    home = tmp_path / "the home"
    home.mkdir()
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\n"
        f"AuthorizedKeysFile {tmp_path}/keys\nPidFile none\nUsePAM no\n"
        f"StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f'SetEnv "XDG_CACHE_HOME={home}"\n'
    )
    (tmp_path / "ssh_config").write_text(
        f"Host *\n  Port {port}\n  IdentityFile {tmp_path}/user\n"
        f"  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  LogLevel ERROR\n"
        f"  UserKnownHostsFile {tmp_path}/known\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
    process = subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", tmp_path / "sshd_config"],
        stderr=subprocess.DEVNULL,
    )
    monkeypatch.setenv(VARIABLE, f"ssh -F '{tmp_path}/ssh_config'")
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
    host = f"{getpass.getuser()}@127.0.0.1"
    # Accounts may be locked, or have no shell: then sshd lets nobody in at all.
    probe_command = ["ssh", "-F", tmp_path / "ssh_config", "-n", host, "true"]
    tried = subprocess.run(probe_command, capture_output=True, text=True, check=False)
    try:
        if tried.returncode != 0:
            pytest.skip(f"sshd lets {host} not in here: {tried.stderr.strip()}")
        yield Board(host, home, process)
    finally:
        process.kill()
        process.wait()


def test_files_and_commands(board: Board, tmp_path: Path) -> None:
    """Bytes arrive as they are, names are quoted, exit codes and errors come back."""
    target = SshTarget(board.host, Stop())
    assert target.folder == f"{board.home}/mobileq"
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 4096)
    path = f"{board.home}/$(touch pwned) `touch pwned`;'\" é"
    target.push(source, path)
    assert Path(path).read_bytes() == source.read_bytes()
    assert target.pull(path) == source.read_bytes()
    done = target.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.out, done.err) == (7, b"out\n", b"err\n")
    assert [p.name for p in board.home.iterdir()] == [Path(path).name]
    with pytest.raises(PhoneError, match="No such file"):
        target.pull("/nonesuch")
    with pytest.raises(PhoneError, match="cannot be copied"):
        target.push(source, "/nonesuch/file")


def test_a_whole_session(board: Board, tmp_path: Path) -> None:
    """Times and outputs of LiteRT over there; the same bits as here; nothing left."""
    model = tmp_path / "a model.tflite"
    model.write_bytes(small("C4").files["tflite"])
    here = TfliteRunner(model.read_bytes(), kernels="xnnpack")
    images = verification_images((3, SIZE, SIZE), count=2)
    tensor, shape = here.source
    options = Options(python=PYTHON, cool_down=0, budget=Budget(3, 0), pin=False)
    with Session(SshTarget(board.host, Stop()), options, Stop()) as session:
        path, setting = session.put(model), Setting("xnnpack", 1)
        assert session.time(path, setting).timing.runs == 3
        raw = session.outputs(
            path, setting, Inputs(images.tobytes(), tensor, shape, len(images))
        )
    one, kind = here.made
    found = here.read(np.frombuffer(raw, kind).reshape(len(images), *one[1:]).copy())
    np.testing.assert_array_equal(found, here.outputs(images))
    assert list(board.home.iterdir()) == []


def test_bench_on_a_board(board: Board, tmp_path: Path, cli: Cli) -> None:
    """The whole command: rows of the board, compared with this machine, and a note."""
    torch.manual_seed(0)
    spec = ModelSpec(group="C4", width=0.1, input_size=31, reduced_strides=2)
    bundle = tmp_path / "model.mobileq"
    example = torch.zeros(1, 3, 31, 31)
    mobileq.export(build_model(spec), example, out=bundle, formats=("tflite",))
    done = cli(
        [
            *("bench", bundle, "--ssh", board.host, "--device-python", PYTHON),
            *("--cool-down", "0", "--runs", "3", "--seconds", "0", "--images", "2"),
            *("--threads", "1", "--json-file", tmp_path / "found.json"),
        ]
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    (device,) = found["devices"]
    assert (device["name"], device["kind"]) == (board.host, "linux")
    assert device["machine"] == platform.machine()
    real, integer = found["rows"]
    for row in (real, integer):
        assert row["label"]["device"] == board.host
        assert row["host"]["differing"] == 0
        assert row["cost"]["latency"]["p99_ms"] > 0
    assert integer["rotations"] == {
        **integer["rotations"],
        "compared": 6,
        "changed": 0,
    }
    assert list(board.home.iterdir()) == []


def test_a_command_that_hangs_and_one_that_is_stopped(
    board: Board, tmp_path: Path
) -> None:
    """The far program is ended in both cases."""
    tool = tmp_path / "tool"
    tool.write_text(
        "#!/bin/sh\n"
        "[ $1 != --help ] || { echo '--graph --num_runs --num_threads'; exit; }\n"
        f"echo $$ >'{tmp_path}/pid'\nsleep 600\n"
    )
    stop = Stop()
    options = Options(binary=tool, cool_down=0, patience=3)
    with Session(SshTarget(board.host, stop), options, stop) as session:
        with pytest.raises(ToolError, match="no end after 3 s"):
            session.time("model", Setting("xnnpack", 1))
        pid = int((tmp_path / "pid").read_text())
        assert ended(pid)
        stop.set()
        with pytest.raises(StoppedError):
            session.time("model", Setting("xnnpack", 1))
    assert list(board.home.iterdir()) == []


def test_boards_that_cannot_be_reached(board: Board, tmp_path: Path) -> None:
    """No such host, no key, and a daemon that dies in the middle."""
    target = SshTarget(board.host, Stop())
    (tmp_path / "keys").write_text("")
    with pytest.raises(DeviceGoneError, match="without a password"):
        target.run(["true"])
    board.process.kill()
    board.process.wait()
    with pytest.raises(DeviceGoneError, match="refused"):
        target.run(["true"])
    with pytest.raises(DeviceGoneError, match="ssh says"):
        SshTarget("nonesuch.invalid", Stop())


@pytest.mark.parametrize("host", ["", "-oProxyCommand=touch pwned", "a b", "a\nb"])
def test_hosts_that_are_none(host: str, tmp_path: Path) -> None:
    """Options of ssh in a host's place are refused before ssh is started."""
    with pytest.raises(PhoneError, match="no host"):
        SshTarget(host, Stop())


@pytest.mark.parametrize("program", ["nonesuch", "'unbalanced"])
def test_no_ssh(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that names it is named."""
    monkeypatch.setenv(VARIABLE, program)
    with pytest.raises(PhoneError, match=VARIABLE):
        SshTarget("pi", Stop())
