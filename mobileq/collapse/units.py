"""Plain modules without a counterpart in torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

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


class WeightMap(nn.Module):
    """Multiplication of every channel by one map of weights, (H, W)."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Weigh (B, C, H, W)."""
        return features * self.mask


class RunsOfOrbits(nn.Module):
    """Maximum over each orbit where orbits differ in size: runs of equal ones, joined.

    Args:
        sizes: Channels of each orbit, in order.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.runs = _runs(sizes)
        picks, maxima, start = [], [], 0
        for size, count in self.runs:
            pick = nn.Conv2d(sum(sizes), size * count, 1, bias=False)
            chosen = torch.arange(start, start + size * count)
            with torch.no_grad():
                pick.weight.zero_()
                pick.weight[torch.arange(len(chosen)), chosen] = 1.0
            picks.append(pick)
            maxima.append(OrbitMaximum(size))
            start += size * count
        self.picks, self.maxima = nn.ModuleList(picks), nn.ModuleList(maxima)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool (B, C, H, W) to (B, orbits, H, W)."""
        pairs = zip(self.picks, self.maxima, strict=True)
        return torch.cat([largest(pick(features)) for pick, largest in pairs], dim=1)


def _runs(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(size, how many in a row) of equal neighbours."""
    return [(size, len(list(group))) for size, group in itertools.groupby(sizes)]
