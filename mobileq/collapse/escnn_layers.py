"""Convolutions, pools, masks and nonlinearities of escnn as plain torch modules.

Each function takes the module and its path, and gives what computes the same on plain
tensors; `plain.py` has the table.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobileq.collapse.units import OrbitMaximum, RunsOfOrbits, WeightMap
from mobileq.models.build import DiscMask, DiscMean
from mobileq.models.layers import DepthwiseConv

_MASK_ROUNDING = 1e-5
"""A mask computed in float32 is symmetric up to this much."""


def expanded(module: Any, path: str) -> nn.Module:
    """Our convolutions: expand `weights x basis` once."""
    groups = module.in_type.size if isinstance(module, DepthwiseConv) else 1
    return convolution(
        module.filter(),
        None,
        groups=groups,
        stride=_pair(getattr(module, "stride", 1)),
        padding=_pair(getattr(module, "padding", 0)),
    )


def r2conv(module: Any, path: str) -> nn.Module:
    """escnn's own convolution."""
    weight, bias = module.expand_parameters()
    options: dict[str, Any] = {
        name: _pair(getattr(module, name)) for name in ("stride", "padding", "dilation")
    }
    options["padding_mode"] = module.padding_mode
    return convolution(weight, bias, groups=module.groups, **options)


def linear(module: Any, path: str) -> nn.Module:
    """escnn's layer on vectors."""
    weight, bias = module.expand_parameters()
    plain = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    plain.weight.copy_(weight)
    if bias is not None:
        plain.bias.copy_(bias)
    return plain


def convolution(
    weight: Tensor, bias: Tensor | None, *, groups: int, **options: Any
) -> nn.Conv2d:
    """A Conv2d with given weight (OIHW) and bias, and options as torch has them."""
    out, per_group, rows, columns = weight.shape
    conv = nn.Conv2d(
        per_group * groups,
        out,
        (rows, columns),
        groups=groups,
        bias=bias is not None,
        **options,
    )
    conv.weight.copy_(weight)
    if bias is not None and conv.bias is not None:
        conv.bias.copy_(bias)
    return conv


def relu(module: Any, path: str) -> nn.Module:
    """Pointwise."""
    return nn.ReLU()


def elu(module: Any, path: str) -> nn.Module:
    """Pointwise."""
    return nn.ELU(module.alpha)


def leaky_relu(module: Any, path: str) -> nn.Module:
    """Pointwise."""
    return nn.LeakyReLU(module._negative_slope)


def pointwise(module: Any, path: str) -> nn.Module:
    """PointwiseNonLinearity, which keeps its function but not the function's name."""
    known: dict[Any, nn.Module] = {
        F.relu: nn.ReLU(),
        F.elu: nn.ELU(),
        F.sigmoid: nn.Sigmoid(),
        F.tanh: nn.Tanh(),
    }
    return known[module._function]


def disc_mask(module: Any, path: str) -> nn.Module:
    """Our circular mask."""
    return DiscMask(module.mask.shape[-1])


def disc_mean(module: Any, path: str) -> nn.Module:
    """Our masked pooling."""
    return DiscMean(module.mask.shape[-1])


def weight_map(module: Any, path: str) -> nn.Module:
    """escnn's mask with a soft edge, bit for bit symmetric."""
    mask = module.mask[0, 0]
    turned = [torch.rot90(m, k) for m in (mask, mask.flip(1)) for k in range(4)]
    even = torch.stack(turned).double().mean(0)
    close = (even - mask).abs().max() <= _MASK_ROUNDING
    return WeightMap(even.to(mask.dtype).clamp(0, 1) if close else mask)


def orbit_pool(module: Any, path: str) -> nn.Module:
    """Maximum over the channels of each field."""
    sizes = [int(r.size) for r in module.in_type.representations]
    if len(set(sizes)) == 1:
        return OrbitMaximum(sizes[0])
    return RunsOfOrbits(sizes)


def own_export(module: Any, path: str) -> nn.Module:
    """What escnn exports right itself."""
    exported: nn.Module = module.export()
    return exported


def average_pool(module: Any, path: str) -> nn.Module:
    """PointwiseAvgPool2D, for which escnn has no export."""
    return nn.AvgPool2d(
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        ceil_mode=module.ceil_mode,
    )


def blur(module: Any, path: str) -> nn.Module:
    """PointwiseAvgPoolAntialiased2D: a depthwise convolution with a fixed filter."""
    return _blurred(module, module.padding)


def blurred_maximum(module: Any, path: str) -> nn.Module:
    """PointwiseMaxPoolAntialiased2D: a maximum at every pixel, then a blur."""
    largest = nn.MaxPool2d(
        module.kernel_size, 1, module.padding, ceil_mode=module.ceil_mode
    )
    return nn.Sequential(largest, _blurred(module, module._pad))


def _blurred(module: Any, padding: Any) -> nn.Conv2d:
    """A depthwise convolution with the filter of a module."""
    return convolution(
        module.filter,
        None,
        groups=len(module.filter),
        stride=_pair(module.stride),
        padding=_pair(padding),
    )


def adaptive_average(module: Any, path: str) -> nn.Module:
    """PointwiseAdaptiveAvgPool2D."""
    return nn.AdaptiveAvgPool2d(module.output_size)


def adaptive_maximum(module: Any, path: str) -> nn.Module:
    """PointwiseAdaptiveMaxPool2D."""
    return nn.AdaptiveMaxPool2d(module.output_size)


def identity(module: Any, path: str) -> nn.Module:
    """Dropout and the like do nothing in evaluation mode."""
    return nn.Identity()


def _pair(value: Any) -> tuple[int, int]:
    """Rows and columns."""
    return (value, value) if isinstance(value, int) else tuple(value)
