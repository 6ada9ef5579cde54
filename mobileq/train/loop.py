"""The training loop: AdamW, one-cycle schedule, bf16, averaged weights, resume.

The state of a run is saved every few minutes, before and after each validation, and
when Ctrl-C is pressed. Whatever happens in between costs the time since the last save
and changes nothing in the result: batches depend on seed, epoch and step alone.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobileq.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    write_atomically,
)
from mobileq.data.patches import Patches
from mobileq.data.scores import Scores, score
from mobileq.errors import DataError, InputError, TrainingError
from mobileq.models.spec import ModelSpec
from mobileq.train.arithmetic import choose_device, choose_precision
from mobileq.train.batches import TrainingBatches
from mobileq.train.config import TrainConfig
from mobileq.train.evaluate import predict
from mobileq.train.interrupt import held_interrupt
from mobileq.train.state import (
    BEST_FILE,
    HISTORY_FILE,
    STATE_FILE,
    RunState,
    remove_leftovers,
    snapshot,
)
from mobileq.train.step import train_step

SAVE_SECONDS = 120.0


@dataclass(frozen=True)
class Progress:
    """What a progress display needs after each step.

    Attributes:
        epoch: Epoch in progress, from 0.
        step: Steps done in it.
        steps: Steps per epoch.
        loss: Mean training loss of the epoch so far, in nats.
        images_per_second: Throughput of the epoch's steps, validation left out.
        validation: Scores at the end of an epoch, else None.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    validation: Scores | None = None


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class _Run:
    """What stays the same while a run goes on."""

    spec: ModelSpec
    config: TrainConfig
    precision: str
    batches: TrainingBatches
    validation: Patches
    folder: Path
    initial: Checkpoint | None
    identity: Mapping[str, Any]
    save_seconds: float

    def save(self, state: RunState) -> None:
        """Write the state to the run's directory."""
        state.save(self.folder / STATE_FILE, self.identity)


def train(
    spec: ModelSpec,
    config: TrainConfig,
    training: Patches,
    validation: Patches,
    *,
    run_dir: Path,
    initial: Checkpoint | None = None,
    resume: bool = False,
    save_seconds: float = SAVE_SECONDS,
    report: Report = lambda progress: None,
) -> Checkpoint:
    """Train a network and return its best checkpoint by validation loss.

    Args:
        spec: Architecture.
        config: Hyperparameters.
        training: Training set.
        validation: Chooses the weights to keep.
        run_dir: Holds `state.pt`, `best.pt` and `history.json`.
        initial: Start from these weights; random ones by default.
        resume: Continue the run in `run_dir`; a finished one is not trained again.
        save_seconds: The state is saved whenever this time has passed, in seconds.
        report: Called after each step and after each validation.

    Raises:
        InputError: settings that do not fit, or a run in `run_dir` without `resume`.
        DataError: a data set that does not fit the network, or cannot be read.
        CheckpointError: the run's files cannot be read or written.
        TrainingError: the loss or a weight is not finite; the last good state is kept.
        KeyboardInterrupt: Ctrl-C; the state is saved.
    """
    check_patches(training, spec, "training")
    check_patches(validation, spec, "validation")
    if initial is not None and initial.spec != spec:
        raise InputError(
            f"{initial.source}: its network is {initial.spec}; wanted {spec}, which "
            f"the options ask for"
        )
    device = choose_device(config.device)
    run = _Run(
        spec=spec,
        config=config,
        precision=choose_precision(config.precision, device),
        batches=TrainingBatches(training, config, spec.input_size),
        validation=validation,
        folder=run_dir,
        initial=initial,
        identity=_identity(spec, config, training, validation)
        | {"initial weights": initial.sha256 if initial else "random"},
        save_seconds=save_seconds,
    )
    state = RunState.start(spec, config, run.batches.steps, device, initial)
    _enter_folder(run, state, resume=resume)
    while state.epoch < config.epochs:
        speed = _train_epoch(run, state, report)
        report(_finish_epoch(run, state, speed))
    return load_checkpoint(run_dir / BEST_FILE)


def check_patches(patches: Patches, spec: ModelSpec, name: str) -> None:
    """Check that a data set can be used with a network.

    Args:
        patches: The data set.
        spec: The network.
        name: Name of the data set for the message.

    Raises:
        DataError: too few or too small images, or a label that has no logit.
    """
    if len(patches) < 2:
        raise DataError(
            f"{name} set: {len(patches)} images; wanted at least 2 (raise --limit)"
        )
    if min(patches.size) < spec.input_size:
        raise DataError(
            f"{name} set: images of {patches.size[0]}x{patches.size[1]} px; wanted at "
            f"least {spec.input_size} px (lower --input-size)"
        )
    largest = int(patches.labels.max())
    if largest >= spec.num_classes:
        raise DataError(
            f"{name} set: label {largest} occurs; wanted 0 to {spec.num_classes - 1}, "
            f"one for each logit of the network (relabel it, or raise num_classes)"
        )


def _identity(
    spec: ModelSpec, config: TrainConfig, training: Patches, validation: Patches
) -> dict[str, Any]:
    """Everything that decides the result: with the same, a run is the same run."""
    identity = {**spec.to_dict(), **config.to_dict()}
    device = choose_device(config.device)
    identity["resolved precision"] = choose_precision(config.precision, device)
    for name, patches in (("training", training), ("validation", validation)):
        identity[f"number of {name} images"] = len(patches)
        identity[f"checksum of {name} labels"] = zlib.crc32(patches.labels.tobytes())
    return identity


def _enter_folder(run: _Run, state: RunState, *, resume: bool) -> None:
    """Load the run in the directory, or make the directory this run's own.

    Raises:
        InputError: another run is there.
        CheckpointError: the directory cannot be read or written.
    """
    path = run.folder / STATE_FILE
    if resume:
        state.load(path, run.identity)
        remove_leftovers(run.folder)
    elif path.exists():
        raise InputError(
            f"{path}: a run is here already; wanted --resume to continue it, or "
            f"another --run-dir"
        )
    else:
        run.save(state)


def _train_epoch(run: _Run, state: RunState, report: Report) -> float:
    """Take the remaining steps of the epoch; returns images per second."""
    started = saved = time.monotonic()
    images = 0
    source = run.batches.epoch(state.epoch, state.step)
    with held_interrupt() as interrupt, closing(source):
        for batch in source:
            train_step(state, run.config, run.precision, batch)
            images += len(batch[1])
            now = time.monotonic()
            speed = images / max(now - started, 1e-9)
            loss = state.loss_sum / state.step
            report(Progress(state.epoch, state.step, run.batches.steps, loss, speed))
            if interrupt.requested:
                break
            if now - saved >= run.save_seconds and state.step < run.batches.steps:
                run.save(state)
                saved = now
        seconds = time.monotonic() - started
        run.save(state)
    return images / max(seconds, 1e-9)


def _finish_epoch(run: _Run, state: RunState, speed: float) -> Progress:
    """Validate, keep the weights if they are the best so far, write the history."""
    scores = _validate(run, state)
    entry = {
        "epoch": state.epoch + 1,
        "loss": state.loss_sum / run.batches.steps,
        "validation": scores.to_dict(),
    }
    if scores.loss < state.best_loss:
        state.best_loss = scores.loss
        training: dict[str, Any] = {
            "config": run.config.to_dict(),
            "precision": run.precision,
            **entry,
        }
        if run.initial is not None:
            training["initial"] = {
                "sha256": run.initial.sha256,
                "training": dict(run.initial.training),
            }
        weights = state.averaged or state.model.state_dict()
        save_checkpoint(run.folder / BEST_FILE, Checkpoint(run.spec, weights, training))
    state.history.append(entry)
    _write_history(run.folder / HISTORY_FILE, state.history)
    steps, loss = run.batches.steps, state.loss_sum / run.batches.steps
    done = Progress(state.epoch, steps, steps, loss, speed, scores)
    state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
    run.save(state)
    return done


def _write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write the scores of all finished epochs as JSON."""
    text = json.dumps(history, indent=1) + "\n"

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _validate(run: _Run, state: RunState) -> Scores:
    """Scores of the averaged weights, or of the weights where there is no average.

    Raises:
        TrainingError: the loss is not finite.
    """
    own = None
    if state.averaged is not None:
        own = snapshot(state.model)
        state.model.load_state_dict(state.averaged)
    logits = predict(state.model, run.validation, input_size=run.spec.input_size)
    if own is not None:
        state.model.load_state_dict(own)
    scores = score(logits, run.validation.labels)
    if not math.isfinite(scores.loss):
        raise TrainingError(
            f"epoch {state.epoch + 1}: the validation loss is {scores.loss}; wanted a "
            f"finite one (start again in another --run-dir with a lower "
            f"--learning-rate)"
        )
    return scores
