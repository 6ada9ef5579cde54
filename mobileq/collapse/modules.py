"""One function per torch module kind: the node that computes the same.

`LOWER` is the table. A kind that is in neither it nor `PASS_THROUGH` is lowered call by
call instead, as what its own `forward` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch import nn

from mobileq.collapse.activations import ACTIVATIONS
from mobileq.collapse.padding import Value, added, pad_mode, require_unpadded
from mobileq.collapse.pools import POOLS
from mobileq.collapse.resize import upsampled
from mobileq.collapse.site import Lowered, Site, array
from mobileq.collapse.units import OrbitMaximum, WeightMap
from mobileq.errors import UnsupportedError
from mobileq.graph.base import NO_PADDING
from mobileq.graph.fields import trivial_fields
from mobileq.graph.nodes import (
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    Mask,
    Node,
    OrbitMax,
    Pad,
    Padding,
    Relu,
    Relu6,
    SoftMask,
    SpatialMean,
)
from mobileq.models.build import DiscMask, DiscMean


def _conv(module: nn.Conv2d, site: Site) -> Lowered:
    """Conv2d; pixels that it copies around its input are a node of their own."""
    mode, sides = pad_mode(site.name, module.padding_mode), _conv_padding(module)
    if mode is not None and sides != NO_PADDING:
        require_unpadded(site.name, [Value(site.inputs[0], site.padding)])
        copied = Pad(f"{site.name}.pad", site.inputs, sides, mode)
        return copied, _convolved(module, replace(site, inputs=(copied.name,)))
    return _convolved(module, site, added(site.padding, sides))


def _convolved(module: nn.Conv2d, site: Site, padding: Padding = NO_PADDING) -> Conv:
    """Conv2d between zeros."""
    for what in ("stride", "dilation"):
        rows, columns = getattr(module, what)
        if rows != columns:
            raise UnsupportedError(
                f"{site.name}: Conv2d with {what} {(rows, columns)}; wanted one for "
                f"both axes"
            )
    weight = array(module.weight)
    bias = np.zeros(len(weight)) if module.bias is None else array(module.bias)
    return Conv(
        site.name,
        site.inputs,
        weight,
        bias,
        site.fields or trivial_fields(len(weight)),
        stride=module.stride[0],
        padding=padding,
        groups=module.groups,
        dilation=module.dilation[0],
    )


def _conv_padding(module: nn.Conv2d) -> Padding:
    """What a Conv2d adds itself, given in numbers, as `same` or as `valid`."""
    if module.padding == "valid":
        return NO_PADDING
    if module.padding == "same":
        # The stride is 1. Of an odd number, torch adds the last one at the end
        # (at::native::_convolution_same), as TensorFlow does.
        rows, columns = ((n - 1) * module.dilation[0] for n in module.kernel_size)
        return Padding(rows // 2, -(-rows // 2), columns // 2, -(-columns // 2))
    rows, columns = cast("tuple[int, int]", module.padding)
    return Padding(rows, rows, columns, columns)


def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, site: Site) -> Node:
    """BatchNorm with running statistics."""
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError(
            f"{site.name}: BatchNorm without running statistics; wanted them "
            f"(track_running_stats=True)"
        )
    mean, variance = array(module.running_mean), array(module.running_var)
    ones = np.ones_like(mean)
    return BatchNorm(
        site.name,
        site.inputs,
        ones if module.weight is None else array(module.weight),
        0 * ones if module.bias is None else array(module.bias),
        mean,
        variance,
        module.eps,
    )


def _linear(module: nn.Linear, site: Site) -> Node:
    """Linear."""
    weight = array(module.weight)
    bias = np.zeros(len(weight)) if module.bias is None else array(module.bias)
    return Linear(site.name, site.inputs, weight, bias)


def _relu(module: nn.ReLU, site: Site) -> Node:
    """ReLU."""
    return Relu(site.name, site.inputs)


def _relu6(module: nn.ReLU6, site: Site) -> Node:
    """ReLU6."""
    return Relu6(site.name, site.inputs)


def _mask(module: DiscMask, site: Site) -> Node:
    """Circular mask."""
    return Mask(site.name, site.inputs, module.mask.numpy().astype(np.uint8))


def _weights(module: WeightMap, site: Site) -> Node:
    """Multiplication by a map of weights; by a plain mask, if all are 0 or 1."""
    mask = array(module.mask)
    if np.isin(mask, (0, 1)).all():
        return Mask(site.name, site.inputs, mask.astype(np.uint8))
    return SoftMask(site.name, site.inputs, mask)


def _mean(module: DiscMean, site: Site) -> Node:
    """Masked global average pooling."""
    return SpatialMean(site.name, site.inputs, module.mask.numpy().astype(np.uint8))


def _orbit_max(module: OrbitMaximum, site: Site) -> Node:
    """Maximum over each orbit."""
    return OrbitMax(site.name, site.inputs, module.block)


def _upsample(module: nn.Upsample, site: Site) -> Lowered:
    """Upsample by a size or a factor."""
    size: Any = module.size
    if size is None:
        factor: Any = module.scale_factor
        pair = factor if isinstance(factor, tuple) else (factor, factor)
        size = tuple(int(n * f) for n, f in zip(site.shape[1:], pair, strict=True))
    pair = (size, size) if isinstance(size, int) else tuple(size)
    return upsampled(site, pair, module.mode, align_corners=bool(module.align_corners))


def _flatten(module: nn.Flatten, site: Site) -> Node:
    """Flatten of everything but the batch."""
    if module.start_dim != 1 or module.end_dim not in (-1, len(site.shape)):
        raise UnsupportedError(
            f"{site.name}: Flatten from axis {module.start_dim} to {module.end_dim}; "
            f"wanted 1 to -1"
        )
    return Flatten(site.name, site.inputs)


LOWER: dict[type[nn.Module], Callable[[Any, Site], Lowered]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.ReLU6: _relu6,
    **POOLS,
    **ACTIVATIONS,
    nn.Flatten: _flatten,
    nn.Upsample: _upsample,
    DiscMask: _mask,
    DiscMean: _mean,
    WeightMap: _weights,
    OrbitMaximum: _orbit_max,
}

PADDED = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)
"""Modules that take in zeros that were padded around their input."""

PASS_THROUGH = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
"""Modules that do nothing in evaluation mode."""
