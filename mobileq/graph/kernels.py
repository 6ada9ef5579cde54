"""What reads the neighbours of a pixel, in numpy: convolution, windows, borders.

Arrays are (B, C, H, W) of any float type, and results have that type. In float64 with
integers for values every sum is exact, whatever its order: the integer simulator counts
on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.base import NO_PADDING, Padding

Array = NDArray[Any]


def padded(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """The array with borders of `value` around its grid."""
    if padding == NO_PADDING:
        return x
    rows, columns = (padding.top, padding.bottom), (padding.left, padding.right)
    sides = ((0, 0), (0, 0), rows, columns)
    return np.pad(x, sides, constant_values=value)


def convolved(
    x: Array, weight: Array, *, stride: int = 1, groups: int = 1, dilation: int = 1
) -> Array:
    """Cross-correlation without a border.

    Args:
        x: (B, I, H, W).
        weight: (O, I / groups, kh, kw), OIHW.
        stride: In both directions.
        groups: A divisor of I and O.
        dilation: Distance of neighbouring taps in pixels.
    """
    batch, count = len(x), len(weight)
    taps = list(_taps(x, weight.shape[2:], stride, dilation))
    grid = taps[0].shape[2:]
    weight = weight.astype(x.dtype)
    if groups == count and weight.shape[1] == 1 and x.shape[1] == count:
        rows = weight.reshape(count, -1, 1, 1).swapaxes(0, 1)
        total: Array = taps[0] * rows[0]
        for tap, row in zip(taps[1:], rows[1:], strict=True):
            total += tap * row
        return total
    per_tap = weight.reshape(groups, count // groups, weight.shape[1], len(taps))
    out = np.zeros((batch, groups, count // groups, int(np.prod(grid))), x.dtype)
    for index, tap in enumerate(taps):
        columns = np.ascontiguousarray(tap).reshape(batch, groups, weight.shape[1], -1)
        out += np.ascontiguousarray(per_tap[..., index]) @ columns
    return np.asarray(out.reshape(batch, count, *grid))


def window_max(x: Array, kernel: tuple[int, int], stride: int) -> Array:
    """Maximum of each window."""
    taps = _taps(x, kernel, stride)
    largest = next(taps).copy()
    for tap in taps:
        np.maximum(largest, tap, out=largest)
    return largest


def window_mean(x: Array, kernel: tuple[int, int], stride: int) -> Array:
    """Mean of each window."""
    taps = _taps(x, kernel, stride)
    total = next(taps).copy()
    for tap in taps:
        total += tap
    return np.asarray(total / x.dtype.type(kernel[0] * kernel[1]))


def _taps(
    x: Array, kernel: tuple[int, ...], stride: int, dilation: int = 1
) -> Iterator[Array]:
    """Views (B, C, H', W'): what each place of a window sees, row by row."""
    rows, columns = (
        (size - dilation * (taps - 1) - 1) // stride * stride + 1
        for size, taps in zip(x.shape[2:], kernel, strict=True)
    )
    for i in range(0, kernel[0] * dilation, dilation):
        for j in range(0, kernel[1] * dilation, dilation):
            yield x[:, :, i : i + rows : stride, j : j + columns : stride]
