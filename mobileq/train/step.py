"""One step of the optimizer, and the average of the weights."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from mobileq.errors import TrainingError
from mobileq.train.arithmetic import autocast
from mobileq.train.batches import Batch
from mobileq.train.config import TrainConfig
from mobileq.train.network import compiler_errors
from mobileq.train.ranks import ALONE, Ranks
from mobileq.train.state import RunState


def train_step(
    state: RunState,
    config: TrainConfig,
    precision: str,
    batch: Batch,
    ranks: Ranks = ALONE,
) -> None:
    """Take one step.

    Args:
        state: Weights, optimizer and counters, which change.
        config: Label smoothing and averaging.
        precision: `bf16` or `fp32`.
        batch: Images (B, 3, S, S) and labels (B,): this rank's part.
        ranks: Who computes the other parts.

    Raises:
        TrainingError: the loss is not finite; the weights are left as they were.
        InputError: the network was to be compiled, and cannot be.
    """
    images, labels = batch
    device = next(state.model.parameters()).device
    state.network.train()
    inputs = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
    targets = torch.from_numpy(labels).to(device)
    with compiler_errors(state.network, state.model):
        with autocast(device, precision):
            logits = state.network(inputs)
        loss = F.cross_entropy(
            logits.float(), targets, label_smoothing=config.label_smoothing
        )
        value, share = _over_ranks(loss.item(), len(labels), ranks)
        if not math.isfinite(value):
            raise TrainingError(
                f"epoch {state.epoch + 1}, step {state.step + 1}: the loss is {value}; "
                f"wanted a finite one (resuming meets it again: start in another "
                f"--run-dir with a lower --learning-rate or --precision fp32)"
            )
        state.optimizer.zero_grad(set_to_none=True)
        (loss * share).backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.scheduler.step()
    state.loss_sum += value
    state.step += 1
    _average(state, config.average)


def _over_ranks(loss: float, count: int, ranks: Ranks) -> tuple[float, float]:
    """Mean loss of the whole batch, and the factor for this rank's mean loss.

    Gradients are averaged over ranks as if all had the same number of images.
    """
    if ranks.count == 1:
        return loss, 1.0
    loss_sum, images = ranks.total((loss * count, count))
    return loss_sum / images, count * ranks.count / images


def _average(state: RunState, longest: float) -> None:
    """Move the averaged weights towards those of the model (arXiv:1803.05407 idea)."""
    if state.averaged is None:
        return
    steps_done = state.scheduler.last_epoch
    # Early on the average is short, so that it does not hold on to random weights.
    decay = min(longest, (1 + steps_done) / (10 + steps_done))
    for name, value in state.model.state_dict().items():
        if value.is_floating_point():
            state.averaged[name].lerp_(value, 1 - decay)
        else:
            state.averaged[name].copy_(value)
