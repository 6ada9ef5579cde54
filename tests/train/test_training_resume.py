"""A run that was interrupted ends with the same bits as one that was not."""

from __future__ import annotations

import errno
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobileq.checkpoint import Checkpoint, load_checkpoint
from mobileq.data.patches import Patches
from mobileq.errors import CheckpointError, InputError, TrainingError
from mobileq.models.spec import ModelSpec
from mobileq.train import step as step_module
from mobileq.train.config import TrainConfig
from mobileq.train.loop import Report, train
from mobileq.train.state import RunState
from support.small_runs import (
    CONFIG,
    SPEC,
    STEPS,
    TRAINING,
    TWIN,
    VALIDATION,
    ActingPatches,
    Killed,
    after_validation,
    at,
    die,
    differences,
    noise,
    read_state,
)

INTERRUPTIONS = {
    "first step": at(0, 1, die),
    "middle of an epoch": at(1, 2, die),
    "last step of an epoch": at(0, STEPS, die),
    "between epochs": after_validation(0, die),
    "after the end": after_validation(1, die),
}


def run(
    folder: Path,
    config: TrainConfig = CONFIG,
    *,
    spec: ModelSpec = TWIN,
    resume: bool = False,
    validation: Patches = VALIDATION,
    save_seconds: float = 0.0,
    report: Report = lambda progress: None,
) -> Checkpoint:
    """Train the small network, saving the state after every step."""
    return train(
        spec,
        config,
        TRAINING,
        validation,
        run_dir=folder,
        resume=resume,
        save_seconds=save_seconds,
        report=report,
    )


def check_same(left: Path, right: Path) -> None:
    """Compare the last state and the best checkpoint of two runs, bit for bit."""
    assert differences(read_state(left), read_state(right)) == []
    best, other = (load_checkpoint(folder / "best.pt") for folder in (left, right))
    assert differences(dict(best.weights), dict(other.weights)) == []
    assert best.training == other.training
    assert (left / "history.json").read_text() == (right / "history.json").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the run that was not interrupted; nothing may change it."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, save_seconds=1e9)
    return folder


@pytest.mark.parametrize("where", INTERRUPTIONS)
def test_killed_anywhere(where: str, whole: Path, tmp_path: Path) -> None:
    """Weights, averages, moments and scores do not show where the run was killed."""
    with pytest.raises(Killed):
        run(tmp_path, report=INTERRUPTIONS[where])
    run(tmp_path, resume=True)
    check_same(whole, tmp_path)


@pytest.mark.parametrize(
    ("average", "precision"),
    [(0.0, "fp32"), (0.9, "bf16")],
)
def test_equivariant_run_killed_twice(
    average: float, precision: str, tmp_path: Path
) -> None:
    """An equivariant network, averaging and bf16 survive two kills in one run."""
    config = replace(CONFIG, average=average, precision=precision)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, config, spec=SPEC, save_seconds=1e9)
    with pytest.raises(Killed):
        run(killed, config, spec=SPEC, save_seconds=1e9, report=at(1, 1, die))
    with pytest.raises(Killed):
        run(killed, config, spec=SPEC, resume=True, report=at(1, 3, die))
    run(killed, config, spec=SPEC, resume=True)
    check_same(whole, killed)


def test_killed_without_a_recent_save(whole: Path, tmp_path: Path) -> None:
    """What was not saved is computed again, with the same result."""
    with pytest.raises(Killed):
        run(tmp_path, save_seconds=1e9, report=at(1, 2, die))
    state = read_state(tmp_path)
    assert (state["epoch"], state["step"]) == (1, 0)
    run(tmp_path, resume=True)
    check_same(whole, tmp_path)


def test_killed_in_validation(whole: Path, tmp_path: Path) -> None:
    """The epoch's steps are on disk before validation starts."""
    with pytest.raises(Killed):
        run(tmp_path, validation=ActingPatches(VALIDATION, die), save_seconds=1e9)
    state = read_state(tmp_path)
    assert (state["epoch"], state["step"]) == (0, STEPS)
    run(tmp_path, resume=True)
    check_same(whole, tmp_path)


def test_finished_run_is_not_trained_again(
    whole: Path,
) -> None:
    """Resuming a finished run returns its best weights and takes no step."""
    before = (whole / "state.pt").read_bytes()
    best = run(whole, resume=True, report=lambda progress: die())
    assert (whole / "state.pt").read_bytes() == before
    weights = load_checkpoint(whole / "best.pt").weights
    assert differences(dict(best.weights), dict(weights)) == []


def test_ctrl_c_saves_the_step(whole: Path, tmp_path: Path) -> None:
    """Ctrl-C in an epoch ends the run after the step, with that step saved."""

    def press() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, save_seconds=1e9, report=at(1, 2, press))
    state = read_state(tmp_path)
    assert (state["epoch"], state["step"]) == (1, 2)
    run(tmp_path, resume=True)
    check_same(whole, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 3), ("seed", 1), ("learning_rate", 1e-3), ("precision", "bf16")],
)
def test_other_settings(
    name: str,
    value: float | str,
    whole: Path,
) -> None:
    """A run is not continued with another setting, and the message names it."""
    before = (whole / "state.pt").read_bytes()
    with pytest.raises(InputError, match=f"{name} is .* in the interrupted run"):
        run(whole, replace(CONFIG, **{name: value}), resume=True)
    assert (whole / "state.pt").read_bytes() == before


def test_other_data(whole: Path) -> None:
    """A run is not continued with another number of images or with other labels."""
    with pytest.raises(InputError, match="number of validation images is 16"):
        run(whole, resume=True, validation=noise(18, seed=2))
    turned = replace(VALIDATION, labels=1 - VALIDATION.labels)
    with pytest.raises(InputError, match="checksum of validation labels"):
        run(whole, resume=True, validation=turned)


def test_directory_in_use(whole: Path) -> None:
    """A new run never writes over another one."""
    before = (whole / "state.pt").read_bytes()
    with pytest.raises(InputError, match=r"a run is here already; wanted --resume"):
        run(whole)
    assert (whole / "state.pt").read_bytes() == before


def test_nothing_to_resume(tmp_path: Path) -> None:
    """`resume` needs a run."""
    with pytest.raises(CheckpointError, match="no interrupted run here"):
        run(tmp_path, resume=True)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_state(share: float, whole: Path, tmp_path: Path) -> None:
    """A state file that was cut short is refused."""
    data = (whole / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match="damaged or of another program"):
        run(tmp_path, resume=True)


@pytest.mark.parametrize("content", [{"version": 99, "identity": {}}, [1], {}])
def test_foreign_state(content: object, tmp_path: Path) -> None:
    """A torch file that is no state, or one of another version, is refused."""
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="version of the state is"):
        run(tmp_path, resume=True)


def test_state_lacks_a_value(whole: Path, tmp_path: Path) -> None:
    """A state whose settings fit but whose content does not is refused."""
    content = read_state(whole)
    del content["optimizer"]
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="does not hold what its settings"):
        run(tmp_path, resume=True)


def test_leftovers_are_removed(tmp_path: Path) -> None:
    """Half-written files of a killed process go when the run is resumed."""
    with pytest.raises(Killed):
        run(tmp_path, report=after_validation(1, die))
    (tmp_path / ".state.pt.abc").write_bytes(b"half")
    run(tmp_path, resume=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.pt", "history.json", "state.pt"]


def test_full_disk_keeps_the_last_state(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A state that cannot be written leaves the one before it, which works."""
    save = torch.save
    left = [6]

    def save_until_full(content: object, path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, path)

    monkeypatch.setattr(torch, "save", save_until_full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        run(tmp_path)
    monkeypatch.undo()
    run(tmp_path, resume=True)
    check_same(whole, tmp_path)


def test_nan_loss_keeps_the_last_good_state(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A NaN loss ends the run; state and best weights are those from before it."""
    cross_entropy = step_module.F.cross_entropy
    calls = []

    def spoiled(*args: torch.Tensor, label_smoothing: float) -> torch.Tensor:
        calls.append(1)
        loss = cross_entropy(*args, label_smoothing=label_smoothing)
        return loss * float("nan") if len(calls) == STEPS + 2 else loss

    monkeypatch.setattr(step_module.F, "cross_entropy", spoiled)
    with pytest.raises(TrainingError, match="epoch 2, step 2: the loss is nan"):
        run(tmp_path)
    assert load_checkpoint(tmp_path / "best.pt").training["epoch"] == 1
    state = read_state(tmp_path)
    assert (state["epoch"], state["step"]) == (1, 1)
    run(tmp_path, resume=True)
    check_same(whole, tmp_path)


def test_ruined_weights_are_not_saved(whole: Path, tmp_path: Path) -> None:
    """A step with a finite loss but infinite gradients does not reach the disk."""
    data = (whole / "state.pt").read_bytes()
    path = tmp_path / "state.pt"
    path.write_bytes(data)
    state = RunState.start(TWIN, CONFIG, STEPS, torch.device("cpu"))
    with torch.no_grad():
        next(state.model.parameters())[0] = float("inf")
    with pytest.raises(TrainingError, match="became NaN or infinite"):
        state.save(path, {})
    assert path.read_bytes() == data
