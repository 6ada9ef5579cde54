"""The picture of an explanation: ranges before and after equalization, and costs.

The upper left is Figure 2 of DFQ (arXiv:1906.04721) for the layer whose channels were
furthest apart; below it the same for the layer's tensor, which has one scale for all
its channels. On the right is every layer of the network with its three SQNRs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from mobileq.deploy.explain.report import ChannelRanges, Explanation, LayerReport

BEFORE, AFTER, WEIGHTS, TENSOR, COST = (
    "#D55E00",
    "#0072B2",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
"""Okabe and Ito's colours, which the colour-blind can tell apart."""

GREY = "#777777"
LARGEST_DB = 90.0
"""End of the scale; what is larger is drawn there."""

ROW = 0.165
"""Height of a layer's line, inches."""


def picture(explanation: Explanation) -> bytes:
    """Draw an explanation as SVG; equal ones give equal bytes."""
    # The user's own settings of matplotlib are left out, and are as before afterwards.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.hashsalt": "mobileq",
                "svg.fonttype": "none",
                "font.size": 9,
                "axes.titlesize": 9.5,
                "axes.spines.top": False,
                "axes.spines.right": False,
            }
        )
        figure = _figure(explanation)
        file = io.BytesIO()
        # A date or a version would make equal pictures differ.
        nobody = {"Date": None, "Creator": None}
        figure.savefig(file, format="svg", metadata=nobody)
    return file.getvalue()


def _figure(explanation: Explanation) -> Figure:
    """All panels."""
    height = max(7.0, 2.0 + ROW * len(explanation.layers))
    figure = Figure(figsize=(14.5, height))
    top = 1 - 1.3 / height
    grid = GridSpec(
        2,
        3,
        figure=figure,
        width_ratios=(1, 1, 1.35),
        left=0.055,
        right=0.985,
        top=top,
        bottom=0.75 / height,
        wspace=0.1,
        hspace=0.28,
    )
    figure.text(
        0.012,
        1 - 0.2 / height,
        f"{explanation.network}: INT8 by recipe {explanation.recipe}",
        fontsize=15,
        fontweight="bold",
        va="top",
    )
    passes = ", ".join(explanation.passes) or "none"
    figure.text(
        0.012,
        1 - 0.5 / height,
        f"Passes: {passes}.  Logits: {explanation.logits_db:.1f} dB with all layers "
        f"quantized, on {explanation.images} images.",
        color=GREY,
        va="top",
    )
    widest = explanation.widest
    if widest is not None:
        _draw_channels(figure, grid, widest)
    _draw_costs(figure, grid, explanation)
    return figure


def _draw_channels(figure: Figure, grid: GridSpec, layer: LayerReport) -> None:
    """The four panels of one layer."""
    factors = f"factors {layer.factors[0]:.2g} to {layer.factors[1]:.2g}"
    rows = (
        (
            "weights",
            "its weights, whose channels were furthest apart",
            layer.weights_before,
            layer.weights_after,
        ),
        (
            "tensor",
            f"what it makes ({factors})",
            layer.tensor_before,
            layer.tensor_after,
        ),
    )
    for row, (what, title, before, after) in enumerate(rows):
        if before is None or after is None:
            continue
        order = np.argsort(before.largest, kind="stable")[::-1]
        left = figure.add_subplot(grid[row, 0])
        right = figure.add_subplot(grid[row, 1], sharey=left)
        right.tick_params(labelleft=False)
        _draw_ranges(left, before, order, BEFORE)
        _draw_ranges(right, after, order, AFTER)
        left.set_title("as trained", loc="left")
        right.set_title("after the passes", loc="left")
        left.set_ylabel(f"{what} / largest one")
        place = left.get_position()
        figure.text(
            place.x0,
            place.y1 + 0.3 / figure.get_figheight(),
            f"{layer.name}: {title}",
            fontsize=10.5,
        )


def _draw_ranges(
    axes: Axes, ranges: ChannelRanges, order: NDArray[np.int64], color: str
) -> None:
    """A bar from the smallest to the largest value of each channel."""
    unit = max(float(ranges.largest.max()), 1e-30)
    low, high = np.asarray(ranges.low)[order], np.asarray(ranges.high)[order]
    edges = np.arange(len(low) + 1)
    # One outline: bars of hundreds of channels are narrower than a pixel.
    axes.stairs(high / unit, edges, baseline=low / unit, fill=True, color=color)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_xlim(0, len(low))
    axes.set_ylim(-0.04 if low.min() >= 0 else -1.08, 1.08)
    axes.set_xlabel("output channels, widest as trained first")
    digits = 1 if ranges.spread < 100 else 0
    spread = f"widest : narrowest = {ranges.spread:,.{digits}f}"
    axes.set_title(spread, loc="right", color=GREY)


def _draw_costs(figure: Figure, grid: GridSpec, explanation: Explanation) -> None:
    """All layers, a line each, with three SQNRs."""
    axes = figure.add_subplot(grid[:, 2])
    # Room for the names, which are as long as the network's author made them.
    longest = max(len(layer.name) for layer in explanation.layers)
    place = axes.get_position()
    room = min(0.0047 * longest + 0.012, 0.55 * place.width)
    axes.set_position((place.x0 + room, place.y0, place.width - room, place.height))
    layers = explanation.layers
    at = np.arange(len(layers))
    series = (
        ("its weights", [x.weight_sqnr_db for x in layers], WEIGHTS, "s"),
        ("its tensor, noise before it included", _tensor(layers), TENSOR, "D"),
        ("logits, if it alone is quantized", [x.cost_db for x in layers], COST, "o"),
    )
    for label, values, color, marker in series:
        numbers = np.array([np.nan if v is None else v for v in values])
        # Weights that 8 bit hold exactly have no noise, and no place on a useful scale.
        numbers = np.minimum(numbers, LARGEST_DB)
        axes.plot(
            numbers, at, linestyle="", marker=marker, markersize=4, color=color,
            label=label,
        )  # fmt: skip
    worst = layers.index(explanation.worst)
    axes.axhspan(worst - 0.5, worst + 0.5, color=BEFORE, alpha=0.25, linewidth=0)
    axes.set_yticks(at, [layer.name for layer in layers], fontsize=7)
    axes.get_yticklabels()[worst].set_fontweight("bold")
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("SQNR, dB (left is worse)")
    axes.set_title(
        f"Most costly: {explanation.worst.name}, {explanation.worst.cost_db:.1f} dB",
        loc="left",
        pad=44,
        fontsize=10.5,
    )
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), frameon=False, fontsize=8,
        handletextpad=0.2, borderpad=0.2, labelspacing=0.2,
    )  # fmt: skip


def _tensor(layers: Sequence[LayerReport]) -> list[float | None]:
    """SQNRs of the layers' tensors."""
    return [layer.tensor_sqnr_db for layer in layers]
