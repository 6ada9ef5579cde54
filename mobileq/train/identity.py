"""What must be the same for two commands to be about the same run."""

from __future__ import annotations

import zlib
from typing import Any

from mobileq.checkpoint import Checkpoint
from mobileq.data.patches import Patches
from mobileq.models.spec import ModelSpec
from mobileq.train.arithmetic import choose_device, choose_precision
from mobileq.train.config import TrainConfig


def run_identity(
    spec: ModelSpec,
    config: TrainConfig,
    training: Patches,
    validation: Patches,
    initial: Checkpoint | None,
) -> dict[str, Any]:
    """Everything that decides the result, by the name that a message gives it.

    The number of ranks and torch.compile are no part of it: they round differently.

    Args:
        spec: Architecture.
        config: Hyperparameters.
        training: Training set.
        validation: Validation set.
        initial: First weights; None for random ones.
    """
    identity = {**spec.to_dict(), **config.to_dict()}
    device = choose_device(config.device)
    identity["resolved precision"] = choose_precision(config.precision, device)
    for name, patches in (("training", training), ("validation", validation)):
        identity[f"number of {name} images"] = len(patches)
        identity[f"checksum of {name} labels"] = zlib.crc32(patches.labels.tobytes())
    identity["initial weights"] = initial.sha256 if initial else "random"
    return identity
