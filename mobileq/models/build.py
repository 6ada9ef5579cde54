"""From a spec to a network: the layer kinds of the two families, and `build_model`."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from escnn import gspaces
from escnn import nn as enn
from escnn.gspaces import GSpace2D
from escnn.nn import FieldType, GeometricTensor
from torch import nn

from mobileq.models.layers import (
    CircularMask,
    DepthwiseConv,
    LiftingConv,
    MaskedMean,
    PointwiseConv,
    masked_mean,
)
from mobileq.models.masks import circular_mask
from mobileq.models.norm import BlockBatchNorm
from mobileq.models.spec import GroupName, ModelSpec


class LayerFamily(Protocol):
    """Makes the layers of one network; channel counts are multiples of the block."""

    def wrap(self, images: torch.Tensor) -> Any:
        """Turn (B, C, H, W) images into what the first layer takes."""

    def mask(self, channels: int, size: int) -> nn.Module:
        """Circular mask on the input."""

    def lifting(
        self, in_channels: int, out_channels: int, stride: int, padding: int
    ) -> nn.Module:
        """3x3 convolution of the image."""

    def pointwise(self, in_channels: int, out_channels: int) -> nn.Module:
        """1x1 convolution."""

    def depthwise(self, channels: int, stride: int, padding: int) -> nn.Module:
        """3x3 convolution of each channel."""

    def norm(self, channels: int) -> nn.Module:
        """Batch normalization."""

    def relu(self, channels: int) -> nn.Module:
        """Rectifier."""

    def masked_mean(self, channels: int, size: int) -> nn.Module:
        """Global average pooling in a circle."""

    def orbit_pool(self, channels: int) -> nn.Module:
        """Maximum over each block."""

    def invariant_channels(self, channels: int) -> int:
        """Number of channels that `orbit_pool` leaves."""


def gspace_of(group: GroupName) -> GSpace2D:
    """escnn's space for a group of the plane."""
    if group.reflections:
        return gspaces.flipRot2dOnR2(group.rotations)
    return gspaces.rot2dOnR2(group.rotations)


class EquivariantLayers:
    """Layers on regular fields of one group.

    Args:
        group: The symmetry group.
        in_channels: Number of image channels, each a trivial field.
    """

    def __init__(self, group: GroupName, in_channels: int) -> None:
        self.gspace = gspace_of(group)
        self.image = FieldType(self.gspace, [self.gspace.trivial_repr] * in_channels)

    def fields(self, channels: int) -> FieldType:
        """Regular fields with `channels` channels in all."""
        regular = self.gspace.regular_repr
        return FieldType(self.gspace, [regular] * (channels // regular.size))

    def wrap(self, images: torch.Tensor) -> GeometricTensor:
        """Name the fields of the images."""
        return GeometricTensor(images, self.image)

    def mask(self, channels: int, size: int) -> nn.Module:
        """Circular mask on the input."""
        return CircularMask(self.image, size)

    def lifting(
        self, in_channels: int, out_channels: int, stride: int, padding: int
    ) -> nn.Module:
        """N turned copies of one steerable filter per block."""
        return LiftingConv(
            self.image,
            self.fields(out_channels),
            kernel=3,
            stride=stride,
            padding=padding,
        )

    def pointwise(self, in_channels: int, out_channels: int) -> nn.Module:
        """Circulant blocks."""
        return PointwiseConv(self.fields(in_channels), self.fields(out_channels))

    def depthwise(self, channels: int, stride: int, padding: int) -> nn.Module:
        """N turned copies of one steerable filter per block."""
        return DepthwiseConv(
            self.fields(channels), kernel=3, stride=stride, padding=padding
        )

    def norm(self, channels: int) -> nn.Module:
        """Shared inside each block."""
        return BlockBatchNorm(self.fields(channels))

    def relu(self, channels: int) -> nn.Module:
        """Pointwise, which commutes with a permutation of channels."""
        relu: nn.Module = enn.ReLU(self.fields(channels), inplace=True)
        return relu

    def masked_mean(self, channels: int, size: int) -> nn.Module:
        """Mean over a disc."""
        return MaskedMean(self.fields(channels), size)

    def orbit_pool(self, channels: int) -> nn.Module:
        """Maximum over the N channels of a block, which the group only permutes."""
        pool: nn.Module = enn.GroupPooling(self.fields(channels))
        return pool

    def invariant_channels(self, channels: int) -> int:
        """One per block."""
        return channels // int(self.gspace.regular_repr.size)


class ConventionalLayers:
    """The same shapes without any weight sharing."""

    def wrap(self, images: torch.Tensor) -> torch.Tensor:
        """Images as they are."""
        return images

    def mask(self, channels: int, size: int) -> nn.Module:
        """Circular mask on the input."""
        return DiscMask(size)

    def lifting(
        self, in_channels: int, out_channels: int, stride: int, padding: int
    ) -> nn.Module:
        """A plain 3x3 convolution."""
        return nn.Conv2d(
            in_channels, out_channels, 3, stride=stride, padding=padding, bias=False
        )

    def pointwise(self, in_channels: int, out_channels: int) -> nn.Module:
        """A plain 1x1 convolution."""
        return nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def depthwise(self, channels: int, stride: int, padding: int) -> nn.Module:
        """A plain depthwise 3x3 convolution."""
        return nn.Conv2d(
            channels,
            channels,
            3,
            stride=stride,
            padding=padding,
            groups=channels,
            bias=False,
        )

    def norm(self, channels: int) -> nn.Module:
        """Per channel."""
        return nn.BatchNorm2d(channels)

    def relu(self, channels: int) -> nn.Module:
        """Pointwise."""
        return nn.ReLU(inplace=True)

    def masked_mean(self, channels: int, size: int) -> nn.Module:
        """Mean over a disc."""
        return DiscMean(size)

    def orbit_pool(self, channels: int) -> nn.Module:
        """Nothing to pool: every channel is its own block."""
        return nn.Identity()

    def invariant_channels(self, channels: int) -> int:
        """All of them."""
        return channels


class DiscMask(nn.Module):
    """Multiply (B, C, size, size) by the binary disc of `masks.circular_mask`."""

    mask: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        mask = torch.from_numpy(circular_mask(size)).float()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Zero the corners."""
        return features * self.mask


class DiscMean(DiscMask):
    """Mean of (B, C, size, size) over the disc: (B, C, 1, 1)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool."""
        return masked_mean(features, self.mask)


def build_model(spec: ModelSpec) -> nn.Module:
    """Build the network of `spec` with random weights; images (B, C, H, W) to logits.

    Raises:
        InputError: the planner finds no symmetric sampling for the input size.
    """
    from mobileq.models.mobilenetv2 import MobileNetV2

    layers: LayerFamily = ConventionalLayers()
    if spec.equivariant:
        layers = EquivariantLayers(GroupName.parse(spec.group), spec.in_channels)
    return MobileNetV2(spec, layers)
