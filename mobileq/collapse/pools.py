"""Pools of torch as nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn

from mobileq.collapse.padding import added
from mobileq.collapse.site import Site
from mobileq.errors import UnsupportedError
from mobileq.graph.base import NO_PADDING
from mobileq.graph.nodes import AveragePool, MaxPool, Node, Padding, SpatialMean


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


def adaptive_average(site: Site, size: Sequence[int | None]) -> Node:
    """Mean over equal windows, so many in each direction that they give `size`.

    Raises:
        UnsupportedError: the windows would not be equal.
    """
    if tuple(size) == (1, 1):
        return SpatialMean(site.name, site.inputs, np.ones(site.shape[1:], np.uint8))
    window, stride = _equal_windows(site, size, "AdaptiveAvgPool2d")
    return AveragePool(site.name, site.inputs, window, stride)


def adaptive_maximum(site: Site, size: Sequence[int | None]) -> Node:
    """Maximum over equal windows, so many in each direction that they give `size`.

    Raises:
        UnsupportedError: the windows would not be equal.
    """
    window, stride = _equal_windows(site, size, "AdaptiveMaxPool2d")
    return MaxPool(site.name, site.inputs, window, stride)


def _equal_windows(
    site: Site, size: Sequence[int | None], what: str
) -> tuple[tuple[int, int], int]:
    """Kernel and stride of an adaptive pool.

    Raises:
        UnsupportedError: its windows are not equal, or not of one stride.
    """
    grid = site.shape[1:]
    wanted = tuple(have if n is None else n for n, have in zip(size, grid, strict=True))
    rows, columns = (have // n for n, have in zip(wanted, grid, strict=True))
    whole = (rows * wanted[0], columns * wanted[1]) == tuple(grid)
    if not whole or (rows != columns and wanted != (1, 1)):
        raise UnsupportedError(
            f"{site.name}: {what} from {tuple(grid)} to {wanted}; wanted a size that "
            f"divides both sides equally often, such as 1"
        )
    return (rows, columns), 1 if wanted == (1, 1) else rows


def _pair(value: Any) -> tuple[int | None, int | None]:
    """Rows and columns; None keeps what the input has."""
    if isinstance(value, int) or value is None:
        return value, value
    rows, columns = value
    return rows, columns


POOLS: Mapping[type[nn.Module], Callable[[Any, Site], Node]] = MappingProxyType(
    {
        nn.AvgPool2d: _average_pool,
        nn.MaxPool2d: _max_pool,
        nn.AdaptiveAvgPool2d: lambda module, site: adaptive_average(
            site, _pair(module.output_size)
        ),
        nn.AdaptiveMaxPool2d: lambda module, site: adaptive_maximum(
            site, _pair(module.output_size)
        ),
    }
)
"""How each kind of pool is lowered."""
