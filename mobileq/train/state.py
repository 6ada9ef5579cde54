"""What a run keeps on disk, so that it can go on as if it had never stopped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobileq.checkpoint import Checkpoint, write_atomically
from mobileq.errors import CheckpointError, InputError, TrainingError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.train.config import TrainConfig
from mobileq.train.network import training_network
from mobileq.train.ranks import ALONE, Ranks

STATE_FILE = "state.pt"
BEST_FILE = "best.pt"
HISTORY_FILE = "history.json"
VERSION = 1


@dataclass
class RunState:
    """Everything that changes while a run goes on.

    Attributes:
        model: The network that is trained.
        network: What computes the logits of a step with the model's weights.
        averaged: Its averaged weights, by name; None where averaging is off.
        optimizer: AdamW.
        scheduler: One-cycle schedule, one step per batch.
        epoch: Epoch in progress, from 0.
        step: Next step of that epoch, from 0; the number of steps where the epoch
            still has to be validated.
        best_loss: Smallest validation loss so far, in nats.
        loss_sum: Sum of the training losses of the epoch's steps so far.
        history: One entry per finished epoch.
    """

    model: nn.Module
    network: nn.Module
    averaged: dict[str, Tensor] | None
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    epoch: int = 0
    step: int = 0
    best_loss: float = float("inf")
    loss_sum: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        spec: ModelSpec,
        config: TrainConfig,
        steps: int,
        device: torch.device,
        initial: Checkpoint | None = None,
        *,
        ranks: Ranks = ALONE,
        compiled: bool = False,
    ) -> RunState:
        """Weights, optimizer and schedule of a run.

        Args:
            spec: Architecture.
            config: Hyperparameters.
            steps: Steps per epoch.
            device: Where the network is computed.
            initial: Start from these weights; random ones by default.
            ranks: The processes that share the run.
            compiled: Let torch.compile make kernels for the network.

        Raises:
            InputError: there is no such network, or it is not compiled here.
        """
        torch.manual_seed(config.seed)
        model = build_model(spec) if initial is None else initial.build().train()
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        matrices = [p for p in model.parameters() if p.ndim > 1]
        vectors = [p for p in model.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
        total = config.epochs * steps + 1
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=config.learning_rate,
            total_steps=total,
            # torch divides by zero where the rise takes exactly no step.
            pct_start=max(config.warmup, 2 / total),
        )
        averaged = snapshot(model) if config.average else None
        network = training_network(model, device, ranks, compiled=compiled)
        return cls(model, network, averaged, optimizer, scheduler)

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write to `path`, whole or not at all.

        Args:
            path: File to write or replace.
            identity: What must be the same for a run to be the same run.

        Raises:
            TrainingError: a weight is not finite; the file is left as it was.
            CheckpointError: the file cannot be written.
        """
        self._check_finite()
        content = {
            "version": VERSION,
            "identity": dict(identity),
            "model": self.model.state_dict(),
            "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "best_loss": self.best_loss,
            "loss_sum": self.loss_sum,
            "history": self.history,
        }
        write_atomically(path, lambda temporary: torch.save(content, temporary))

    def restore(self, path: Path, content: Mapping[str, Any]) -> None:
        """Take over everything that `save` wrote.

        Args:
            path: Where the content comes from, for the message.
            content: What `read_state` returned.

        Raises:
            CheckpointError: a value is missing or does not fit.
        """
        try:
            self._restore(content)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"{path}: does not hold what its settings promise ({error}); wanted "
                f"the state of an interrupted run (start again in a new directory)"
            ) from error

    def _restore(self, content: Mapping[str, Any]) -> None:
        device = next(self.model.parameters()).device
        self.model.load_state_dict(content["model"])
        if self.averaged is not None:
            saved = content["averaged"].items()
            self.averaged = {name: value.to(device) for name, value in saved}
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["scheduler"])
        self.epoch, self.step = content["epoch"], content["step"]
        self.best_loss, self.loss_sum = content["best_loss"], content["loss_sum"]
        self.history = content["history"]

    def _check_finite(self) -> None:
        """Check the weights: a step with a finite loss can still ruin them.

        Raises:
            TrainingError: the first weight that is NaN or infinite.
        """
        for name, value in self.model.state_dict().items():
            if not bool(value.isfinite().all()):
                raise TrainingError(
                    f"epoch {self.epoch + 1}, step {self.step}: {name} became NaN or "
                    f"infinite; wanted finite weights (resuming meets them again: "
                    f"start in another --run-dir with a lower --learning-rate or "
                    f"--precision fp32)"
                )


def read_state(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `RunState.save` wrote.

    Args:
        path: The file.
        identity: What must be the same for a run to be the same run.

    Raises:
        CheckpointError: the file is missing, damaged or of another version.
        InputError: it belongs to a run with other settings.
    """
    content = _read(path)
    _check_identity(path, content, identity)
    return content


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers by name."""
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def remove_leftovers(run_dir: Path) -> None:
    """Delete the temporary files of a process that was killed while it wrote."""
    for name in (STATE_FILE, BEST_FILE, HISTORY_FILE):
        for leftover in run_dir.glob(f".{name}.*"):
            leftover.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """Content of a state file of this version.

    Raises:
        CheckpointError: missing, damaged, foreign or of another version.
    """
    try:
        data = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{path}: no interrupted run here ({error.strerror}); wanted the directory "
            f"of one (name it with --run-dir, or leave --resume out to start)"
        ) from error
    try:
        content = torch.load(data, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged or of another program; wanted the state of an "
            f"interrupted run (start again in a new directory)"
        ) from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION or not isinstance(content.get("identity"), dict):
        raise CheckpointError(
            f"{path}: version of the state is {version!r}; wanted {VERSION} (resume "
            f"with the mobileq that wrote it, or start again in a new directory)"
        )
    return dict(content)


def _check_identity(
    path: Path, content: Mapping[str, Any], identity: Mapping[str, Any]
) -> None:
    """Compare the settings of two commands.

    Raises:
        InputError: the first setting that differs.
    """
    saved = content["identity"]
    for key, value in identity.items():
        if saved.get(key) != value:
            raise InputError(
                f"{path}: {key} is {saved.get(key)!r} in the interrupted run and "
                f"{value!r} in this command; wanted the same settings (or leave "
                f"--resume out and name a new --run-dir)"
            )
