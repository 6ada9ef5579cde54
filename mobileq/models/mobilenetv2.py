"""MobileNetV2 (arXiv:1801.04381) for odd grids, for either family of layers."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from mobileq.models.build import LayerFamily
from mobileq.models.planner import plan_layer
from mobileq.models.spec import ModelSpec

# Table 2 of the paper: expansion, output channels, repeats, stride of the first one.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


def channels_of(base: int, spec: ModelSpec) -> int:
    """`base` times the width, rounded up to the spec's multiple, never below it."""
    multiple = spec.channel_multiple
    return max(multiple, math.ceil(base * spec.width / multiple - 1e-9) * multiple)


def strides_of(spec: ModelSpec) -> tuple[int, ...]:
    """Stride of the stem and of each stage, the last `reduced_strides` twos as ones."""
    strides = [2, *(stage[3] for stage in STAGES)]
    left = spec.reduced_strides
    for index in reversed(range(len(strides))):
        if left and strides[index] == 2:
            strides[index] = 1
            left -= 1
    return tuple(strides)


class InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (3x3), project (1x1), add if shapes allow."""

    def __init__(self, branch: nn.Sequential, *, residual: bool) -> None:
        super().__init__()
        self.branch = branch
        self.residual = residual

    def forward(self, features: Any) -> Any:
        """Map (B, in, H, W) to (B, out, H', W')."""
        output = self.branch(features)
        return features + output if self.residual else output


class MobileNetV2(nn.Module):
    """The network of a spec.

    Args:
        spec: Architecture.
        layers: Family of layers to build it from.
    """

    def __init__(self, spec: ModelSpec, layers: LayerFamily) -> None:
        super().__init__()
        self.spec = spec
        self.layers = layers
        strides = strides_of(spec)
        channels = channels_of(STEM_CHANNELS, spec)
        grid = plan_layer(spec.input_size, kernel=3, stride=strides[0], layer="stem")
        self.mask = layers.mask(spec.in_channels, spec.input_size)
        lifting = layers.lifting(spec.in_channels, channels, grid.stride, grid.padding)
        self.stem = self._normalized("conv", lifting, channels)
        blocks: list[nn.Module] = []
        size = grid.size
        for (expansion, base, repeats, _), stride in zip(
            STAGES, strides[1:], strict=True
        ):
            for repeat in range(repeats):
                block, channels, size = self._block(
                    f"blocks.{len(blocks)}",
                    size,
                    channels,
                    channels_of(base, spec),
                    expansion,
                    stride if repeat == 0 else 1,
                )
                blocks.append(block)
        self.blocks = nn.ModuleList(blocks)
        width = channels_of(HEAD_CHANNELS, spec)
        self.head = self._normalized("conv", layers.pointwise(channels, width), width)
        self.pool = layers.masked_mean(width, size)
        self.orbit_pool = layers.orbit_pool(width)
        self.classifier = nn.Linear(layers.invariant_channels(width), spec.num_classes)

    def _block(
        self,
        name: str,
        size: int,
        in_channels: int,
        out_channels: int,
        expansion: int,
        stride: int,
    ) -> tuple[nn.Module, int, int]:
        """One inverted residual; returns it with its output channels and grid size."""
        layers = self.layers
        hidden = in_channels * expansion
        grid = plan_layer(size, kernel=3, stride=stride, layer=name)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion > 1:
            expand = layers.pointwise(in_channels, hidden)
            parts["expand"] = self._normalized("conv", expand, hidden)
        depthwise = layers.depthwise(hidden, grid.stride, grid.padding)
        parts["depthwise"] = self._normalized("conv", depthwise, hidden)
        project = layers.pointwise(hidden, out_channels)
        parts["project"] = self._normalized("conv", project, out_channels, relu=False)
        residual = stride == 1 and in_channels == out_channels
        block = InvertedResidual(nn.Sequential(parts), residual=residual)
        return block, out_channels, grid.size

    def _normalized(
        self, name: str, conv: nn.Module, channels: int, *, relu: bool = True
    ) -> nn.Sequential:
        """Convolution, BatchNorm and, if asked for, ReLU."""
        parts = OrderedDict([(name, conv), ("norm", self.layers.norm(channels))])
        if relu:
            parts["relu"] = self.layers.relu(channels)
        return nn.Sequential(parts)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map normalized images (B, C, H, W) to logits (B, classes)."""
        features = self.stem(self.mask(self.layers.wrap(images)))
        for block in self.blocks:
            features = block(features)
        pooled = self.orbit_pool(self.pool(self.head(features)))
        tensor = pooled if isinstance(pooled, torch.Tensor) else pooled.tensor
        logits: torch.Tensor = self.classifier(tensor.flatten(1))
        return logits
