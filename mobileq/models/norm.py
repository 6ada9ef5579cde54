"""BatchNorm whose statistics and parameters are shared by the channels of a block.

escnn's `InnerBatchNorm` does the same through a five-dimensional view, for which torch
has only a slow kernel: measured on two cores with 144 channels of 47x47 in bf16,
forward and backward take ten times as long as torch's channels-last BatchNorm. The
function below puts the block-shared normalization together from that fast kernel, run
with the statistics of the block in place of those of the channel.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from escnn import nn as enn
from escnn.nn import FieldType, GeometricTensor
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _NormalizeBlocks(torch.autograd.Function):
    """Training-mode normalization with one mean and one variance per block."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, block: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalized (B, C, H, W), and mean and variance, (blocks,)."""
        ones = weight.new_ones(x.shape[1])
        _, mean, inverse_std = torch.native_batch_norm(
            x, ones, torch.zeros_like(ones), None, None, True, 0.0, eps
        )
        variance = (inverse_std.pow(-2) - eps).clamp_min(0.0)
        block_mean = mean.view(-1, block).mean(1)
        second_moment = (variance + mean.square()).view(-1, block).mean(1)
        block_variance = (second_moment - block_mean.square()).clamp_min(0.0)
        ctx.save_for_backward(x, weight, block_mean, block_variance)
        ctx.block, ctx.eps = block, eps
        ctx.mark_non_differentiable(block_mean, block_variance)
        output = _affine(x, weight, bias, block_mean, block_variance, block, eps)
        return output, block_mean, block_variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight, mean, variance = ctx.saved_tensors
        block, eps = ctx.block, ctx.eps
        # With fixed statistics the kernel returns weight / std * gradient and the two
        # sums; what the batch's own statistics add is an affine function of x.
        input_gradient, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient,
            x,
            weight.repeat_interleave(block),
            mean.repeat_interleave(block),
            variance.repeat_interleave(block),
            None,
            None,
            False,
            eps,
            [True, True, True],
        )
        by_weight = by_weight.view(-1, block).sum(1)
        by_bias = by_bias.view(-1, block).sum(1)
        samples = x.numel() // x.shape[1] * block
        factor = -weight * (variance + eps).rsqrt() / samples
        correction = _affine(
            x, factor * by_weight, factor * by_bias, mean, variance, block, eps
        )
        return input_gradient.add_(correction), by_weight, by_bias, None, None


def _affine(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    block: int,
    eps: float,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, all parameters per block."""
    mean, variance, weight, bias = (
        v.repeat_interleave(block) for v in (mean, variance, weight, bias)
    )
    return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)


class BlockBatchNorm(enn.EquivariantModule):
    """BatchNorm shared inside each block of regular fields.

    Args:
        in_type: Regular fields, all of one size.
        eps: Added to the variance.
        momentum: Weight of the new batch in the running statistics.
    """

    def __init__(
        self, in_type: FieldType, *, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.block = cast("int", in_type.representations[0].size)
        self.eps, self.momentum = eps, momentum
        self.weight = torch.nn.Parameter(torch.ones(len(in_type)))
        self.bias = torch.nn.Parameter(torch.zeros(len(in_type)))
        self.register_buffer("running_mean", torch.zeros(len(in_type)))
        self.register_buffer("running_var", torch.ones(len(in_type)))

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Normalize (B, C, H, W)."""
        mean, variance = self.running_mean, self.running_var
        if not self.training:
            output = _affine(
                input.tensor,
                self.weight,
                self.bias,
                mean,
                variance,
                self.block,
                self.eps,
            )
            return GeometricTensor(output, self.out_type)
        output, batch_mean, batch_variance = _NormalizeBlocks.apply(  # type: ignore[no-untyped-call]
            input.tensor, self.weight, self.bias, self.block, self.eps
        )
        samples = input.tensor.numel() // len(self.in_type)
        with torch.no_grad():
            unbiased = batch_variance * (samples / max(samples - 1, 1))
            mean.lerp_(batch_mean.to(mean.dtype), self.momentum)
            variance.lerp_(unbiased.to(variance.dtype), self.momentum)
        return GeometricTensor(output, self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Same as the input."""
        return input_shape
