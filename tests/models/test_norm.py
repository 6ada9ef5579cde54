"""BlockBatchNorm against escnn's InnerBatchNorm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from escnn import nn as enn
from escnn.nn import FieldType, GeometricTensor

from mobileq.models.build import gspace_of
from mobileq.models.norm import BlockBatchNorm
from mobileq.models.spec import GroupName

# Both sum some hundred float64 values in different orders.
ROUNDING = 1e-10


def _pair(group: str, blocks: int = 3) -> tuple[FieldType, BlockBatchNorm, Any]:
    """Both implementations with the same random parameters, in float64."""
    space = gspace_of(GroupName.parse(group))
    fields = FieldType(space, [space.regular_repr] * blocks)
    ours = BlockBatchNorm(fields).double()
    theirs = enn.InnerBatchNorm(fields).double()
    (inner,) = [m for m in theirs.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    with torch.no_grad():
        for name in ("weight", "bias"):
            values = torch.randn(blocks, dtype=torch.float64)
            getattr(ours, name).copy_(values)
            getattr(inner, name).copy_(values)
    return fields, ours, theirs


def _images(fields: FieldType, *, channels_last: bool) -> torch.Tensor:
    """Random features with a different mean and size per channel."""
    scale = torch.rand(fields.size, 1, 1, dtype=torch.float64) + 0.5
    images = torch.randn(4, fields.size, 5, 5, dtype=torch.float64) * scale + scale
    return images.contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("group", ["C4", "C12", "D4"])
def test_same_as_escnn_in_training_and_evaluation(
    group: str, channels_last: bool
) -> None:
    """Outputs, all gradients and running statistics agree over several batches."""
    torch.manual_seed(0)
    fields, ours, theirs = _pair(group)
    (inner,) = [m for m in theirs.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    for _ in range(3):
        images = _images(fields, channels_last=channels_last)
        upstream = torch.randn_like(images)
        results = []
        for module, leaf in ((ours, ours), (theirs, inner)):
            x = images.clone().requires_grad_()
            y = module(GeometricTensor(x, fields)).tensor
            wanted = (x, leaf.weight, leaf.bias)
            results.append((y, *torch.autograd.grad(y, wanted, upstream)))
        for mine, reference in zip(*results, strict=True):
            torch.testing.assert_close(mine, reference, rtol=ROUNDING, atol=ROUNDING)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(
                getattr(ours, name), getattr(inner, name), rtol=ROUNDING, atol=ROUNDING
            )
    images = GeometricTensor(_images(fields, channels_last=channels_last), fields)
    with torch.no_grad():
        mine, reference = ours.eval()(images).tensor, theirs.eval()(images).tensor
    torch.testing.assert_close(mine, reference, rtol=ROUNDING, atol=ROUNDING)


def test_gradients_against_finite_differences() -> None:
    """The hand-written backward pass is the derivative of the forward pass."""
    torch.manual_seed(0)
    fields, ours, _ = _pair("C4", blocks=2)
    images = torch.randn(3, fields.size, 2, 2, dtype=torch.float64, requires_grad=True)

    def forward(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        values = {"weight": weight, "bias": bias}
        arguments = (GeometricTensor(x, fields),)
        output = torch.func.functional_call(ours, values, arguments)
        tensor: torch.Tensor = output.tensor
        return tensor

    leaves = [p.detach().clone().requires_grad_() for p in (ours.weight, ours.bias)]
    # gradcheck's default tolerances, made for float64 finite differences.
    assert torch.autograd.gradcheck(forward, (images, *leaves))


def test_bfloat16_input_keeps_float32_statistics() -> None:
    """Under autocast the features are bf16, and the statistics stay float32."""
    torch.manual_seed(0)
    space = gspace_of(GroupName.parse("C4"))
    fields = FieldType(space, [space.regular_repr] * 2)
    norm = BlockBatchNorm(fields)
    images = torch.randn(8, 8, 5, 5).bfloat16()
    output = norm(GeometricTensor(images, fields)).tensor.detach()
    assert output.dtype == torch.bfloat16
    assert norm.running_mean.dtype == torch.float32
    # bf16 has eight bits: 2^-8 of values up to about four.
    assert float(output.float().mean().abs()) < 0.02
    assert float(output.float().std()) == pytest.approx(1.0, abs=0.02)
