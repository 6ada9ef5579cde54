"""Random small networks of every family, with BatchNorm statistics that fit them.

They stand for the networks that users bring: our own layers, escnn's own, odd grids,
strides, residual sums, masks, pools, orbit pooling and a plain torch head. Logits are
invariant under the exact subgroup of the network's group, which `symmetries_of` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from escnn import nn as enn
from torch import nn

from mobileq.models.build import (
    ConventionalLayers,
    EquivariantLayers,
    LayerFamily,
)
from mobileq.models.norm import BlockBatchNorm
from mobileq.models.planner import plan_layer
from mobileq.models.spec import CONVENTIONAL, GroupName
from support.images import moved, normalized, random_pixels, symmetries_of

__all__ = [
    "GROUPS",
    "MeanHead",
    "RandomNetwork",
    "moved",
    "normalized",
    "random_network",
    "random_pixels",
    "randomize_norms",
    "symmetries_of",
]

GROUPS = ("C4", "C8", "C12", "D4", "D2", "C6", CONVENTIONAL)
SIZES = tuple(range(9, 24, 2))
MOST_CHANNELS = 24


class RandomNetwork(nn.Module):
    """Stem, body, head: images (B, C, H, W) to logits (B, classes).

    Attributes:
        group: Name of its group, or `conventional`.
    """

    def __init__(
        self,
        group: str,
        layers: LayerFamily,
        body: Sequence[nn.Module],
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.group = group
        self.layers = layers
        self.body = nn.ModuleList(body)
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        features = self.layers.wrap(images)
        for module in self.body:
            features = module(features)
        tensor = features if isinstance(features, torch.Tensor) else features.tensor
        logits: torch.Tensor = self.head(tensor)
        return logits


class Residual(nn.Module):
    """x + f(x), rectified or not."""

    def __init__(self, branch: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.after = after

    def forward(self, features: Any) -> Any:
        """Add the branch to its input."""
        return self.after(features + self.branch(features))


class MeanHead(nn.Module):
    """A head in plain functions: mean over the grid, then a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, classes)."""
        logits: torch.Tensor = self.classifier(features.mean((2, 3)))
        return logits


@dataclass
class _Builder:
    """Draws one network after another layer; keeps channels and grid size."""

    rng: np.random.Generator
    group: str
    layers: LayerFamily
    size: int
    image_channels: int
    channels: int = 0

    def flip(self, probability: float = 0.5) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    @property
    def equivariant(self) -> bool:
        """Whether the layers are escnn's."""
        return isinstance(self.layers, EquivariantLayers)

    def width(self) -> int:
        """A random number of channels, whole blocks."""
        if not self.equivariant:
            return int(self.rng.integers(3, 13))
        order = GroupName.parse(self.group).order
        return order * int(self.rng.integers(1, MOST_CHANNELS // order + 1))

    def stride(self) -> int:
        """1, or 2 if the grid is large enough and can be sampled symmetrically."""
        return 2 if self.size >= 7 and self.flip(0.4) else 1

    def norm(self, channels: int) -> nn.Module:
        """BatchNorm of either implementation."""
        if isinstance(self.layers, EquivariantLayers) and self.flip(0.3):
            norm: nn.Module = enn.InnerBatchNorm(self.layers.fields(channels))
            return norm
        return self.layers.norm(channels)

    def unit(self, conv: nn.Module, channels: int, *, relu: bool = True) -> list[Any]:
        """A convolution, its BatchNorm and perhaps a ReLU."""
        parts = [conv, self.norm(channels)]
        if relu:
            parts.append(self.layers.relu(channels))
        return parts

    def stem(self) -> list[nn.Module]:
        """Perhaps a mask, then the lifting convolution."""
        parts: list[nn.Module] = []
        if self.flip(0.7):
            parts.append(self.layers.mask(self.image_channels, self.size))
        self.channels = self.width()
        grid = plan_layer(self.size, kernel=3, stride=self.stride(), layer="stem")
        lifting = self.layers.lifting(
            self.image_channels, self.channels, grid.stride, grid.padding
        )
        self.size = grid.size
        return parts + self.unit(lifting, self.channels)

    def block(self) -> nn.Module:
        """One layer or inverted residual of a random kind."""
        kinds = [self.inverted_residual, self.inverted_residual, self.pool]
        if isinstance(self.layers, EquivariantLayers):
            kinds.append(self.dense)
        return kinds[self.rng.integers(len(kinds))]()

    def inverted_residual(self) -> nn.Module:
        """Pointwise, depthwise, pointwise; a sum where the shapes allow it."""
        start, hidden = self.channels, self.width()
        stride = self.stride()
        out = start if self.flip() else self.width()
        grid = plan_layer(self.size, kernel=3, stride=stride, layer="block")
        depthwise = self.layers.depthwise(hidden, grid.stride, grid.padding)
        branch = nn.Sequential(
            *self.unit(self.layers.pointwise(start, hidden), hidden),
            *self.unit(depthwise, hidden),
            *self.unit(self.layers.pointwise(hidden, out), out, relu=False),
        )
        self.channels, self.size = out, grid.size
        if stride == 1 and out == start:
            after = self.layers.relu(out) if self.flip(0.3) else nn.Identity()
            return Residual(branch, after)
        return branch

    def dense(self) -> nn.Module:
        """escnn's own convolution between regular fields, sometimes with a bias."""
        layers = self.layers
        assert isinstance(layers, EquivariantLayers)
        order = GroupName.parse(self.group).order
        out = order * max(1, 12 // order)
        grid = plan_layer(self.size, kernel=3, stride=self.stride(), layer="dense")
        conv = enn.R2Conv(
            layers.fields(self.channels),
            layers.fields(out),
            3,
            stride=grid.stride,
            padding=grid.padding,
            bias=self.flip(),
            initialize=False,
        )
        fan_in = 9 * self.channels
        nn.init.normal_(conv.weights, std=(2 / fan_in) ** 0.5)
        self.channels, self.size = out, grid.size
        return nn.Sequential(*self.unit(conv, out))

    def pool(self) -> nn.Module:
        """A windowed maximum or mean that samples the grid symmetrically."""
        grid = plan_layer(self.size, kernel=3, stride=self.stride(), layer="pool")
        self.size = grid.size
        largest = self.flip()
        options: dict[str, Any] = {"stride": grid.stride, "padding": grid.padding}
        if isinstance(self.layers, EquivariantLayers):
            kind = enn.PointwiseMaxPool2D if largest else enn.PointwiseAvgPool2D
            pool: nn.Module = kind(self.layers.fields(self.channels), 3, **options)
            return pool
        plain = nn.MaxPool2d if largest else nn.AvgPool2d
        return plain(3, **options)

    def ending(self, classes: int) -> tuple[list[nn.Module], nn.Module]:
        """Pools over grid and orbit, and the plain torch head after `.tensor`."""
        channels, layers = self.channels, self.layers
        features = layers.invariant_channels(channels)
        pools = [layers.orbit_pool(channels)]
        head: nn.Module
        match int(self.rng.integers(3)):
            case 0:
                pools.insert(0, layers.masked_mean(channels, self.size))
                head = nn.Sequential(nn.Flatten(), nn.Linear(features, classes))
            case 1:
                head = MeanHead(features, classes)
            case _:
                hidden = int(self.rng.integers(4, 9))
                head = nn.Sequential(
                    nn.Conv2d(features, hidden, 1, bias=False),
                    nn.BatchNorm2d(hidden),
                    nn.ReLU6() if self.flip() else nn.ReLU(),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                    nn.Linear(hidden, classes),
                )
        return pools, head


def random_network(
    seed: int, *, groups: Sequence[str] = GROUPS
) -> tuple[nn.Module, tuple[int, int, int]]:
    """A random trained-looking network in evaluation mode.

    Args:
        seed: Decides everything.
        groups: Groups to choose from.

    Returns:
        The network and the (C, H, W) of its images, which are normalized as
        (pixel - 128) / 128.
    """
    rng = np.random.default_rng(seed)
    group = groups[int(rng.integers(len(groups)))]
    size = int(rng.choice(SIZES))
    image_channels = int(rng.choice([1, 3]))
    shape = (image_channels, size, size)
    layers: LayerFamily = ConventionalLayers()
    if group != CONVENTIONAL:
        layers = EquivariantLayers(GroupName.parse(group), image_channels)
    builder = _Builder(rng, group, layers, size, image_channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = builder.stem()
        body.extend(builder.block() for _ in range(int(rng.integers(1, 4))))
        pools, head = builder.ending(int(rng.integers(2, 5)))
        network = RandomNetwork(group, layers, [*body, *pools], head)
        randomize_norms(network, normalized(random_pixels(16, shape, seed)))
    return network.eval(), shape


def randomize_norms(network: nn.Module, images: torch.Tensor) -> None:
    """Give every BatchNorm a spread of scales, and the statistics of some images.

    Args:
        network: Left in evaluation mode.
        images: (B, C, H, W).
    """
    norms = [m for m in network.modules() if isinstance(m, _NORMS)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(torch.exp(0.5 * torch.randn_like(norm.weight)))
            norm.bias.copy_(0.3 * torch.randn_like(norm.bias))
            norm.momentum = 1.0
        network.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


_NORMS = (BlockBatchNorm, nn.BatchNorm2d, nn.BatchNorm3d)
