"""Upsampling as repeated pixels and, where it is bilinear, a convolution after them.

With u the input, every pixel of which is repeated f times in both directions,

    bilinear, align_corners=False    u, its border repeated (f - 1)/2 or f/2 times
                                     more, under a tent: f ones for odd f; for even f
                                     one half, f - 1 ones, one half; divided by f
    bilinear, align_corners=True     u under f ones, divided by f, without padding;
                                     from n to (n - 1) f + 1 points

in each direction. Both are linear interpolation: while the window moves by one point, a
share of 1 / f of it moves from one pixel to the next. Integer kernels that interpolate
round on the way, and differently in every runtime; copies and convolutions are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mobileq.collapse.site import Lowered, Site
from mobileq.errors import UnsupportedError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.nodes import Conv, Upsample


def upsampled(
    site: Site, size: Sequence[int], mode: str, *, align_corners: bool
) -> Lowered:
    """Nodes for `F.interpolate`.

    Args:
        site: Where it is called.
        size: (rows, columns) of the result.
        mode: As torch calls it.
        align_corners: Whether the outermost pixels stay where they are.

    Raises:
        UnsupportedError: another mode, or a factor that is no whole number.
    """
    if mode not in ("nearest", "bilinear"):
        raise UnsupportedError(
            f"{site.name}: interpolates with mode {mode!r}; wanted 'nearest' or "
            f"'bilinear'"
        )
    corners = align_corners and mode == "bilinear"
    factor = _factor(site, size, corners=corners)
    if factor == 1 or mode == "nearest":
        return Upsample(site.name, site.inputs, factor)
    ones = np.ones(factor)
    edge = 0 if corners else factor // 2
    if not corners and factor % 2 == 0:
        ones = np.concatenate([[0.5], np.ones(factor - 1), [0.5]])
    window = np.outer(ones, ones) / factor**2
    larger = Upsample(f"{site.name}.repeated", site.inputs, factor, edge)
    channels = site.shape[0]
    smooth = Conv(
        site.name,
        (larger.name,),
        np.broadcast_to(window, (channels, 1, *window.shape)),
        np.zeros(channels),
        site.fields or trivial_fields(channels),
        groups=channels,
    )
    return larger, smooth


def _factor(site: Site, size: Sequence[int], *, corners: bool) -> int:
    """How often each pixel is repeated.

    Raises:
        UnsupportedError: not a whole number of times, or not as often in both
            directions.
    """
    less = 1 if corners else 0
    pairs = [
        (have - less, want - less)
        for have, want in zip(site.shape[1:], size, strict=True)
    ]
    factors = {want // have if have and want % have == 0 else 0 for have, want in pairs}
    if len(factors) != 1 or 0 in factors:
        rule = "(size - 1) a multiple of" if corners else "a multiple of"
        raise UnsupportedError(
            f"{site.name}: interpolates {site.shape[1:]} to {tuple(size)} with "
            f"align_corners={corners}; wanted {rule} the input's, the same in both "
            f"directions"
        )
    return factors.pop()
