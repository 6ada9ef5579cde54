"""Logits of a network over a data set."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mobileq.data.patches import Patches
from mobileq.train.arithmetic import autocast
from mobileq.train.batches import plain_batches
from mobileq.train.ranks import Ranks


def predict(
    model: nn.Module,
    patches: Patches,
    *,
    input_size: int,
    batch_size: int = 128,
    precision: str = "fp32",
) -> NDArray[np.float32]:
    """Logits of all images, (N, classes), with the model in evaluation mode.

    Args:
        model: Network from (B, 3, S, S) to (B, classes), on any device.
        patches: Images; at least one.
        input_size: Height and width S that images are cropped to, in pixels.
        batch_size: Images that are computed together.
        precision: `fp32` or `bf16`.

    Raises:
        DataError: the images are smaller than the crop or cannot be read.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits = []
    batches = plain_batches(patches, input_size=input_size, batch_size=batch_size)
    with closing(batches), torch.inference_mode(), autocast(device, precision):
        for images in batches:
            tensor = torch.from_numpy(images).to(
                device, memory_format=torch.channels_last
            )
            logits.append(model(tensor).float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(logits)


@dataclass(frozen=True, eq=False)
class PatchRange:
    """Consecutive patches of a source.

    Attributes:
        source: All patches.
        part: Which of them; from a start to a stop.
    """

    source: Patches
    part: slice

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Labels, (N,)."""
        return self.source.labels[self.part]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.size

    @property
    def channels(self) -> int:
        """Channels C."""
        return self.source.channels

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(range(len(self.source))[self.part])

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the patches at `indices`, counted from the start, (B, H, W, C)."""
        return self.source.read(indices + self.part.start)


def predict_together(
    model: nn.Module, patches: Patches, ranks: Ranks, *, input_size: int
) -> NDArray[np.float32]:
    """Logits of all images in fp32, (N, classes), of which each rank computes a part.

    Args:
        model: As for `predict`, the same on all ranks.
        patches: Images; at least one.
        ranks: Who takes part; all of them get all logits.
        input_size: Height and width that images are cropped to, in pixels.

    Raises:
        DataError: the images are smaller than the crop or cannot be read.
    """
    own = PatchRange(patches, ranks.part(len(patches)))
    with ranks.alone():
        logits = predict(model, own, input_size=input_size) if len(own) else None
    parts = ranks.gather(logits)
    return np.concatenate([part for part in parts if part is not None])
