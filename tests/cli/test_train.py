"""`mobileq train` as a user types it: output, exit codes, kills and Ctrl-C."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from conftest import SOURCE_ROOTS
from mobileq.checkpoint import load_checkpoint
from mobileq.cli import app
from mobileq.train import step as step_module
from support.signals import hear_interrupts
from support.small_runs import differences, read_state

SMALL = [
    "train",
    *("--group", "C2", "--width", "0.05"),
    *("--input-size", "15", "--reduced-strides", "2", "--batch-size", "4"),
    *("--threads", "1", "--save-every", "0"),
]


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


Mobileq = Callable[..., Done]


@pytest.fixture
def mobileq(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Mobileq]:
    """Run the command line inside this process, in the test's directory."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def run(*options: str) -> Done:
        # The last one of an option that is given twice is the one that counts.
        short = ["--limit", "8", "--epochs", "2"]
        monkeypatch.setattr(sys, "argv", ["mobileq", *SMALL, *short, *options])
        try:
            app.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    yield run
    torch.set_num_threads(threads)


def check_refused(done: Done, message: str, code: int = 2) -> None:
    """Check exit code and that the complaint is a single line."""
    assert done.code == code
    assert message in done.err
    assert done.err.startswith("mobileq: ")
    assert done.err.count("\n") == 1


def test_output(mobileq: Mobileq, tmp_path: Path) -> None:
    """A log file gets whole lines without control characters, and all scores."""
    folder = tmp_path / ("a-long-name-" * 10)
    done = mobileq("--out", "model.pt", "--run-dir", str(folder))
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert len(lines) == 6
    assert re.search(r"C2 .* [\d,]+ parameters, [\d.]+ M multiply-adds", lines[0])
    assert lines[1].startswith("8 training images, 8 for validation, 8 for the test")
    assert lines[1].endswith(str(folder))
    scores = r"accuracy \d\.\d+, AUC \d\.\d+, loss \d\.\d+ \(8 images\)"
    for number, line in enumerate(lines[2:4], start=1):
        assert re.search(f"^epoch +{number}  training loss .* {scores}", line)
    assert re.search(f"^best epoch +[12]  test {scores}$", lines[4])
    assert lines[5] == "wrote model.pt"
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.out)


def test_result(mobileq: Mobileq) -> None:
    """The checkpoint holds the best weights and says how it was trained."""
    assert mobileq("--out", "deep/model.safetensors").code == 0
    final = load_checkpoint("deep/model.safetensors")
    best = load_checkpoint("runs/model/best.pt")
    assert differences(dict(final.weights), dict(best.weights)) == []
    assert final.training["test"]["count"] == 8
    assert final.training["config"]["epochs"] == 2
    assert final.spec.group == "C2"


def test_finished_run_writes_its_result_again(mobileq: Mobileq) -> None:
    """`--resume` of a finished run takes no step and writes the same checkpoint."""
    name = "model.safetensors"
    assert mobileq("--out", name).code == 0
    first = Path(name).read_bytes()
    again = mobileq("--out", name, "--overwrite", "--resume")
    assert again.code == 0
    assert "training loss" not in again.out
    assert Path(name).read_bytes() == first


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("there.pt", "there.pt: exists already; wanted a new name"),
        ("model.onnx", "the suffix is '.onnx'; wanted .pt or .safetensors"),
        ("there.pt/model.pt", "cannot be written"),
        ("/proc/nothing/model.pt", "cannot be written"),
    ],
)
def test_unsuitable_output(mobileq: Mobileq, out: str, message: str) -> None:
    """What cannot be written at the end is refused before anything is computed."""
    Path("there.pt").write_text("precious")
    check_refused(mobileq("--out", out), message)
    assert Path("there.pt").read_text() == "precious"
    assert not Path("runs").exists()


def test_output_is_a_directory(mobileq: Mobileq) -> None:
    """`--overwrite` replaces files only."""
    Path("model.pt").mkdir()
    check_refused(mobileq("--out", "model.pt", "--overwrite"), "is a directory")
    assert not Path("runs").exists()


def test_overwrite(mobileq: Mobileq) -> None:
    """`--overwrite` replaces an existing file by a whole one."""
    Path("model.pt").write_text("old")
    assert mobileq("--out", "model.pt", "--overwrite").code == 0
    assert load_checkpoint("model.pt").spec.group == "C2"


def test_run_directory_cannot_be_made(mobileq: Mobileq) -> None:
    """A run that could not be kept does not start."""
    done = mobileq("--run-dir", "/proc/nothing")
    check_refused(done, "/proc/nothing/state.pt: cannot be written")
    assert "epoch" not in done.out


def test_run_directory_in_use(mobileq: Mobileq) -> None:
    """Another run is continued or left alone; other settings are named."""
    assert mobileq("--out", "model.pt").code == 0
    before = Path("runs/model/state.pt").read_bytes()
    new = ["--out", "new.pt", "--run-dir", "runs/model"]
    check_refused(mobileq(*new), "a run is here already; wanted --resume")
    for option, value, name in (
        ("--epochs", "3", "epochs is 2 in the interrupted run and 3"),
        ("--width", "0.1", "width is 0.05 in the interrupted run and 0.1"),
        ("--limit", "10", "number of training images is 8 in the interrupted run"),
    ):
        check_refused(mobileq(*new, "--resume", option, value), name)
    Path("runs/model/state.pt").write_bytes(before[:-100])
    check_refused(mobileq(*new, "--resume"), "damaged or of another program")
    assert not Path("new.pt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "no interrupted run here"),
        (["--precision", "fp16"], "precision is 'fp16'; wanted auto, bf16, fp32"),
        (["--device", "tpu"], "device is 'tpu'; wanted auto, cpu, cuda"),
        (["--epochs", "0"], "epochs is 0; wanted 1 to 100000"),
        (["--group", "E8"], "group is 'E8'"),
        (["--input-size", "16"], "wanted an odd input size"),
        (
            ["--input-size", "97"],
            "test set: images of 96x96 px; wanted at least 97",
        ),
        (["--data", "nowhere"], "nowhere: no such directory"),
    ],
)
def test_bad_options(mobileq: Mobileq, options: list[str], message: str) -> None:
    """Each mistake is one line and exit code 2, and leaves no run behind."""
    check_refused(mobileq(*options), message)
    assert not Path("model.pt").exists()
    assert not Path("runs").exists()


def test_full_disk(mobileq: Mobileq, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is one line, not a traceback."""

    def full(content: object, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    check_refused(mobileq(), "runs/model/state.pt: cannot be written")
    assert list(Path("runs/model").iterdir()) == []


def test_nan(mobileq: Mobileq, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN loss is exit code 1."""

    def spoiled(logits: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return logits.sum() * float("nan")

    monkeypatch.setattr(step_module.F, "cross_entropy", spoiled)
    check_refused(mobileq(), "epoch 1, step 1: the loss is nan", code=1)
    assert read_state(Path("runs/model"))["step"] == 0


def wait_for_step(
    process: subprocess.Popen[str], run_dir: Path, place: tuple[int, int]
) -> None:
    """Wait until a run has saved a state at or after (epoch, step)."""
    for _ in range(6000):
        if process.poll() is not None:
            pytest.fail(f"the run ended too early: {process.communicate()}")
        if (run_dir / "state.pt").exists():
            state = read_state(run_dir)
            if (state["epoch"], state["step"]) >= place:
                return
        time.sleep(0.02)
    pytest.fail(f"{run_dir}: no step {place} within two minutes")


@pytest.mark.slow
def test_killed_processes(mobileq: Mobileq, tmp_path: Path) -> None:
    """A run that was killed, and then interrupted, ends with the same bits."""
    paths = [*SOURCE_ROOTS, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    options = ["--limit", "40", "--epochs", "3", "--group", "conventional"]
    run_dir = tmp_path / "runs" / "killed"

    def start(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mobileq.cli.app", *SMALL, *options, *more]
        return subprocess.Popen(
            [*command, "--out", "killed.safetensors"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_interrupts,
        )

    with start() as process:
        wait_for_step(process, run_dir, (1, 3))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    state = read_state(run_dir)
    assert (1, 3) <= (state["epoch"], state["step"]) < (3, 0)
    with start("--resume") as process:
        wait_for_step(process, run_dir, (2, 1))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, (out, err)
    assert err.count("\n") == 1
    assert "runs/killed: give the same command with --resume to continue it" in err
    assert not (tmp_path / "killed.safetensors").exists()

    rarely = [*options, "--save-every", "1e9"]
    assert mobileq(*rarely, "--out", "killed.safetensors", "--resume").code == 0
    assert mobileq(*rarely, "--out", "whole.safetensors").code == 0
    names = ("killed", "whole")
    killed, whole = ((tmp_path / f"{n}.safetensors").read_bytes() for n in names)
    assert killed == whole
    assert differences(*(read_state(tmp_path / "runs" / n) for n in names)) == []
