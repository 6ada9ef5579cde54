"""Our layouts in TFLite's: NCHW to NHWC, OIHW to OHWI, and padding to SAME or VALID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.nodes import Conv, Padding, Shape
from mobileq.quant.spec import QuantizedLayer

FEW_POINTS = 9
"""Windows up to this size have fast depthwise kernels: they are those of networks."""

WIDE = 16
"""Channels from which on a pixel fills a vector register of most processors."""


def nhwc(shape: Shape) -> tuple[int, ...]:
    """(C, H, W) as (1, H, W, C), and (F,) as (1, F)."""
    return (1, *shape[1:], shape[0])


def to_nchw(values: NDArray[Any]) -> NDArray[Any]:
    """(B, H, W, C) as (B, C, H, W); (B, F) as it is."""
    return values.transpose(0, 3, 1, 2) if values.ndim == 4 else values


def ohwi(weight: NDArray[Any]) -> NDArray[Any]:
    """Convolution weights OIHW as OHWI."""
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1))


def one_hwo(weight: NDArray[Any]) -> NDArray[Any]:
    """Depthwise weights (O, 1, kh, kw) as (1, kh, kw, O)."""
    return np.ascontiguousarray(weight.transpose(1, 2, 3, 0))


def spread_mask(mask: NDArray[Any], channels: int) -> NDArray[Any]:
    """A mask (H, W) as a constant (1, H, W, 1), or (1, H, W, C) for few channels.

    XNNPACK multiplies pixel by pixel where a constant is broadcast over channels. With
    three of them that took a tenth of a network's time (docs/benchmarks.md); values of
    as many channels are multiplied in one go.

    Args:
        mask: The same for all channels.
        channels: Of the tensor that is multiplied.
    """
    spread = mask[None, :, :, None]
    if channels >= WIDE:
        return spread
    return np.ascontiguousarray(np.repeat(spread, channels, axis=3))


def is_depthwise(node: Conv) -> bool:
    """Whether TFLite's depthwise operator can do it: one input channel per group."""
    return node.groups > 1 and node.weight.shape[1] == 1


def is_grid_sum(node: Conv, layer: QuantizedLayer, shape: Shape) -> bool:
    """Whether a depthwise convolution sums each channel's whole grid, all alike.

    A masked mean is one.

    Args:
        node: The convolution.
        layer: Its integers.
        shape: (C, H, W) of its input.
    """
    channels, height, width = shape
    whole = node.window == (height, width) and node.padding == Padding()
    alike = all(
        bool((values == values[:1]).all())
        for values in (layer.weight, layer.bias, layer.weight_scale)
    )
    return (
        is_depthwise(node)
        and len(node.weight) == channels
        and whole
        and alike
        and height * width > FEW_POINTS
    )


@dataclass(frozen=True)
class Borders:
    """How TFLite adds the zeros around an operator's input.

    Attributes:
        same: Whether the operator pads itself (SAME), else VALID.
        explicit: What an operator before it must add; all 0 if none is needed.
    """

    same: bool
    explicit: Padding

    @property
    def kind(self) -> str:
        """The name that TensorFlow and the schema give to it."""
        return "SAME" if self.same else "VALID"


def borders(
    shape: Shape, window: tuple[int, int], stride: int, padding: Padding
) -> Borders:
    """Find the padding mode that samples the same points.

    Args:
        shape: (C, H, W) of the input.
        window: Rows and columns that a window spans.
        stride: In both directions.
        padding: Wanted borders.
    """
    grid = padding.grid(shape[1], shape[2], window, stride)
    rows = _used(shape[1], grid[0], window[0], stride, padding.top)
    columns = _used(shape[2], grid[1], window[1], stride, padding.left)
    used = Padding(padding.top, rows, padding.left, columns)
    if used == Padding():
        return Borders(False, Padding())
    vertical = _same(shape[1], grid[0], window[0], stride)
    horizontal = _same(shape[2], grid[1], window[1], stride)
    covers = grid == (-(-shape[1] // stride), -(-shape[2] // stride))
    if covers and (used.top, used.bottom, used.left, used.right) == (
        *vertical,
        *horizontal,
    ):
        return Borders(True, Padding())
    return Borders(False, used)


def _used(size: int, outputs: int, kernel: int, stride: int, before: int) -> int:
    """Zeros after the image that the last window really reaches."""
    return max(0, (outputs - 1) * stride + kernel - size - before)


def _same(size: int, outputs: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after the image that SAME adds."""
    total = max(0, (outputs - 1) * stride + kernel - size)
    return total // 2, total - total // 2
