"""Faults from outside: kills, a full disk, files that vanish, a missing compiler."""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from conftest import SOURCE_ROOTS
from mobileq.checkpoint import Checkpoint, load_checkpoint
from mobileq.data.pcam import open_pcam
from mobileq.errors import CheckpointError, DataError, InputError
from mobileq.models.build import build_model
from mobileq.train.loop import Report, train
from mobileq.train.network import compiler_errors
from mobileq.train.state import RunState
from mobileq.train.step import train_step
from support.small_runs import (
    CONFIG,
    STEPS,
    TRAINING,
    TWIN,
    VALIDATION,
    Killed,
    after_validation,
    at,
    die,
    differences,
    read_state,
)

TESTS = Path(__file__).resolve().parents[1]


def run(
    folder: Path, report: Report = lambda progress: None, *, resume: bool = False
) -> Checkpoint:
    """Train the small network, saving the state after every step."""
    return train(
        TWIN,
        CONFIG,
        TRAINING,
        VALIDATION,
        run_dir=folder,
        resume=resume,
        save_seconds=0.0,
        report=report,
    )


def check_same(left: Path, right: Path) -> None:
    """Compare the last state and the best checkpoint of two runs, bit for bit."""
    assert differences(read_state(left), read_state(right)) == []
    best, other = (load_checkpoint(folder / "best.pt") for folder in (left, right))
    assert differences(dict(best.weights), dict(other.weights)) == []


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """However often a run is killed, every file is whole and the result the same."""
    paths = [*SOURCE_ROOTS, TESTS, os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [
            *(sys.executable, str(TESTS / "support" / "killed_runs.py")),
            *(str(tmp_path / "killed"), "1"),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2, "no run was killed before its end"
    check_same(tmp_path / "killed", tmp_path / "timed")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("where", "file"),
    [
        (at(1, 2, die), "state.pt"),
        (after_validation(0, die), "state.pt"),
        (at(0, STEPS, die), "best.pt"),
    ],
)
def test_full_disk(where: Report, file: str, tmp_path: Path) -> None:
    """What cannot be written leaves what was there; the line says how to go on."""
    whole, full = tmp_path / "whole", tmp_path / "full"
    run(whole)
    with pytest.raises(Killed):
        run(full, where)
    before = read_state(full)
    size = (full / "state.pt").stat().st_size
    # A state holds a network four times, a checkpoint once.
    limit = size // 2 if file == "state.pt" else size // 50
    if file == "best.pt":
        # All steps of the epoch are saved: the next thing to write is the checkpoint.
        assert before["step"] == STEPS - 1
        with pytest.raises(Killed):
            run(full, _at_validation(die), resume=True)
        before = read_state(full)
    with (
        largest_file(limit),
        pytest.raises(
            CheckpointError, match=r"/(state|best)\.pt: cannot be wr"
        ) as error,
    ):
        run(full, resume=True)
    assert "then give the same command with --resume" in str(error.value)
    assert "\n" not in str(error.value)
    assert differences(read_state(full), before) == []
    assert not list(full.glob(".*"))
    run(full, resume=True)
    check_same(whole, full)


def _at_validation(act: Callable[[], None]) -> Report:
    """Report that acts after the last step of an epoch was taken and saved."""
    return at(0, STEPS, act)


def test_first_save_on_a_full_disk(tmp_path: Path) -> None:
    """A run that cannot be kept at all promises nothing."""
    with (
        largest_file(1000),
        pytest.raises(CheckpointError, match=r"state\.pt: cannot be written") as error,
    ):
        run(tmp_path)
    assert "--resume" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def write_pcam(folder: Path, images: int) -> Path:
    """PCam's training split with chunks of two random images; returns its images."""
    folder.mkdir()
    stem = folder / "camelyonpatch_level_2_split_train"
    rng = np.random.default_rng(3)
    with h5py.File(f"{stem}_x.h5", "w") as file:
        shape = (images, 96, 96, 3)
        content = rng.integers(0, 256, shape, np.uint8)
        file.create_dataset("x", data=content, chunks=(2, 96, 96, 3))
    with h5py.File(f"{stem}_y.h5", "w") as file:
        file["y"] = (np.arange(images) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)
    return Path(f"{stem}_x.h5")


def vanish(path: Path) -> None:
    """Take the file away."""
    path.unlink()


def shrink(path: Path) -> None:
    """Cut the file in its middle."""
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("harm", [vanish, shrink])
def test_data_that_break_while_they_are_read(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    """The line says what is wrong and how to go on, and that is true."""
    path = write_pcam(tmp_path / "data", 48)
    content = path.read_bytes()

    def train_on_file(
        name: str, report: Report = lambda progress: None, *, resume: bool = False
    ) -> None:
        train(
            TWIN,
            CONFIG,
            open_pcam(path.parent, "train"),
            VALIDATION,
            run_dir=tmp_path / name,
            resume=resume,
            save_seconds=0.0,
            report=report,
        )

    train_on_file("whole")
    with pytest.raises(DataError) as error:
        train_on_file("harmed", at(0, 1, lambda: harm(path)))
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert f"kept in {tmp_path / 'harmed'}: mend this, then give the same" in line
    assert "\n" not in line
    assert 1 <= read_state(tmp_path / "harmed")["step"] <= 3
    path.write_bytes(content)
    train_on_file("harmed", resume=True)
    check_same(tmp_path / "whole", tmp_path / "harmed")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch on 460 MB of images needs no more than the reader's cache of 134 MB."""
    paths = [*SOURCE_ROOTS, os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
    # Other packages are called `benchmarks` too: this one goes by its path.
    monkeypatch.syspath_prepend(str(SOURCE_ROOTS[0] / "benchmarks"))
    benchmark = importlib.import_module("train_memory")
    peaks = []
    for images in (1024, 16 * 1024):
        folder = tmp_path / str(images)
        size = benchmark.make_files(folder, images)
        options = (*benchmark.TINY, "--threads", "1")
        done = benchmark.run_training(folder, folder / "out.pt", options)
        assert done.code == 0, done.output
        peaks.append(done.peak)
    assert size > 450e6
    # The first run has cached 28 MB. Allocators differ from run to run by some MB.
    assert peaks[1] - peaks[0] < 180e6
    assert peaks[1] < 2e9


class FailingCompiler(torch.nn.Module):
    """Stands for a compiled network without a C++ compiler."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Fail as torch does, over several lines."""
        raise TorchDynamoException("backend='inductor' raised:\nno g++ was found")


def test_a_network_that_cannot_be_compiled() -> None:
    """The compiler's complaint becomes one line; the weights stay."""
    state = RunState.start(TWIN, CONFIG, STEPS, torch.device("cpu"))
    before = [p.detach().clone() for p in state.model.parameters()]
    state.network = FailingCompiler(state.model)
    batch = np.zeros((8, 3, 15, 15), np.float32), np.zeros(8, np.int64)
    with pytest.raises(InputError, match="--compile: the network cannot") as error:
        train_step(state, CONFIG, "fp32", batch)
    assert "\n" not in str(error.value)
    for kept, parameter in zip(before, state.model.parameters(), strict=True):
        assert torch.equal(kept, parameter)


def test_other_errors_are_not_the_compilers() -> None:
    """An error that the compiler did not raise passes unchanged."""
    model = build_model(TWIN)
    for network in (model, FailingCompiler(model)):
        with pytest.raises(ZeroDivisionError), compiler_errors(network, model):
            raise ZeroDivisionError
