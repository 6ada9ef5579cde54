"""How runners in processes of their own begin, and how they come to an end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobileq.bench.cores import allowed_cores
from mobileq.bench.process import ProcessRunner
from mobileq.bench.spec import RunnerSpec
from mobileq.errors import (
    BundleError,
    RuntimeProcessError,
)
from support.runner_files import RunnerFiles, one_line, write_runner_files

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="only Linux tells about other processes in /proc",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> RunnerFiles:
    """Small files of one network."""
    return write_runner_files(tmp_path_factory.mktemp("runners"))


@pytest.fixture
def doomed(
    files: RunnerFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProcessRunner]:
    """A process that a test may end, where a core dump is in nobody's way."""
    monkeypatch.chdir(tmp_path)
    with ProcessRunner(files.spec("int8.tflite", "builtin")) as runner:
        yield runner


def is_running(pid: int) -> bool:
    """Whether a process exists, and is more than an entry that waits to be read."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process ends in time, which a busy machine gets plenty of."""
    end = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@needs_proc
def test_process_of_a_refused_file_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that could not be made leaves no process behind, error kept or not."""
    started: list[int] = []
    popen = subprocess.Popen

    def noted(*args: Any, **keywords: Any) -> Any:
        process = popen(*args, **keywords)
        started.append(process.pid)
        return process

    monkeypatch.setattr("mobileq.bench.process.subprocess.Popen", noted)
    path = tmp_path / "empty.onnx"
    path.touch()
    with pytest.raises(BundleError) as kept:
        ProcessRunner(RunnerSpec("onnx", "cpu", str(path)))
    (pid,) = started
    assert not is_running(pid)
    assert kept.value.__traceback__ is not None


def test_killed(doomed: ProcessRunner, files: RunnerFiles) -> None:
    """A process that was killed is an error in one line; from then on it has ended."""
    os.kill(doomed.pid, signal.SIGKILL)
    with pytest.raises(RuntimeProcessError) as found:
        doomed.outputs(files.pixels)
    one_line(found, "int8.tflite (tflite, builtin)", "killed (SIGKILL)", "wanted")
    with pytest.raises(RuntimeProcessError) as found:
        doomed.outputs(files.pixels)
    one_line(found, "int8.tflite", "has ended", "make a new ProcessRunner")
    doomed.close()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, "crashed (SIGSEGV)"),
        (signal.SIGTERM, "was told to end (SIGTERM)"),
    ],
)
def test_ended_by_a_signal(
    number: signal.Signals, words: str, doomed: ProcessRunner, files: RunnerFiles
) -> None:
    """How it ended is said in words, with the signal's name."""
    os.kill(doomed.pid, number)
    with pytest.raises(RuntimeProcessError) as found:
        doomed.outputs(files.pixels)
    one_line(found, "int8.tflite", words)


def test_closed_twice(doomed: ProcessRunner, files: RunnerFiles) -> None:
    """Closing ends the process; closing again does nothing; then it has ended."""
    pid = doomed.pid
    doomed.close()
    doomed.close()
    assert not is_running(pid)
    with pytest.raises(RuntimeProcessError, match="has ended"):
        doomed.usage()


def test_forgotten(files: RunnerFiles) -> None:
    """Without `with`, the process ends when nobody holds the runner any more."""
    runner = ProcessRunner(files.spec("int8.tflite", "builtin"))
    pid = runner.pid
    del runner
    assert not is_running(pid)


def test_interrupted_request(
    doomed: ProcessRunner, files: RunnerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C in the middle of a request, no later one gets its answer."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doomed._connection, "recv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        doomed.outputs(files.pixels)
    assert not is_running(doomed.pid)
    with pytest.raises(RuntimeProcessError, match="has ended"):
        doomed.outputs(files.pixels)


@needs_proc
def test_ctrl_c_is_not_its_business(doomed: ProcessRunner, files: RunnerFiles) -> None:
    """Ctrl-C reaches the whole group; the process leaves it to the other side."""
    os.kill(doomed.pid, signal.SIGINT)
    assert len(doomed.outputs(files.pixels)) == len(files.pixels)


PARENT = """
import sys, time
from mobileq.bench.process import ProcessRunner
from mobileq.bench.spec import RunnerSpec
runner = ProcessRunner(RunnerSpec("tflite", "xnnpack", sys.argv[1]))
print(runner.pid, flush=True)
time.sleep(600)
"""


@needs_proc
def test_parent_is_killed(files: RunnerFiles) -> None:
    """A process ends by itself when the program that started it is killed."""
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(files.paths["int8.tflite"])],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    assert wait_until_gone(pid)


@pytest.mark.parametrize("first", ["nothing", "", "folder"])
def test_files_of_the_current_directory(
    first: str, files: RunnerFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file next to the user that is called as a package is not taken for it.

    The directory may be on this process's path: a network of the user's puts it there.
    """
    for name in ("numpy", "mobileq", "ai_edge_litert", "socket"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('wrong file')")
    monkeypatch.chdir(tmp_path)
    if first != "nothing":
        front = str(tmp_path) if first else ""
        monkeypatch.setattr(sys, "path", [front, *sys.path])
    with ProcessRunner(files.spec("int8.tflite", "xnnpack")) as runner:
        assert len(runner.outputs(files.pixels)) == len(files.pixels)


@needs_proc
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_cores(files: RunnerFiles, threads: int) -> None:
    """The process is kept on as many cores as it has threads, and says its threads."""
    spec = files.spec("int8.onnx", "cpu", threads=threads)
    with ProcessRunner(spec) as runner:
        assert len(runner.cores) == min(threads, len(allowed_cores()))
        folder = Path(f"/proc/{runner.pid}")
        for task in (folder / "task").iterdir():
            status = (task / "status").read_text(encoding="ascii")
            (allowed,) = re.findall(r"Cpus_allowed_list:\s*(\S+)", status)
            assert listed(allowed) == runner.cores
        environment = (folder / "environ").read_bytes().split(b"\0")
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            assert f"{name}={threads}".encode() in environment
        assert f"{threads} thread" in runner.name
        assert len(runner.outputs(files.pixels)) == len(files.pixels)


def listed(cores: str) -> tuple[int, ...]:
    """Cores of a text such as `0-2,5`."""
    found: list[int] = []
    for part in cores.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
