"""Plain modules without a counterpart in torch."""

from __future__ import annotations

import torch
from torch import nn


class OrbitMaximum(nn.Module):
    """Maximum over runs of `block` channels: (B, C, H, W) to (B, C / block, H, W)."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool over the orbit."""
        batch, _, *grid = features.shape
        return features.reshape(batch, -1, self.block, *grid).amax(2)
