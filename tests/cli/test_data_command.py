"""`mobileq data pcam`, also killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from conftest import SOURCE_ROOTS, Cli
from mobileq.cli.data import fetch_and_show
from support.http_server import Server, serve
from support.small_pcam import NOWHERE, SmallPcam, small_pcam

X = "camelyonpatch_level_2_split_train_x.h5.gz"

COMMAND = """
import json, sys
from pathlib import Path
from mobileq.cli.data import fetch_and_show
from mobileq.data.archives import Archive, PcamFiles
archives = tuple(Archive(**values) for values in json.loads(sys.argv[3]))
fetch_and_show(Path(sys.argv[1]), PcamFiles(sys.argv[2], archives), ["train"])
"""
"""What the command does, with hashes of our own."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach this machine directly, whatever the environment says."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def pcam(tmp_path_factory: pytest.TempPathFactory) -> SmallPcam:
    """Archives of one split of 30 patches."""
    return small_pcam(tmp_path_factory.mktemp("small"), ["train"], 30)


@pytest.fixture
def server(pcam: SmallPcam) -> Iterator[Server]:
    """A server of these archives."""
    with serve(dict(pcam.packed)) as state:
        yield state


def start(directory: Path, pcam: SmallPcam, server: Server) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    archives = json.dumps([asdict(archive) for archive in pcam.files.archives])
    paths = os.pathsep.join(map(str, SOURCE_ROOTS))
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(directory), server.url, archives],
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_command_goes_on_where_it_was(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """After kill -9 the server sends the missing bytes and no others."""
    size, half = len(pcam.packed[X]), len(pcam.packed[X]) // 2
    server.gate_bytes = half
    part = tmp_path / f"{X}.part"
    first = start(tmp_path, pcam, server)
    until = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < half:
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not list(tmp_path.glob("*_x.h5"))
    server.gate.set()
    second = start(tmp_path, pcam, server)
    output, errors = second.communicate(timeout=60)
    assert (second.returncode, errors) == (0, "")
    assert [r.range for r in server.of(X)] == ["", f"bytes={half}-"]
    assert server.of(X)[1].served == size - half
    assert "train_y.h5: was there already, kept" in output
    assert "train_x.h5: fetched" in output
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {*pcam.unpacked, "pcam.json"}


@pytest.mark.parametrize("terminal", [False, True])
def test_bars_are_for_terminals(
    tmp_path: Path,
    pcam: SmallPcam,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    """Elsewhere each stage is one line; the end is the same."""
    monkeypatch.setenv("TTY_COMPATIBLE", str(int(terminal)))
    monkeypatch.setenv("COLUMNS", "200")
    fetch_and_show(tmp_path, pcam.files.mirrored(server.url), ["train"])
    output = capsys.readouterr().out
    assert ("━" in output) == terminal
    assert (f"fetching {X} (830.01 kB)\n" in output) != terminal
    assert f"{tmp_path}: verified, patches: train 30. Use it with --data" in output


def test_a_second_run_says_that_there_is_nothing_to_do(
    tmp_path: Path,
    pcam: SmallPcam,
    server: Server,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And with --quiet, nothing at all is printed."""
    files = pcam.files.mirrored(server.url)
    fetch_and_show(tmp_path, files, ["train"], quiet=True)
    assert capsys.readouterr().out == ""
    fetch_and_show(tmp_path, files, ["train"])
    assert "Nothing to fetch." in capsys.readouterr().out


# One split, for which two gigabytes of free space are enough.
ONE = ["--split", "test"]
COMPLAINTS = {
    "offline": ([*ONE, "--base-url", NOWHERE], "Connection refused"),
    "no such split": (["--split", "validation"], "split is 'validation'; wanted one"),
    "no address": (["--base-url", "host"], "base URL is 'host'; wanted http"),
}


@pytest.mark.parametrize(("args", "message"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_a_complaint_is_one_line(
    tmp_path: Path, cli: Cli, args: list[str], message: str
) -> None:
    """The exit code is 2, and no file is left behind."""
    done = cli(["data", "pcam", tmp_path / "data", *args])
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.*"))


def test_an_answer_that_is_not_found_is_passed_on(cli: Cli, tmp_path: Path) -> None:
    """A wrong folder on a real server is named with the whole address."""
    with serve({}) as server:
        done = cli(["data", "pcam", tmp_path, *ONE, "--base-url", server.url])
    assert done.returncode == 2
    assert f"{server.url}/camelyonpatch_level_2_split_test_y.h5.gz: the" in done.stderr
    assert "404 Not Found" in done.stderr
