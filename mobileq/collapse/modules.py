"""One function per torch module kind: the node that computes the same.

`LOWER` is the table. A kind that is in neither it nor `PASS_THROUGH` is lowered call by
call instead, as what its own `forward` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mobileq.collapse.padding import added
from mobileq.collapse.units import OrbitMaximum
from mobileq.errors import UnsupportedError
from mobileq.graph.base import NO_PADDING
from mobileq.graph.fields import FieldBlocks, trivial_fields
from mobileq.graph.nodes import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    Padding,
    Relu,
    Relu6,
    Shape,
    SpatialMean,
)
from mobileq.models.build import DiscMask, DiscMean


@dataclass(frozen=True)
class Site:
    """Where a module is called.

    Attributes:
        name: Name for the node.
        inputs: Tensors that it reads.
        shape: Shape of the first of them, without the batch axis.
        fields: Fields of the module's output, None where unknown.
        padding: Zeros around that tensor, besides the module's own padding.
        rectified: Whether that tensor comes out of a ReLU, so that nothing in it is
            below 0.
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    fields: FieldBlocks | None
    padding: Padding = NO_PADDING
    rectified: bool = False


def _conv(module: nn.Conv2d, site: Site) -> Node:
    """Conv2d with zero padding."""
    if module.padding_mode != "zeros" or module.dilation != (1, 1):
        raise UnsupportedError(
            f"{site.name}: Conv2d with padding_mode {module.padding_mode!r}, dilation "
            f"{module.dilation}; wanted zeros and (1, 1)"
        )
    if module.stride[0] != module.stride[1]:
        raise UnsupportedError(
            f"{site.name}: Conv2d with stride {module.stride}; wanted one for both axes"
        )
    weight = _array(module.weight)
    bias = np.zeros(len(weight)) if module.bias is None else _array(module.bias)
    return Conv(
        site.name,
        site.inputs,
        weight,
        bias,
        site.fields or trivial_fields(len(weight)),
        stride=module.stride[0],
        padding=added(site.padding, _conv_padding(module)),
        groups=module.groups,
    )


def _conv_padding(module: nn.Conv2d) -> Padding:
    """Zeros that a Conv2d adds itself, given in numbers, as `same` or as `valid`."""
    if module.padding == "valid":
        return NO_PADDING
    if module.padding == "same":
        # Stride and dilation are 1. Of an odd number, torch adds the last one at the
        # end (at::native::_convolution_same), as TensorFlow does.
        rows, columns = (size - 1 for size in module.kernel_size)
        return Padding(rows // 2, -(-rows // 2), columns // 2, -(-columns // 2))
    rows, columns = cast("tuple[int, int]", module.padding)
    return Padding(rows, rows, columns, columns)


def _batch_norm(module: nn.BatchNorm2d, site: Site) -> Node:
    """BatchNorm2d with running statistics."""
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError(
            f"{site.name}: BatchNorm2d without running statistics; wanted them "
            f"(track_running_stats=True)"
        )
    mean, variance = _array(module.running_mean), _array(module.running_var)
    ones = np.ones_like(mean)
    return BatchNorm(
        site.name,
        site.inputs,
        ones if module.weight is None else _array(module.weight),
        0 * ones if module.bias is None else _array(module.bias),
        mean,
        variance,
        module.eps,
    )


def _linear(module: nn.Linear, site: Site) -> Node:
    """Linear."""
    weight = _array(module.weight)
    bias = np.zeros(len(weight)) if module.bias is None else _array(module.bias)
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


def _mean(module: DiscMean, site: Site) -> Node:
    """Masked global average pooling."""
    return SpatialMean(site.name, site.inputs, module.mask.numpy().astype(np.uint8))


def _orbit_max(module: OrbitMaximum, site: Site) -> Node:
    """Maximum over each orbit."""
    return OrbitMax(site.name, site.inputs, module.block)


def _pool_window(module: Any, site: Site) -> dict[str, Any]:
    """Kernel, stride and padding of a pool, checked."""
    if module.ceil_mode or getattr(module, "dilation", 1) not in (1, (1, 1)):
        raise UnsupportedError(
            f"{site.name}: pool with ceil_mode or dilation; wanted neither"
        )
    kernel, stride, padding = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (module.kernel_size, module.stride, module.padding)
    )
    if stride[0] != stride[1]:
        raise UnsupportedError(
            f"{site.name}: stride {stride}; wanted one for both axes"
        )
    sides = Padding(padding[0], padding[0], padding[1], padding[1])
    return {
        "kernel": kernel,
        "stride": stride[0],
        "padding": added(site.padding, sides),
    }


def _average_pool(module: nn.AvgPool2d, site: Site) -> Node:
    """AvgPool2d."""
    if not module.count_include_pad and module.padding not in (0, (0, 0)):
        raise UnsupportedError(
            f"{site.name}: AvgPool2d with count_include_pad=False; wanted no padding"
        )
    if module.divisor_override is not None:
        raise UnsupportedError(
            f"{site.name}: AvgPool2d with divisor_override={module.divisor_override}; "
            f"wanted none"
        )
    return AveragePool(site.name, site.inputs, **_pool_window(module, site))


def _max_pool(module: nn.MaxPool2d, site: Site) -> Node:
    """MaxPool2d.

    Its own padding is below every number, a padded zero is one. Of numbers that are
    not negative, both have the same maximum, if each window holds one of them.
    """
    pool = MaxPool(site.name, site.inputs, **_pool_window(module, site))
    sides = pool.padding
    inside = max(sides.top, sides.bottom) < pool.kernel[0] and (
        max(sides.left, sides.right) < pool.kernel[1]
    )
    if site.padding != NO_PADDING and not (site.rectified and inside):
        raise UnsupportedError(
            f"{site.name}: MaxPool2d of {site.inputs[0]!r} with {site.padding} around "
            f"it; wanted zeros only around the output of a ReLU, fewer than the kernel "
            f"has (pad by MaxPool2d(padding=...))"
        )
    return pool


def _global_average(module: nn.AdaptiveAvgPool2d, site: Site) -> Node:
    """AdaptiveAvgPool2d to one point."""
    if module.output_size not in (1, (1, 1)):
        raise UnsupportedError(
            f"{site.name}: AdaptiveAvgPool2d to {module.output_size}; wanted 1"
        )
    return SpatialMean(site.name, site.inputs, np.ones(site.shape[1:], np.uint8))


def _flatten(module: nn.Flatten, site: Site) -> Node:
    """Flatten of everything but the batch."""
    if module.start_dim != 1 or module.end_dim not in (-1, len(site.shape)):
        raise UnsupportedError(
            f"{site.name}: Flatten from axis {module.start_dim} to {module.end_dim}; "
            f"wanted 1 to -1"
        )
    return Flatten(site.name, site.inputs)


LOWER: dict[type[nn.Module], Callable[[Any, Site], Node]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.ReLU6: _relu6,
    nn.AvgPool2d: _average_pool,
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.Flatten: _flatten,
    DiscMask: _mask,
    DiscMean: _mean,
    OrbitMaximum: _orbit_max,
}

PADDED = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)
"""Modules that take in zeros that were padded around their input."""

PASS_THROUGH = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""Modules that do nothing in evaluation mode."""


def _array(tensor: torch.Tensor) -> NDArray[np.float64]:
    """float64 copy of a parameter or buffer."""
    return tensor.detach().cpu().double().numpy()
