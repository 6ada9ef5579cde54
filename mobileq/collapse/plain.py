"""One function per escnn module kind: the plain torch module that computes the same.

`PLAIN` is the table. A kind that is not in it cannot be collapsed, and the error names
the module and its path.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from escnn import nn as enn
from escnn.nn import FieldType, GeometricTensor
from torch import Tensor, nn

from mobileq.collapse.units import OrbitMaximum
from mobileq.errors import UnsupportedError
from mobileq.models.build import DiscMask, DiscMean
from mobileq.models.layers import (
    CircularMask,
    DepthwiseConv,
    LiftingConv,
    MaskedMean,
    PointwiseConv,
)
from mobileq.models.norm import BlockBatchNorm


class Collapsed(nn.Module):
    """A plain module that takes and gives GeometricTensors.

    Attributes:
        inner: The plain module.
        out_type: Fields of its output.
    """

    def __init__(self, inner: nn.Module, out_type: FieldType) -> None:
        super().__init__()
        self.inner = inner
        self.out_type = out_type

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Unwrap, compute, wrap."""
        return GeometricTensor(self.inner(input.tensor), self.out_type)


def collapse_module(model: nn.Module) -> nn.Module:
    """Copy a model with every escnn leaf module replaced by a plain one.

    Raises:
        UnsupportedError: a module kind is not in the table, or uses an option that has
            no plain counterpart.
    """
    # eval() leaves expanded filters behind that copy only without their history.
    expanded = {id(b): b.detach().clone() for b in model.buffers() if not b.is_leaf}
    with torch.no_grad():
        plain = copy.deepcopy(model, expanded).eval()
        return _replaced(plain, "", {})


def _replaced(module: nn.Module, path: str, done: dict[int, nn.Module]) -> nn.Module:
    """`module` itself, its children replaced, or its plain counterpart.

    Args:
        module: Any module.
        path: Where it was met first.
        done: What became of modules by id, since one may be used in several places.
    """
    if id(module) in done:
        return done[id(module)]
    for kind, convert in PLAIN.items():
        if type(module) is kind:
            inner = convert(module, path or "model").eval()
            plain = Collapsed(inner, cast("Any", module).out_type)
            done[id(module)] = plain
            return plain
    container = isinstance(module, enn.SequentialModule)
    if isinstance(module, enn.EquivariantModule) and not (
        container or any(True for _ in module.children())
    ):
        raise UnsupportedError(
            f"{path or 'model'}: escnn module {type(module).__name__} cannot be "
            f"collapsed; wanted one of {', '.join(sorted(k.__name__ for k in PLAIN))} "
            f"(replace it before training)"
        )
    done[id(module)] = module
    for name, child in list(module._modules.items()):
        if child is not None:
            below = f"{path}.{name}" if path else name
            setattr(module, name, _replaced(child, below, done))
    return module


def _conv(
    weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, groups: int
) -> nn.Module:
    """A Conv2d with given weight (OIHW) and bias."""
    out, per_group = weight.shape[:2]
    conv = nn.Conv2d(
        per_group * groups,
        out,
        tuple(weight.shape[2:]),  # type: ignore[arg-type]
        stride=stride,
        padding=padding,
        groups=groups,
        bias=bias is not None,
    )
    conv.weight.copy_(weight)
    if bias is not None and conv.bias is not None:
        conv.bias.copy_(bias)
    return conv


def _expanded(module: Any, path: str) -> nn.Module:
    """Our convolutions: expand `weights x basis` once."""
    groups = module.in_type.size if isinstance(module, DepthwiseConv) else 1
    stride = getattr(module, "stride", 1)
    return _conv(module.filter(), None, stride, getattr(module, "padding", 0), groups)


def _r2conv(module: Any, path: str) -> nn.Module:
    """escnn's own convolution."""
    if module.padding_mode != "zeros" or module.dilation not in (1, (1, 1)):
        raise UnsupportedError(
            f"{path}: R2Conv with padding_mode {module.padding_mode!r} and dilation "
            f"{module.dilation}; wanted zeros and 1"
        )
    weight, bias = module.expand_parameters()
    return _conv(weight, bias, module.stride, module.padding, module.groups)


def _block_norm(module: Any, path: str) -> nn.Module:
    """Block-shared BatchNorm, its values repeated for every channel."""
    norm = nn.BatchNorm2d(module.in_type.size, eps=module.eps)
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = getattr(module, name).repeat_interleave(module.block)
        getattr(norm, name).copy_(value)
    return norm


def _relu(module: Any, path: str) -> nn.Module:
    """Pointwise."""
    return nn.ReLU()


def _mask(module: Any, path: str) -> nn.Module:
    """Our circular mask."""
    return DiscMask(module.mask.shape[-1])


def _mean(module: Any, path: str) -> nn.Module:
    """Our masked pooling."""
    return DiscMean(module.mask.shape[-1])


def _orbit_pool(module: Any, path: str) -> nn.Module:
    """Maximum over the channels of each field."""
    sizes = {r.size for r in module.in_type.representations}
    if len(sizes) != 1:
        raise UnsupportedError(
            f"{path}: GroupPooling over fields of sizes {sorted(sizes)}; wanted fields "
            f"of one size"
        )
    return OrbitMaximum(int(sizes.pop()))


def _own_export(module: Any, path: str) -> nn.Module:
    """What escnn exports right itself: InnerBatchNorm, PointwiseMaxPool2D."""
    exported: nn.Module = module.export()
    return exported


def _average_pool(module: Any, path: str) -> nn.Module:
    """PointwiseAvgPool2D, for which escnn has no export."""
    return nn.AvgPool2d(
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        ceil_mode=module.ceil_mode,
    )


def _global_pool(module: Any, path: str) -> nn.Module:
    """PointwiseAdaptiveAvgPool2D; only a 1x1 output is deployed."""
    return nn.AdaptiveAvgPool2d(module.output_size)


def _identity(module: Any, path: str) -> nn.Module:
    """Dropout and the like do nothing in evaluation mode."""
    return nn.Identity()


PLAIN: dict[type[nn.Module], Callable[[Any, str], nn.Module]] = {
    LiftingConv: _expanded,
    PointwiseConv: _expanded,
    DepthwiseConv: _expanded,
    BlockBatchNorm: _block_norm,
    CircularMask: _mask,
    MaskedMean: _mean,
    enn.R2Conv: _r2conv,
    enn.InnerBatchNorm: _own_export,
    enn.ReLU: _relu,
    enn.GroupPooling: _orbit_pool,
    enn.PointwiseMaxPool2D: _own_export,
    enn.PointwiseAvgPool2D: _average_pool,
    enn.PointwiseAdaptiveAvgPool2D: _global_pool,
    enn.PointwiseDropout: _identity,
    enn.FieldDropout: _identity,
    enn.IdentityModule: _identity,
}
