"""BatchNorm whose statistics are shared by the channels of a block and by all ranks.

escnn's `InnerBatchNorm` shares them inside a block through a five-dimensional view, for
which torch has only a slow kernel: measured on two cores with 144 channels of 47x47 in
bf16, forward and backward take ten times as long as torch's channels-last BatchNorm.
torch's `SyncBatchNorm` shares them between ranks on a GPU only. The function below puts
both together from the fast kernels for one channel on one rank: a mean is a mean of
means, and a variance a mean of variances plus the variance of the means.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from escnn import nn as enn
from escnn.nn import FieldType, GeometricTensor
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _NormalizeBlocks(torch.autograd.Function):
    """Training-mode normalization with one mean and one variance per block."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, block: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalized (B, C, H, W), mean and unbiased variance, (blocks,)."""
        mean, variance, samples = _moments(x, weight.dtype, block)
        ctx.save_for_backward(x, weight, mean, variance, samples)
        ctx.block, ctx.eps = block, eps
        unbiased = variance * (samples / (samples - 1).clamp_min(1))
        ctx.mark_non_differentiable(mean, unbiased)
        output = _affine(x, weight, bias, mean, variance, block, eps)
        return output, mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, and this rank's share of those of the others."""
        x, weight, mean, variance, samples = ctx.saved_tensors
        block, eps = ctx.block, ctx.eps
        wide = torch.stack((weight, mean, variance)).repeat_interleave(block, 1)
        # With fixed statistics the kernel returns weight / std * gradient and the two
        # sums; what the batch's own statistics add is an affine function of x.
        input_gradient, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, *wide, None, None, False, eps, [True, True, True]
        )
        sums = torch.stack((by_weight, by_bias)).view(2, -1, block).sum(2)
        by_weight, by_bias = sums.unbind()
        if _several_ranks():
            sums = sums.clone()
            distributed.all_reduce(sums)
        factor = -weight * (variance + eps).rsqrt() / samples
        slope, offset = (factor * sums).unbind()
        correction = _affine(x, slope, offset, mean, variance, block, eps)
        return input_gradient.add_(correction), by_weight, by_bias, None, None


def _moments(
    x: Tensor, dtype: torch.dtype, block: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each block of (B, C, H, W) over all ranks, (blocks,).

    Returns:
        Mean, variance (divided by the number of values), and that number, ().
    """
    # The kernel computes in float32 only where it is given running averages of it.
    unused = torch.ones(2, x.shape[1], dtype=dtype, device=x.device)
    mean, variance = torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0)
    samples = torch.full((), x.numel() // x.shape[1], dtype=dtype, device=x.device)
    mean, variance = mean.view(1, -1, block), variance.view(1, -1, block)
    share = torch.ones(1, 1, 1, dtype=dtype, device=x.device)
    if _several_ranks():
        local = torch.cat((mean.flatten(), variance.flatten(), samples.view(1)))
        ranks = local.new_empty(distributed.get_world_size(), len(local))
        distributed.all_gather(list(ranks.unbind()), local)
        samples = ranks[:, -1].sum()
        share = ranks[:, -1, None, None] / samples
        mean, variance = ranks[:, :-1].view(len(ranks), 2, -1, block).unbind(1)
    block_mean = (share * mean).sum(0).mean(1)
    spread = (mean - block_mean.unsqueeze(1)).square()
    return block_mean, (share * (variance + spread)).sum(0).mean(1), samples * block


def _several_ranks() -> bool:
    """Whether this process computes one part of each batch, and others the rest."""
    return distributed.is_initialized() and distributed.get_world_size() > 1


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
    # Apart, since the kernel takes no averages that a gradient would flow into.
    mean, variance = torch.stack((mean, variance)).repeat_interleave(block, 1)
    weight, bias = torch.stack((weight, bias)).repeat_interleave(block, 1)
    return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)


class BlockBatchNorm(enn.EquivariantModule):
    """BatchNorm shared inside each block of regular fields, and between ranks.

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
        with torch.no_grad():
            mean.lerp_(batch_mean.to(mean.dtype), self.momentum)
            variance.lerp_(batch_variance.to(variance.dtype), self.momentum)
        return GeometricTensor(output, self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Same as the input."""
        return input_shape


class RankBatchNorm2d(torch.nn.BatchNorm2d):
    """torch's BatchNorm2d, with statistics over all ranks while it is trained.

    torch's own `SyncBatchNorm` refuses to run on a CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (B, C, H, W)."""
        if not (self.training and _several_ranks()):
            return super().forward(input)
        output, mean, variance = _NormalizeBlocks.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, 1, self.eps
        )
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return cast("Tensor", output)


def share_statistics(model: torch.nn.Module) -> None:
    """Make the plain BatchNorm layers inside a network use the statistics of all ranks.

    Weights, buffers and their names stay; block-shared layers need no change.
    """
    for name, layer in list(model.named_modules()):
        if type(layer) is torch.nn.BatchNorm2d:
            shared = RankBatchNorm2d(
                layer.num_features, eps=layer.eps, momentum=layer.momentum
            )
            shared.weight, shared.bias = layer.weight, layer.bias
            shared.running_mean = layer.running_mean
            shared.running_var = layer.running_var
            shared.num_batches_tracked = layer.num_batches_tracked
            shared.train(layer.training)
            model.set_submodule(name, shared)
