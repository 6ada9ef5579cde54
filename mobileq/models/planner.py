"""Paddings that keep every grid odd, so that turned images are sampled alike.

A stride-2 convolution samples the points 2i - p of its input. Turning the grid by 90
degrees maps those points onto themselves only if they lie symmetrically, that is if
(n + 2p - k) is even; and the output can be sampled symmetrically again only if it has
an odd number of points (seed paper, section 4 and figure 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from mobileq.errors import InputError


@dataclass(frozen=True)
class LayerGrid:
    """Sampling of one layer along one axis.

    Attributes:
        stride: Distance of neighbouring output points in input pixels.
        padding: Zeros added at each border.
        size: Number of output points.
    """

    stride: int
    padding: int
    size: int


def plan_layer(size: int, *, kernel: int, stride: int, layer: str) -> LayerGrid:
    """Choose the padding of one layer whose input has `size` points along an axis.

    Args:
        size: Height and width of the input in pixels.
        kernel: Filter size, odd.
        stride: 1 or 2.
        layer: Name for the error message.

    Raises:
        InputError: no padding samples the grid symmetrically.
    """
    half = (kernel - 1) // 2
    if kernel % 2 == 0:
        raise InputError(f"{layer}: kernel is {kernel}; wanted an odd one")
    if stride == 1:
        return LayerGrid(1, half, size)
    for padding in (half - 1, half):
        span = size + 2 * padding - kernel
        if padding >= 0 and span >= 0 and span % stride == 0:
            points = span // stride + 1
            if points % 2 == 1:
                return LayerGrid(stride, padding, points)
    raise InputError(
        f"{layer}: no padding samples a grid of {size} points symmetrically with "
        f"stride {stride}; wanted an odd input size (crop the input by one pixel)"
    )
