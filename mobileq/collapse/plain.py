"""Every escnn module is replaced by a plain torch module that computes the same.

`PLAIN` is the table, with one function per kind. A kind that is not in it cannot be
collapsed, and the error names the module and its path.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any, cast

import torch
from escnn import nn as enn
from escnn.nn import FieldType, GeometricTensor
from torch import nn

from mobileq.collapse import escnn_layers as layers
from mobileq.collapse import escnn_norms as norms
from mobileq.collapse.refused import MODULES
from mobileq.collapse.units import RunsOfOrbits
from mobileq.errors import UnsupportedError
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

    def __init__(
        self, inner: nn.Module, in_type: FieldType, out_type: FieldType
    ) -> None:
        super().__init__()
        self.inner = inner
        self.in_type = in_type
        self.out_type = out_type

    def forward(self, input: GeometricTensor) -> GeometricTensor:
        """Unwrap, compute, wrap."""
        return GeometricTensor(self.inner(input.tensor), self.out_type)

    @property
    def types(self) -> dict[str, FieldType]:
        """Fields of what each plain module in it makes, by path below this one."""
        if isinstance(self.inner, nn.Sequential):
            last = len(self.inner) - 1
            return {f"inner.{last}": self.out_type}
        if not isinstance(self.inner, RunsOfOrbits):
            return {"inner": self.out_type}
        found, start = {}, 0
        for number, (_, count) in enumerate(self.inner.runs):
            chosen = list(range(start, start + count))
            found[f"inner.picks.{number}"] = self.in_type.index_select(chosen)
            start += count
        return found


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
            leaf_types = cast("Any", module)
            plain = Collapsed(inner, leaf_types.in_type, leaf_types.out_type)
            done[id(module)] = plain
            return plain
    equivariant = isinstance(module, enn.EquivariantModule)
    leaf = equivariant and not any(True for _ in module.children())
    container = isinstance(module, enn.SequentialModule)
    if (leaf and not container) or _is_escnn(module, MODULES):
        raise _cannot(module, path or "model")
    done[id(module)] = module
    for name, child in list(module._modules.items()):
        if child is not None:
            below = f"{path}.{name}" if path else name
            setattr(module, name, _replaced(child, below, done))
    return module


def _is_escnn(module: nn.Module, kinds: Collection[str]) -> bool:
    """Whether a module is one of some kinds of escnn's own."""
    kind = type(module)
    return kind.__module__.startswith("escnn.") and kind.__name__ in kinds


def _cannot(module: nn.Module, path: str) -> UnsupportedError:
    """The error for an escnn module that has no plain counterpart."""
    kind = type(module).__name__
    if kind in MODULES:
        reason, remedy = MODULES[kind]
        return UnsupportedError(
            f"{path}: escnn module {kind} cannot be collapsed: {reason}; wanted "
            f"{remedy} (replace it before training)"
        )
    wanted = ", ".join(sorted(k.__name__ for k in PLAIN))
    return UnsupportedError(
        f"{path}: escnn module {kind} cannot be collapsed; wanted one of {wanted} "
        f"(replace it before training)"
    )


PLAIN: dict[type[nn.Module], Callable[[Any, str], nn.Module]] = {
    LiftingConv: layers.expanded,
    PointwiseConv: layers.expanded,
    DepthwiseConv: layers.expanded,
    BlockBatchNorm: norms.block_norm,
    CircularMask: layers.disc_mask,
    MaskedMean: layers.disc_mean,
    enn.R2Conv: layers.r2conv,
    enn.Linear: layers.linear,
    enn.InnerBatchNorm: norms.inner_norm,
    enn.IIDBatchNorm2d: norms.iid_norm,
    enn.GNormBatchNorm: norms.affine,
    enn.NormBatchNorm: norms.affine,
    enn.ReLU: layers.relu,
    enn.ELU: layers.elu,
    enn.LeakyReLU: layers.leaky_relu,
    enn.PointwiseNonLinearity: layers.pointwise,
    enn.MaskModule: layers.weight_map,
    enn.GroupPooling: layers.orbit_pool,
    enn.PointwiseMaxPool2D: layers.own_export,
    enn.PointwiseAvgPool2D: layers.average_pool,
    enn.PointwiseAvgPoolAntialiased2D: layers.blur,
    enn.PointwiseMaxPoolAntialiased2D: layers.blurred_maximum,
    enn.PointwiseAdaptiveAvgPool2D: layers.adaptive_average,
    enn.PointwiseAdaptiveMaxPool2D: layers.adaptive_maximum,
    enn.R2Upsampling: layers.own_export,
    enn.DisentangleModule: norms.affine,
    enn.ReshuffleModule: norms.affine,
    enn.RestrictionModule: layers.identity,
    enn.PointwiseDropout: layers.identity,
    enn.FieldDropout: layers.identity,
    enn.IdentityModule: layers.identity,
}
