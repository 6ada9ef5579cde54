"""Training runs that are started, continued or found finished, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mobileq.checkpoint import Checkpoint
from mobileq.data.patches import Patches
from mobileq.errors import InputError
from mobileq.models.spec import ModelSpec
from mobileq.train.config import TrainConfig
from mobileq.train.loop import Progress, train
from mobileq.train.state import STATE_FILE


@dataclass(frozen=True)
class Display:
    """Where a long computation says what it does.

    Attributes:
        status: Shows a line that the next one replaces.
        line: Shows a line that stays.
    """

    status: Callable[[str], None] = lambda _: None
    line: Callable[[str], None] = lambda _: None


def refuse_run(folder: Path, *, resume: bool) -> None:
    """Stop before any work is done if another run would be continued unasked.

    Raises:
        InputError: a run is in `folder`.
    """
    if (folder / STATE_FILE).exists() and not resume:
        raise InputError(
            f"{folder}: a run is here already; wanted --resume to continue it, or "
            f"another --runs-dir"
        )


def train_or_resume(
    name: str,
    spec: ModelSpec,
    config: TrainConfig,
    training: Patches,
    validation: Patches,
    *,
    folder: Path,
    resume: bool,
    display: Display,
) -> Checkpoint:
    """Train a network, whatever of that has been done before.

    Args:
        name: What the lines about it start with.
        spec: Architecture.
        config: Hyperparameters.
        training: Training set.
        validation: Chooses the weights to keep.
        folder: The run's directory.
        resume: Continue a run that is there; without one it starts.
        display: Shown each step, and a line for each epoch.

    Raises:
        MobileqError: as `mobileq.train.loop.train`.
    """

    def report(progress: Progress) -> None:
        where = f"{name}: epoch {progress.epoch + 1}/{config.epochs}"
        speed = f"{progress.images_per_second:.0f} img/s"
        if progress.validation is None:
            display.status(
                f"{where}, step {progress.step}/{progress.steps}, loss "
                f"{progress.loss:.3f}, {speed}"
            )
        else:
            display.line(
                f"{where}  training loss {progress.loss:.4f}  validation "
                f"{progress.validation}  {speed}"
            )

    refuse_run(folder, resume=resume)
    return train(
        spec,
        config,
        training,
        validation,
        run_dir=folder,
        resume=resume and (folder / STATE_FILE).exists(),
        report=report,
    )
