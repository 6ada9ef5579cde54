"""Logits of a network over a data set."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mobileq.data.patches import Patches
from mobileq.train.arithmetic import autocast
from mobileq.train.batches import plain_batches


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
