"""The plots of layers: ranges of channels before and after the passes, and SQNR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mobileq.bench.html.layers import ChannelRanges, Layer
from mobileq.bench.html.plots import WIDTH
from mobileq.bench.html.svg import INK, inline_svg
from mobileq.bench.html.text import decimal, shortened
from mobileq.bench.polar import COLORS

LARGEST_DB = 90.0
"""What is larger is in the table only: it would press the others together."""

ROW = 0.175
"""Height of a layer's line, inches."""

_BEFORE, _AFTER = COLORS[1], COLORS[0]
_SERIES = (
    ("its weights", COLORS[4], "s"),
    ("what it makes, noise before it included", COLORS[2], "D"),
    ("logits, if it alone is quantized", COLORS[0], "o"),
)


def widest(layers: Sequence[Layer]) -> Layer | None:
    """The layer whose channels were furthest apart as trained; None without weights."""
    own = [one for one in layers if one.before and one.after and one.kind != "average"]
    return max(
        own, key=lambda one: one.before.spread if one.before else 1, default=None
    )


def ranges_plot(layers: Sequence[Layer]) -> str | None:
    """Ranges of the channels of the widest layer, as trained and after the passes.

    Figure 2 of DFQ (arXiv:1906.04721). None without a layer that has weights.
    """
    layer = widest(layers)
    if layer is None or layer.before is None or layer.after is None:
        return None
    before, after = layer.before, layer.after
    return inline_svg(
        lambda: _ranges(before, after),
        name="ranges",
        title=f"Weight ranges of {layer.name}, before and after the passes",
        description=f"widest channel : narrowest as trained "
        f"{decimal(before.spread, 1)}, after the passes {decimal(after.spread, 1)}",
    )


def sqnr_plot(layers: Sequence[Layer]) -> str | None:
    """Three SQNRs of every layer; None without layers."""
    if not layers:
        return None
    told = [f"{one.name}: {decimal(one.cost_db, 1)} dB" for one in layers]
    return inline_svg(
        lambda: _sqnr(layers),
        name="sqnr",
        title="Signal to quantization noise of each layer",
        description=f"Of the logits, if it alone is quantized: {'; '.join(told)}",
    )


def _ranges(before: ChannelRanges, after: ChannelRanges) -> Figure:
    """Two panels, one above the other, channels in the same order."""
    figure = Figure(figsize=(WIDTH, 4.4))
    order = np.argsort(before.largest, kind="stable")[::-1]
    panels = (
        (0.605, before, "as trained", _BEFORE),
        (0.11, after, "after the passes", _AFTER),
    )
    for bottom, ranges, title, color in panels:
        axes = figure.add_axes((0.155, bottom, 0.815, 0.33))
        _draw_ranges(axes, ranges, order, color)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_title(
            f"widest : narrowest = {decimal(ranges.spread, 1)}",
            loc="right",
            fontsize=10,
        )
        axes.set_ylabel("weights / largest one")
    axes.set_xlabel("output channels, widest as trained first")
    return figure


def _draw_ranges(
    axes: Axes, ranges: ChannelRanges, order: NDArray[np.int64], color: str
) -> None:
    """A bar from the smallest to the largest value of each channel."""
    unit = max((*ranges.largest, 1e-30))
    low, high = np.asarray(ranges.low)[order], np.asarray(ranges.high)[order]
    edges = np.arange(len(low) + 1)
    # One outline: bars of hundreds of channels are narrower than a pixel.
    axes.stairs(high / unit, edges, baseline=low / unit, fill=True, color=color)
    axes.axhline(0, color=INK, linewidth=0.5)
    axes.set_xlim(0, len(low))
    axes.set_ylim(-1.08, 1.08)


def _sqnr(layers: Sequence[Layer]) -> Figure:
    """A line for each layer, its name on the left."""
    names = [shortened(layer.name, 24) for layer in layers]
    above, below = 0.7, 0.5
    height = above + below + ROW * len(layers)
    figure = Figure(figsize=(WIDTH, height))
    left = min(0.06 + 0.0155 * max(map(len, names)), 0.42)
    axes = figure.add_axes(
        (left, below / height, 0.97 - left, ROW * len(layers) / height)
    )
    at = np.arange(len(layers))
    values: tuple[list[float | None], ...] = (
        [layer.weight_sqnr_db for layer in layers],
        [layer.tensor_sqnr_db for layer in layers],
        [layer.cost_db for layer in layers],
    )
    for (label, color, marker), numbers in zip(_SERIES, values, strict=True):
        # Weights that 8 bit hold exactly have no noise, and no place on the scale.
        known = [np.nan if v is None or v > LARGEST_DB else v for v in numbers]
        axes.plot(
            known, at, marker, color=color, markersize=4, label=label, clip_on=False
        )
    axes.set_yticks(at, names, fontsize=8)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.grid(axis="both")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("SQNR, dB (left is worse)")
    figure.legend(
        loc="upper left",
        bbox_to_anchor=(0.02, 1.0),
        frameon=False,
        fontsize=9.5,
        handletextpad=0.2,
        labelspacing=0.25,
        borderaxespad=0.1,
    )
    return figure
