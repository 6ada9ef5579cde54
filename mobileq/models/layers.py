"""Equivariant layers of MobileNetV2 on escnn's field types and bases.

Every linear layer here is `weights x basis`: a small matrix of free numbers times a
fixed tensor that spans the equivariant filters. The basis of a spatial filter is part
of the checkpoint (a persistent buffer), because escnn computes the one of D_N from a
null space whose vectors are free up to a rotation.

AdamW moves every free number by about the learning rate, whatever it stands for. So
that a filter here learns as fast as one of the conventional twin, bases have the size
of that of plain filters (one entry is one, all others zero), and filters begin with
the variance of torch's `Conv2d`; docs/decisions/0007-size-of-bases.md has the gain.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from escnn import nn as enn
from escnn.group import GroupElement, Representation
from escnn.nn import FieldType, GeometricTensor
from torch import Tensor
from torch.nn import functional as F

from mobileq.models.masks import circular_mask


def rotated_filter_basis(field_type: FieldType, kernel: int) -> Tensor:
    """Span of the filters whose copies in a block are turned versions of each other.

    Args:
        field_type: One regular field.
        kernel: Filter size, odd.

    Returns:
        (basis, block, kernel, kernel) float32: the basis of
        `R2Conv(trivial -> regular)`, 6 filters for 3x3 and 11 for 5x5, scaled so that
        the squared norms of all basis filters of a channel add up to kernel^2.
    """
    trivial = FieldType(field_type.gspace, [field_type.gspace.trivial_repr])
    conv = enn.R2Conv(trivial, field_type, kernel, bias=False, initialize=False)
    filters = []
    with torch.no_grad():
        for index in range(conv.weights.numel()):
            conv.weights.zero_()
            conv.weights[index] = 1.0
            filters.append(conv.expand_parameters()[0][:, 0])
    basis = torch.stack(filters)
    energy = basis.square().sum() / basis.shape[1]
    return basis * (kernel / energy.sqrt())


def circulant_basis(field_type: FieldType) -> Tensor:
    """Span of the matrices that commute with the regular representation.

    Entry (i, j) of such a matrix depends on the group element i^-1 j alone; for C_N the
    matrices are the circulant ones.

    Args:
        field_type: One regular field.

    Returns:
        (basis, block, block) float32 of zeros and ones.
    """
    elements = cast("list[GroupElement]", field_type.fibergroup.elements)
    basis = torch.zeros(len(elements), len(elements), len(elements))
    for i, row in enumerate(elements):
        for j, column in enumerate(elements):
            basis[elements.index(~row @ column), i, j] = 1.0
    return basis


class LiftingConv(enn.EquivariantModule):
    """Convolution from trivial fields (an image) to regular fields.

    Args:
        in_type: Trivial fields, one per image channel.
        out_type: Regular fields.
        kernel: Filter size, odd.
        stride: Distance of output points in input pixels.
        padding: Zeros added at each border.
    """

    def __init__(
        self,
        in_type: FieldType,
        out_type: FieldType,
        *,
        kernel: int,
        stride: int,
        padding: int,
    ) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type
        self.stride, self.padding = stride, padding
        basis = rotated_filter_basis(_one_field(out_type), kernel)
        self.register_buffer("basis", basis)
        shape = (len(out_type), len(in_type), basis.shape[0])
        self.weight = torch.nn.Parameter(_initial(shape, len(in_type), kernel))

    def filter(self) -> Tensor:
        """The expanded filter, (out, in, kernel, kernel), OIHW."""
        expanded = torch.einsum("oib,bnhw->onihw", self.weight, self.basis)
        return expanded.flatten(0, 1)

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Convolve (B, in, H, W)."""
        output = F.conv2d(
            input.tensor, self.filter(), stride=self.stride, padding=self.padding
        )
        return GeometricTensor(output, self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for an input (B, in, H, W)."""
        kernel = self.basis.shape[-1]
        grid = [
            (n + 2 * self.padding - kernel) // self.stride + 1 for n in input_shape[2:]
        ]
        return (input_shape[0], self.out_type.size, *grid)


class PointwiseConv(enn.EquivariantModule):
    """1x1 convolution between regular fields: every block pair is a circulant matrix.

    Args:
        in_type: Regular fields.
        out_type: Regular fields.
    """

    def __init__(self, in_type: FieldType, out_type: FieldType) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type
        basis = circulant_basis(_one_field(out_type))
        # Zeros and ones from the group's table: the same on every machine.
        self.register_buffer("basis", basis, persistent=False)
        shape = (len(out_type), len(in_type), basis.shape[0])
        self.weight = torch.nn.Parameter(_initial(shape, in_type.size, 1))

    def filter(self) -> Tensor:
        """The expanded filter, (out, in, 1, 1), OIHW."""
        expanded = torch.einsum("abg,gij->aibj", self.weight, self.basis)
        return expanded.reshape(self.out_type.size, self.in_type.size, 1, 1)

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Mix the channels of (B, in, H, W)."""
        return GeometricTensor(F.conv2d(input.tensor, self.filter()), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for an input (B, in, H, W)."""
        return (input_shape[0], self.out_type.size, *input_shape[2:])


class DepthwiseConv(enn.EquivariantModule):
    """Depthwise convolution: the filters of a block are turned copies of one filter.

    Args:
        in_type: Regular fields, of the output too.
        kernel: Filter size, odd.
        stride: Distance of output points in input pixels.
        padding: Zeros added at each border.
    """

    def __init__(
        self, in_type: FieldType, *, kernel: int, stride: int, padding: int
    ) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.stride, self.padding = stride, padding
        basis = rotated_filter_basis(_one_field(in_type), kernel)
        self.register_buffer("basis", basis)
        shape = (len(in_type), basis.shape[0])
        self.weight = torch.nn.Parameter(_initial(shape, 1, kernel))

    def filter(self) -> Tensor:
        """The expanded filter, (channels, 1, kernel, kernel), OIHW."""
        expanded = torch.einsum("cb,bnhw->cnhw", self.weight, self.basis)
        return expanded.flatten(0, 1).unsqueeze(1)

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Convolve every channel of (B, C, H, W) with its own filter."""
        output = F.conv2d(
            input.tensor,
            self.filter(),
            stride=self.stride,
            padding=self.padding,
            groups=self.in_type.size,
        )
        return GeometricTensor(output, self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for an input (B, C, H, W)."""
        kernel = self.basis.shape[-1]
        grid = [
            (n + 2 * self.padding - kernel) // self.stride + 1 for n in input_shape[2:]
        ]
        return (*input_shape[:2], *grid)


class CircularMask(enn.EquivariantModule):
    """Multiply by the binary disc of `masks.circular_mask`.

    Args:
        in_type: Any field type.
        size: Height and width in pixels.
    """

    def __init__(self, in_type: FieldType, size: int) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        mask = torch.from_numpy(circular_mask(size)).float()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Zero the corners of (B, C, size, size)."""
        return GeometricTensor(input.tensor * self.mask, self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Same as the input."""
        return input_shape


class MaskedMean(CircularMask):
    """Mean over the disc of `masks.circular_mask`: global average pooling in a circle.

    Args:
        in_type: Any field type.
        size: Height and width in pixels.
    """

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Pool (B, C, size, size) to (B, C, 1, 1)."""
        return GeometricTensor(masked_mean(input.tensor, self.mask), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(B, C, 1, 1)."""
        return (*input_shape[:2], 1, 1)


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, C, H, W) where the (H, W) mask is one: (B, C, 1, 1)."""
    return (features * mask).sum((2, 3), keepdim=True) / mask.sum()


def _one_field(field_type: FieldType) -> FieldType:
    """The type with a single field of the representation that all fields share."""
    representation: Representation = field_type.representations[0]
    return FieldType(field_type.gspace, [representation])


def _initial(shape: tuple[int, ...], channels: int, kernel: int) -> Tensor:
    """Random weights whose expanded filters have the variance of torch's `Conv2d`.

    Args:
        shape: Of the weights.
        channels: Input channels that an output channel reads.
        kernel: Filter size.
    """
    return torch.randn(shape) / math.sqrt(3 * channels * kernel * kernel)
