"""One device, with real files, programs and LiteRT: this machine's."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobileq.verify.images import verification_images
from mobileq_android import litert_runner
from mobileq_android import session as session_module
from mobileq_android.errors import PhoneError, StoppedError, ToolError
from mobileq_android.plan import Inputs, Options
from mobileq_android.process import Stop
from mobileq_android.session import Session
from mobileq_android.state import State
from mobileq_android.tools import Budget, Setting
from mobileq_tflite.runner import TfliteRunner
from support.certified import SIZE, small
from support.local_device import PYTHON, LocalDevice, ended, make_tool

PATIENCE = 60.0
"""Seconds for what takes less than one."""

ONE = Setting("xnnpack", 1)
QUICK = Options(cool_down=0, budget=Budget(3, 0), pin=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An INT8 file, with a name that shells would take apart."""
    path = tmp_path_factory.mktemp("model") / "C4 $(touch pwned) 'of' ours.tflite"
    path.write_bytes(small("C4").files["tflite"])
    return path


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """A few images."""
    return verification_images((3, SIZE, SIZE), count=3)


@pytest.fixture
def device(tmp_path: Path) -> LocalDevice:
    """This machine."""
    (tmp_path / "the device").mkdir()
    return LocalDevice(tmp_path / "the device")


def with_tool(tmp_path: Path, does: str = "usual()", patience: float = 60) -> Options:
    """Options with a program in place of benchmark_model."""
    tool = make_tool(tmp_path / "benchmark model", does)
    return Options(
        binary=tool, cool_down=0, budget=Budget(3, 0), pin=False, patience=patience
    )


def inputs_of(runner: TfliteRunner, images: NDArray[np.uint8]) -> Inputs:
    """As the session takes them."""
    raw = b"".join(image.tobytes() for image in runner.prepared(images))
    tensor, shape = runner.source
    return Inputs(raw, tensor, shape, len(images))


def test_times_of_a_tool(device: LocalDevice, model: Path, tmp_path: Path) -> None:
    """Its figures, its name and hash; nothing is left afterwards."""
    with Session(device, with_tool(tmp_path), Stop()) as session:
        timed = session.time(session.put(model), ONE)
        assert session.compares
        assert len(session.pushed) == 2
    assert timed.timing.mean_ms == pytest.approx(1.5, rel=1e-12)
    assert (timed.timing.runs, timed.timing.load_ms) == (50, 4.0)
    assert timed.tool.startswith("benchmark_model (SHA-256 ")
    assert not Path(device.folder).exists()


@pytest.mark.parametrize("how", ["tool", "python"])
def test_outputs_are_this_machines(
    how: str,
    device: LocalDevice,
    model: Path,
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    """Raw bytes go there and come back; LiteRT is the same on both sides."""
    options = with_tool(tmp_path)
    if how == "python":
        options = Options(python=PYTHON, cool_down=0, pin=False)
    here = TfliteRunner(model.read_bytes(), kernels="xnnpack")
    with Session(device, options, Stop()) as session:
        raw = session.outputs(session.put(model), ONE, inputs_of(here, images))
    one, kind = here.made
    found = here.read(np.frombuffer(raw, kind).reshape(len(images), *one[1:]).copy())
    np.testing.assert_array_equal(found, here.outputs(images))


def test_times_of_python(
    device: LocalDevice, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single inferences are timed there, so every percentile is known."""
    options = Options(python=PYTHON, cool_down=0, budget=Budget(5, 0), pin=False)
    with Session(device, options, Stop()) as session:
        timed = session.time(session.put(model), Setting("builtin", 2))
        assert session.why_not(ONE) is None
        assert "benchmark_model" in str(session.why_not(Setting("gpu", 1)))
    timing = timed.timing
    assert timing.runs == 5
    assert timing.min_ms is not None
    assert timing.max_ms is not None
    assert timing.median_ms is not None
    assert timing.p90_ms is not None
    assert 0 < timing.min_ms <= timing.median_ms <= timing.p90_ms <= timing.max_ms
    assert "for Python" in timed.tool
    assert timing.peak_bytes is not None
    assert timing.peak_bytes > 2**20


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("print('rubbish ' * 50)", "printed no figures; said 'rubbish"),
        ("sys.exit(3)", "exit code 3"),
        ("print('ERROR: out of memory'); os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), 11)", "signal 11"),
        ("figures(-5)", "impossible"),
    ],
)
def test_tools_that_go_wrong(
    does: str, said: str, device: LocalDevice, model: Path, tmp_path: Path
) -> None:
    """A crash, an error and rubbish end in one line; the device is clean."""
    with Session(device, with_tool(tmp_path, does), Stop()) as session:
        path = session.put(model)
        with pytest.raises(ToolError, match=said) as caught:
            session.time(path, ONE)
    assert "\n" not in str(caught.value)
    assert not Path(device.folder).exists()


@pytest.mark.parametrize("ps", ["with ps", "without ps"])
def test_a_tool_that_hangs(
    ps: str,
    device: LocalDevice,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is ended on the device, and what it has started too."""
    if ps == "without ps":
        (tmp_path / "ps").write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / "ps").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    pids = tmp_path / "pids"
    does = (
        "import subprocess; child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('INFO: Loaded model', flush=True); time.sleep(600)"
    )
    with Session(device, with_tool(tmp_path, does, patience=3), Stop()) as session:
        path = session.put(model)
        with pytest.raises(ToolError, match=r"no end after 3 s; said 'Loaded model'"):
            session.time(path, ONE)
        mine = [int(pid) for pid in pids.read_text().split()]
        assert all(ended(pid) for pid in mine)
    assert not Path(device.folder).exists()


def test_an_interruption(device: LocalDevice, model: Path, tmp_path: Path) -> None:
    """What runs is ended, and the device is left as it was."""
    pids = tmp_path / "pids"
    does = f"open({str(pids)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    stop = Stop()
    target = LocalDevice(tmp_path / "the device", stop)

    def interrupt() -> None:
        end = time.monotonic() + PATIENCE
        while not (pids.exists() and pids.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        stop.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with (
        pytest.raises(StoppedError),
        Session(target, with_tool(tmp_path, does), stop) as session,
    ):
        session.time(session.put(model), ONE)
    thread.join()
    assert ended(int(pids.read_text()))
    assert not Path(device.folder).exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"#!/bin/sh\necho 'another program'\n", "another program"),
        (b"#!/bin/sh\necho '--graph --num_runs' >&2; exit 1\n", "no benchmark tool"),
        (b"PK\x03\x04", "is no program"),
        (b"\x7fELF\x02\x01".ljust(18, b"\0") + b"\xf3\x00", "is made for"),
        (None, "cannot be read"),
    ],
)
def test_files_that_are_no_tool(
    content: bytes | None, said: str, device: LocalDevice, tmp_path: Path
) -> None:
    """They are refused with where to get one; nothing stays on the device."""
    tool = tmp_path / "tool"
    if content is not None:
        tool.write_bytes(content)
    with pytest.raises(PhoneError, match=said) as caught:
        Session(device, Options(binary=tool), Stop())
    assert "\n" not in str(caught.value)
    assert "benchmark" in str(caught.value)
    assert not Path(device.folder).exists()


def test_neither_tool_nor_python(device: LocalDevice) -> None:
    """Where to get the tool is said; Pythons without LiteRT are named."""
    with pytest.raises(PhoneError, match="MOBILEQ_BENCHMARK_MODEL"):
        Session(device, Options(), Stop())
    for python in ("nonesuch", "false", "/usr/bin/env"):
        with pytest.raises(PhoneError, match="pip install ai-edge-litert") as caught:
            Session(device, Options(python=python), Stop())
        assert python in str(caught.value)
    assert not Path(device.folder).exists()


def test_heat(
    device: LocalDevice, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hot device is waited for; one that stays hot is timed and marked."""
    cool = State(90, True, 30.0, 0, None, (), 2**34)
    hot = State(90, True, 44.0, 2, None, (), 2**34)
    states = iter([hot, hot, cool, hot])
    monkeypatch.setattr(session_module, "look", lambda target, folder: next(states))
    monkeypatch.setattr(session_module, "_LOOK_EVERY", 0.01)
    told: list[str] = []
    with Session(device, with_tool(tmp_path), Stop(), told.append) as session:
        timed = session.time(session.put(model), ONE)
    assert (timed.before, timed.after) == (cool, hot)
    assert timed.throttled
    assert timed.notes == ("thermal status 2: heat lowers the clocks",)
    assert sum("cooling down" in line for line in told) == 2


def test_cores(
    device: LocalDevice, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads are kept on the fastest cores, as the process itself sees."""
    seen = tmp_path / "seen"
    mine = min(os.sched_getaffinity(0))
    does = f"open({str(seen)!r}, 'w').write(str(os.sched_getaffinity(0))); usual()"
    options = with_tool(tmp_path, does)
    with Session(
        device,
        Options(binary=options.binary, cool_down=0, budget=Budget(3, 0)),
        Stop(),
    ) as session:
        timed = session.time(session.put(model), Setting("xnnpack", 1, (mine,)))
    assert timed.setting.cores == (mine,)
    assert seen.read_text() == str({mine})


def test_what_runs_there_needs_no_mobileq() -> None:
    """The script imports the standard library, numpy and LiteRT, and nothing else."""
    import ast

    tree = ast.parse(Path(litert_runner.__file__).read_text(encoding="utf-8"))
    names = {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    } | {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    allowed = {"ctypes", "json", "platform", "sys", "time", "pathlib", "typing"}
    assert names <= allowed | {"__future__", "numpy", "ai_edge_litert"}
