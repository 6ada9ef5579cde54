"""The training loop: AdamW, one-cycle schedule, bf16, averaged weights, resume.

The state of a run is saved every few minutes, before and after each validation, and
when Ctrl-C is pressed. Whatever happens in between costs the time since the last save
and changes nothing in the result: batches depend on seed, epoch and step alone.

Several ranks go through the same loop with the same state; see `mobileq.train.ranks`.
"""

from __future__ import annotations

import json
import math
import time
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
from mobileq.train.evaluate import predict_together
from mobileq.train.identity import run_identity
from mobileq.train.interrupt import held_interrupt
from mobileq.train.ranks import ALONE, Ranks
from mobileq.train.run import Run, check_parts, enter_folder, kept
from mobileq.train.state import BEST_FILE, HISTORY_FILE, RunState, snapshot
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
    ranks: Ranks = ALONE,
    compiled: bool = False,
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
        ranks: The processes that share the run; the first alone uses `run_dir`.
        compiled: Let torch.compile make kernels for the network.

    Raises:
        InputError: settings that do not fit, or a run in `run_dir` without `resume`.
        DataError: a data set that does not fit the network, or cannot be read.
        CheckpointError: the run's files cannot be read or written.
        TrainingError: the loss or a weight is not finite; the last good state is kept.
        KeyboardInterrupt: Ctrl-C; the state is saved.
        SystemExit: one of the others, on a rank that need not speak.
    """
    with ranks.alone():
        # What is wrong on all ranks, or on one that has no GPU.
        check_patches(training, spec, "training")
        check_patches(validation, spec, "validation")
        if initial is not None and initial.spec != spec:
            raise InputError(
                f"{initial.source}: its network is {initial.spec}; wanted {spec}, "
                f"which the options ask for"
            )
        device = choose_device(config.device, ranks.local)
    run = Run(
        spec=spec,
        config=config,
        precision=choose_precision(config.precision, device),
        batches=TrainingBatches(training, config, spec.input_size, ranks),
        validation=validation,
        folder=run_dir,
        initial=initial,
        identity=run_identity(spec, config, training, validation, initial),
        save_seconds=save_seconds,
        ranks=ranks,
    )
    with ranks.alike():
        check_parts(run.batches, ranks)
        state = RunState.start(
            spec,
            config,
            run.batches.steps,
            device,
            initial,
            ranks=ranks,
            compiled=compiled,
        )
    enter_folder(run, state, resume=resume)
    with kept(run):
        while state.epoch < config.epochs:
            speed = _train_epoch(run, state, report)
            report(_finish_epoch(run, state, speed))
    return ranks.of_first(lambda: load_checkpoint(run_dir / BEST_FILE))


def check_patches(patches: Patches, spec: ModelSpec, name: str) -> None:
    """Check that a data set can be used with a network.

    Args:
        patches: The data set.
        spec: The network.
        name: Name of the data set for the message.

    Raises:
        DataError: too few or too small images, of other channels, or a label that
            has no logit.
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
    if patches.channels != spec.in_channels:
        raise DataError(
            f"{name} set: images of {patches.channels} channels; wanted "
            f"{spec.in_channels} as the network takes (convert them)"
        )
    largest = int(patches.labels.max())
    if largest >= spec.num_classes:
        raise DataError(
            f"{name} set: label {largest} occurs; wanted 0 to {spec.num_classes - 1}, "
            f"one for each logit of the network (relabel it, or raise num_classes)"
        )


def _train_epoch(run: Run, state: RunState, report: Report) -> float:
    """Take the remaining steps of the epoch; returns images per second."""
    started = saved = time.monotonic()
    images, steps, ranks = 0, run.batches.steps, run.ranks
    source = run.batches.epoch(state.epoch, state.step)
    with held_interrupt(ranks.same_press) as interrupt, closing(source):
        while state.step < steps and not interrupt.requested:
            with ranks.alone():
                batch = next(source)
            with ranks.alike():
                train_step(state, run.config, run.precision, batch, ranks)
            images += run.batches.batch_size
            now = time.monotonic()
            speed = images / max(now - started, 1e-9)
            loss = state.loss_sum / state.step
            report(Progress(state.epoch, state.step, steps, loss, speed))
            due = now - saved >= run.save_seconds
            interrupt.requested, due = ranks.any(interrupt.requested, due)
            if due and state.step < steps and not interrupt.requested:
                run.save(state)
                saved = now
        seconds = time.monotonic() - started
        run.save(state)
    return images / max(seconds, 1e-9)


def _finish_epoch(run: Run, state: RunState, speed: float) -> Progress:
    """Validate, keep the weights if they are the best so far, write the history."""
    with run.ranks.alike():
        scores = _validate(run, state)
    entry = {
        "epoch": state.epoch + 1,
        "loss": state.loss_sum / run.batches.steps,
        "validation": scores.to_dict(),
    }
    best = scores.loss < state.best_loss
    state.best_loss = min(scores.loss, state.best_loss)
    state.history.append(entry)
    with run.ranks.alone():
        if run.ranks.first:
            if best:
                _write_best(run, state, entry)
            _write_history(run.folder / HISTORY_FILE, state.history)
    steps, loss = run.batches.steps, state.loss_sum / run.batches.steps
    done = Progress(state.epoch, steps, steps, loss, speed, scores)
    state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
    run.save(state)
    return done


def _write_best(run: Run, state: RunState, entry: Mapping[str, Any]) -> None:
    """Write the weights of this epoch as the best so far."""
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


def _write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write the scores of all finished epochs as JSON."""
    text = json.dumps(history, indent=1) + "\n"

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _validate(run: Run, state: RunState) -> Scores:
    """Scores of the averaged weights, or of the weights where there is no average.

    Raises:
        TrainingError: the loss is not finite.
    """
    own = None
    if state.averaged is not None:
        own = snapshot(state.model)
        state.model.load_state_dict(state.averaged)
    logits = predict_together(
        state.model, run.validation, run.ranks, input_size=run.spec.input_size
    )
    if own is not None:
        state.model.load_state_dict(own)
    scores = score(logits, run.validation.labels)
    if not math.isfinite(scores.loss):
        raise TrainingError(
            f"epoch {state.epoch + 1}: the validation loss is {scores.loss}; wanted a "
            f"finite one (resuming meets it again: start in another --run-dir with a "
            f"lower --learning-rate)"
        )
    return scores
