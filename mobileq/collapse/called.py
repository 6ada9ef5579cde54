"""Layers that a `forward` calls as functions: `F.conv2d`, `F.linear`, `F.max_pool2d`.

Each becomes the module that computes the same, and is lowered as that one. Weights may
be computed from parameters, as those of `torch.nn.utils.parametrizations` are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn

from mobileq.collapse.modules import LOWER
from mobileq.collapse.site import Lowered, Site
from mobileq.errors import UnsupportedError

_aten = torch.ops.aten


def _convolution(call: fx.Node, site: Site) -> Lowered:
    """F.conv2d(x, weight, bias, stride, padding, dilation, groups)."""
    weight, bias = _parameters(call, site)
    names = ("stride", "padding", "dilation", "groups")
    rest: Any = call.args[3:]
    given = [value if isinstance(value, int | str) else tuple(value) for value in rest]
    options: dict[str, Any] = dict(zip(names, given, strict=False))
    channels = weight.shape[1] * options.get("groups", 1)
    kernel: Any = tuple(weight.shape[2:])
    layer = nn.Conv2d(
        channels, weight.shape[0], kernel, bias=bias is not None, **options
    )
    return _with_parameters(layer, weight, bias, site)


def _linear(call: fx.Node, site: Site) -> Lowered:
    """F.linear(x, weight, bias)."""
    weight, bias = _parameters(call, site)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return _with_parameters(layer, weight, bias, site)


def _parameters(call: fx.Node, site: Site) -> tuple[Tensor, Tensor | None]:
    """Weight and bias.

    Raises:
        UnsupportedError: they depend on the image.
    """
    found: list[Tensor | None] = []
    for given in (*call.args[1:3], None)[:2]:
        known = site.constants.get(given.name) if isinstance(given, fx.Node) else None
        if given is not None and known is None:
            raise UnsupportedError(
                f"{site.name}: weights that depend on the image; wanted constant ones"
            )
        found.append(known)
    weight, bias = found
    assert weight is not None
    return weight, bias


def _with_parameters(
    layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None, site: Site
) -> Lowered:
    """Lower a layer with given parameters."""
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
    return LOWER[type(layer)](layer, site)


def _pool(kind: type[nn.Module]) -> Callable[[fx.Node, Site], Lowered]:
    """F.max_pool2d or F.avg_pool2d, whose arguments have the module's names."""

    def lowered(call: fx.Node, site: Site) -> Lowered:
        operation: Any = call.target
        names = [argument.name for argument in operation._schema.arguments]
        given: dict[str, Any] = dict(zip(names, call.args, strict=False))
        given |= dict(call.kwargs)
        options = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            # An empty stride is the kernel's size.
            if name != names[0] and value != []
        }
        return LOWER[kind](kind(**options), site)

    return lowered


CALLED: Mapping[Any, Callable[[fx.Node, Site], Lowered]] = MappingProxyType(
    {
        _aten.conv2d.default: _convolution,
        _aten.conv2d.padding: _convolution,
        _aten.linear.default: _linear,
        _aten.max_pool2d.default: _pool(nn.MaxPool2d),
        _aten.avg_pool2d.default: _pool(nn.AvgPool2d),
    }
)
"""How each of them is lowered; all but `linear` take in zeros around their input."""
