"""Smooth activations of torch as nodes.

    silu(x)         x * sigmoid(x)
    hardsigmoid(x)  min(relu(x / 6 + 1/2), 1)
    hardswish(x)    x * hardsigmoid(x)
    prelu(x)        a leaky ReLU, if all channels have one slope

Written so, each is made of nodes whose integers every runtime computes alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn

from mobileq.collapse.site import Lowered, Site, array
from mobileq.errors import UnsupportedError
from mobileq.graph.curves import Curve, CurveKind
from mobileq.graph.fields import trivial_fields
from mobileq.graph.nodes import Cap, Conv, Mul, Node, Relu


def sigmoid(site: Site) -> Lowered:
    """1 / (1 + exp(-x))."""
    return Curve(site.name, site.inputs, CurveKind.SIGMOID)


def silu(site: Site) -> Lowered:
    """x * sigmoid(x)."""
    gate = Curve(f"{site.name}.gate", site.inputs, CurveKind.SIGMOID)
    return gate, Mul(site.name, (*site.inputs, gate.name))


def elu(site: Site, alpha: float) -> Lowered:
    """x, or exp(x) - 1 below 0.

    Raises:
        UnsupportedError: another size than 1.
    """
    if alpha != 1:
        raise UnsupportedError(
            f"{site.name}: ELU with alpha={alpha:g}; wanted 1 (TFLite has no other)"
        )
    return Curve(site.name, site.inputs, CurveKind.ELU)


def leaky_relu(site: Site, slope: float) -> Lowered:
    """x, or slope * x below 0.

    Raises:
        UnsupportedError: a slope that falls, or is steeper than 1.
    """
    if slope == 0:
        return Relu(site.name, site.inputs)
    if not 0 < slope < 1:
        raise UnsupportedError(
            f"{site.name}: leaky ReLU with slope {slope:g}; wanted 0 to 1"
        )
    return Curve(site.name, site.inputs, CurveKind.LEAKY_RELU, slope)


def hard_sigmoid(site: Site) -> tuple[Node, ...]:
    """min(relu(x / 6 + 1/2), 1)."""
    channels = site.shape[0]
    if len(site.shape) != 3:
        raise UnsupportedError(
            f"{site.name}: Hardsigmoid of a flat tensor; wanted feature maps "
            f"(C, H, W), or a Sigmoid"
        )
    line = Conv(
        f"{site.name}.line",
        site.inputs,
        np.full((channels, 1, 1, 1), 1 / 6),
        np.full(channels, 0.5),
        site.fields or trivial_fields(channels),
        groups=channels,
    )
    rectified = Relu(f"{site.name}.rectified", (line.name,))
    return line, rectified, Cap(site.name, (rectified.name,), np.ones(channels))


def hard_swish(site: Site) -> Lowered:
    """x * hardsigmoid(x)."""
    *first, last = hard_sigmoid(site)
    gate = Cap(f"{site.name}.gate", last.inputs, np.ones(site.shape[0]))
    return (*first, gate, Mul(site.name, (*site.inputs, gate.name)))


def _prelu(module: nn.PReLU, site: Site) -> Lowered:
    """PReLU with one slope.

    Raises:
        UnsupportedError: channels have different slopes.
    """
    slopes = array(module.weight)
    if (slopes != slopes[0]).any():
        raise UnsupportedError(
            f"{site.name}: PReLU with {len(slopes)} different slopes; wanted one for "
            f"all channels (num_parameters=1)"
        )
    return leaky_relu(site, float(slopes[0]))


ACTIVATIONS: Mapping[type[nn.Module], Callable[[Any, Site], Lowered]] = (
    MappingProxyType(
        {
            nn.Sigmoid: lambda module, site: sigmoid(site),
            nn.SiLU: lambda module, site: silu(site),
            nn.ELU: lambda module, site: elu(site, module.alpha),
            nn.LeakyReLU: lambda module, site: leaky_relu(site, module.negative_slope),
            nn.PReLU: _prelu,
            nn.Hardsigmoid: lambda module, site: hard_sigmoid(site),
            nn.Hardswish: lambda module, site: hard_swish(site),
        }
    )
)
"""How each kind of activation is lowered."""
