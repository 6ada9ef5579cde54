"""One function per operation of torch that a network's own `forward` may call.

`FUNCTIONS` is the table. Each function takes the operation of the traced program and
the site; constants among its arguments have been computed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from mobileq.collapse.activations import (
    elu,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    sigmoid,
    silu,
)
from mobileq.collapse.pools import adaptive_average, adaptive_maximum
from mobileq.collapse.resize import upsampled
from mobileq.collapse.site import Lowered, Site, array
from mobileq.errors import UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.nodes import (
    Add,
    Concat,
    Conv,
    Flatten,
    Mul,
    Relu,
    Relu6,
)

_aten = torch.ops.aten


def _global_mean(call: fx.Node, site: Site) -> Lowered:
    """x.mean((2, 3)), with or without keepdim."""
    _require_grid(call, site, "mean")
    return adaptive_average(site, (1, 1))


def _global_maximum(call: fx.Node, site: Site) -> Lowered:
    """x.amax((2, 3)), with or without keepdim."""
    _require_grid(call, site, "maximum")
    return adaptive_maximum(site, (1, 1))


def _require_grid(call: fx.Node, site: Site, what: str) -> None:
    """Check that an operation goes over all pixels.

    Raises:
        UnsupportedError: it goes over other axes.
    """
    given: Any = call.args[1] if len(call.args) > 1 else ()
    axes = sorted(axis % (len(site.shape) + 1) for axis in given or ())
    if axes != [2, 3]:
        raise UnsupportedError(f"{site.name}: {what} over axes {axes}; wanted (2, 3)")


def _add(call: fx.Node, site: Site) -> Lowered:
    """x + y of two tensors, or of a tensor and a constant."""
    factor = float(call.kwargs.get("alpha", 1))  # type: ignore[arg-type]
    if call.target in (_aten.sub.Tensor, _aten.sub_.Tensor):
        factor = -factor
    if len(site.inputs) == 2 and factor == 1:
        return Add(site.name, site.inputs)
    if len(site.inputs) == 2:
        first, second = site.inputs
        part = replace(site, name=f"{site.name}.scaled", inputs=(second,))
        scaled = _per_channel(part, scale=factor, shift=0.0)
        return scaled, Add(site.name, (first, scaled.name))
    if call.args[0] is call.args[1]:
        return _per_channel(site, scale=1 + factor, shift=0.0)
    constant, other = _constants(call, site)
    if constant is not None:
        return _per_channel(site, scale=factor, shift=constant)
    assert other is not None
    return _per_channel(site, scale=1.0, shift=factor * other)


def _taken_from(call: fx.Node, site: Site) -> Lowered:
    """A number minus x."""
    number: Any = call.args[1]
    factor: Any = call.args[2] if len(call.args) > 2 else 1
    return _per_channel(site, scale=-float(factor), shift=float(number))


def _negated(call: fx.Node, site: Site) -> Lowered:
    """-x."""
    return _per_channel(site, scale=-1.0, shift=0.0)


def _mul(call: fx.Node, site: Site) -> Lowered:
    """x * y of two tensors, or of a tensor and a constant."""
    if len(site.inputs) == 2:
        return Mul(site.name, site.inputs)
    first, second = _constants(call, site)
    constant = second if first is None else first
    if constant is None:
        # x * x reads one tensor twice.
        return Mul(site.name, site.inputs * 2)
    return _per_channel(site, scale=constant, shift=0.0)


def _divided(call: fx.Node, site: Site) -> Lowered:
    """x / y, where y is a constant."""
    first, second = _constants(call, site)
    if first is not None or second is None or len(site.inputs) > 1:
        raise UnsupportedError(
            f"{site.name}: divides by a feature map; wanted a constant (quotients are "
            f"not computed in integers)"
        )
    return _per_channel(site, scale=1 / second, shift=0.0)


def _constants(
    call: fx.Node, site: Site
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Both arguments where they are constants: scalars, or (C, 1, 1)."""
    found: list[NDArray[np.float64] | None] = []
    for argument in call.args[:2]:
        value: Any = argument
        if isinstance(argument, fx.Node):
            value = site.constants.get(argument.name)
        if value is None:
            found.append(None)
            continue
        values = array(torch.as_tensor(value))
        wanted = (site.shape[0], *[1] * (len(site.shape) - 1))
        try:
            found.append(np.broadcast_to(values, (1, *wanted)).reshape(-1))
        except ValueError:
            raise UnsupportedError(
                f"{site.name}: a constant of shape {values.shape}; wanted one number, "
                f"or one for each channel {wanted}"
            ) from None
    return found[0], found[1]


def _per_channel(
    site: Site,
    *,
    scale: NDArray[np.float64] | float,
    shift: NDArray[np.float64] | float,
) -> Conv:
    """scale * x + shift as a depthwise convolution."""
    channels = site.shape[0]
    if len(site.shape) != 3:
        raise UnsupportedError(
            f"{site.name}: a constant and a flat tensor; wanted feature maps, or a "
            f"Linear layer that does it"
        )
    weight = np.broadcast_to(np.asarray(scale, np.float64), channels)
    return Conv(
        site.name,
        site.inputs,
        weight[:, None, None, None],
        np.broadcast_to(np.asarray(shift, np.float64), channels),
        trivial_fields(channels),
        groups=channels,
    )


def _clip(call: fx.Node, site: Site) -> Lowered:
    """hardtanh(x, 0, 6), clamp(x, 0, 6) or clamp(x, 0)."""
    hard = call.target in (_aten.hardtanh.default, _aten.hardtanh_.default)
    default = (-1, 1) if hard else (None, None)
    bounds = (*call.args[1:3], *default[len(call.args) - 1 :])
    if bounds == (0, None):
        return Relu(site.name, site.inputs)
    if bounds != (0, 6):
        raise UnsupportedError(f"{site.name}: clips to {bounds}; wanted (0, 6)")
    return Relu6(site.name, site.inputs)


def _join(call: fx.Node, site: Site) -> Lowered:
    """torch.cat of channels."""
    axis: Any = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
    if axis % (len(site.shape) + 1) != 1 or site.constants:
        raise UnsupportedError(
            f"{site.name}: joins tensors on axis {axis}; wanted feature maps on axis 1 "
            f"(the channels)"
        )
    parts: Any = call.args[0]
    return Concat(site.name, tuple(site.tensors[part.name] for part in parts))


def _resize(call: fx.Node, site: Site) -> Lowered:
    """F.interpolate."""
    mode = str(call.target).split(".")[1].removeprefix("upsample_").removesuffix("2d")
    corners = mode != "nearest" and bool(call.args[2])
    return upsampled(site, site.made[1:], mode, align_corners=corners)


def _flatten(call: fx.Node, site: Site) -> Lowered:
    """flatten, view, reshape."""
    return Flatten(site.name, site.inputs)


def _relu(call: fx.Node, site: Site) -> Lowered:
    """relu."""
    return Relu(site.name, site.inputs)


def _relu6(call: fx.Node, site: Site) -> Lowered:
    """relu6."""
    return Relu6(site.name, site.inputs)


def _slope(call: fx.Node, default: float) -> float:
    """The second argument, a number."""
    given: Any = call.args[1] if len(call.args) > 1 else default
    return float(given)


def _in_place(name: str) -> tuple[Any, Any]:
    """An operation, and the one that writes its result over its input."""
    return getattr(_aten, name).default, getattr(_aten, f"{name}_").default


SQUEEZES = (_aten.squeeze.dim, _aten.squeeze.dims, _aten.squeeze.default)
"""Operations that leave out axes of one place."""

FUNCTIONS: Mapping[Any, Callable[[fx.Node, Site], Lowered]] = MappingProxyType(
    {
        **dict.fromkeys((_aten.add.Tensor, _aten.add_.Tensor), _add),
        **dict.fromkeys((_aten.sub.Tensor, _aten.sub_.Tensor), _add),
        **dict.fromkeys((_aten.mul.Tensor, _aten.mul_.Tensor), _mul),
        **dict.fromkeys((_aten.div.Tensor, _aten.div_.Tensor), _divided),
        _aten.rsub.Scalar: _taken_from,
        _aten.neg.default: _negated,
        **dict.fromkeys(_in_place("relu"), _relu),
        **dict.fromkeys(_in_place("sigmoid"), lambda call, site: sigmoid(site)),
        **dict.fromkeys(_in_place("silu"), lambda call, site: silu(site)),
        **dict.fromkeys(
            _in_place("elu"), lambda call, site: elu(site, _slope(call, 1.0))
        ),
        **dict.fromkeys(
            _in_place("leaky_relu"),
            lambda call, site: leaky_relu(site, _slope(call, 0.01)),
        ),
        **dict.fromkeys(
            _in_place("hardsigmoid"), lambda call, site: hard_sigmoid(site)
        ),
        **dict.fromkeys(_in_place("hardswish"), lambda call, site: hard_swish(site)),
        _aten.relu6.default: _relu6,
        **dict.fromkeys((*_in_place("hardtanh"), *_in_place("clamp")), _clip),
        _aten.clamp_min.default: _clip,
        _aten.mean.dim: _global_mean,
        _aten.amax.default: _global_maximum,
        _aten.adaptive_avg_pool2d.default: lambda call, site: adaptive_average(
            site, site.made[1:] if len(site.made) == 3 else (1, 1)
        ),
        _aten.adaptive_max_pool2d.default: lambda call, site: adaptive_maximum(
            site, site.made[1:]
        ),
        _aten.cat.default: _join,
        _aten.upsample_nearest2d.vec: _resize,
        _aten.upsample_bilinear2d.vec: _resize,
        **dict.fromkeys(SQUEEZES, _flatten),
        _aten.flatten.using_ints: _flatten,
        _aten.view.default: _flatten,
        _aten.reshape.default: _flatten,
    }
)
"""How each operation is lowered."""

COPIES = (
    _aten.clone.default,
    _aten.contiguous.default,
    _aten.alias.default,
    _aten.detach.default,
    _aten.dropout.default,
    _aten.feature_dropout.default,
    _aten.lift_fresh_copy.default,
    operator.getitem,
)
"""Operations that do nothing in evaluation mode, or take the first of two results."""
