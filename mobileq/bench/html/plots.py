"""The plots of measured rows: latency, error round the circle, accuracy by latency.

Figures are as wide as a phone's page, so that their text is as large as the page's.
Float rows are hollow and dashed, INT8 rows full and solid; what shares a colour shares
runtime and kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mobileq.bench.equivariance import AngleError
from mobileq.bench.figures import Row
from mobileq.bench.html.styles import Style, styles
from mobileq.bench.html.svg import INK, inline_svg
from mobileq.bench.html.text import error, milliseconds, percent, shortened
from mobileq.bench.latency import Latency
from mobileq.bench.naming import row_names

WIDTH = 4.4
"""Inches: a phone of 360 pixels shows it almost in its own size."""

LONGEST = 40
"""Characters of a name in a plot; tables have all of them."""

LOGARITHMIC = 12
"""Times further apart than this are shown by their logarithms."""

_ENTRY = 0.205
"""Height of a line of a legend, inches."""

_Named = tuple[str, Row, Style]


def _named(rows: Sequence[Row]) -> list[_Named]:
    """Rows with their names and looks."""
    names = [shortened(name, LONGEST) for name in row_names(rows)]
    return list(zip(names, rows, styles(rows), strict=True))


def latency_plot(rows: Sequence[Row]) -> str | None:
    """Median, 90th and 99th percentile of each row that was timed; None without any."""
    shown = [one for one in _named(rows) if one[1].cost is not None]
    if not shown:
        return None
    told = [
        f"{name}: p50 {milliseconds(row.cost.latency.median_ms)}, "
        f"p90 {milliseconds(row.cost.latency.p90_ms)}, "
        f"p99 {milliseconds(row.cost.latency.p99_ms)} ms"
        for name, row, _ in shown
        if row.cost is not None
    ]
    return inline_svg(
        lambda: _latency(shown),
        name="latency",
        title="Time of one inference",
        description="; ".join(told),
    )


def circle_plot(rows: Sequence[Row]) -> str | None:
    """Error by angle, on polar axes, of the rows that were turned; None without any."""
    shown = [one for one in _named(rows) if one[1].angles]
    if not shown:
        return None
    told = [
        f"{name}: {', '.join(f'{a.degrees:g}° {error(a.mean)}' for a in row.angles)}"
        for name, row, _ in shown
    ]
    return inline_svg(
        lambda: _circle(shown),
        name="circle",
        title="Mean relative error of the logits by angle",
        description="; ".join(told),
    )


def tradeoff_plot(rows: Sequence[Row]) -> str | None:
    """Accuracy by median latency of rows that have both; None without any."""
    shown = [one for one in _named(rows) if one[1].cost and one[1].accuracy]
    if not shown:
        return None
    told = [
        f"{name}: {percent(row.accuracy.accuracy.value)} at "
        f"{milliseconds(row.cost.latency.typical_ms)} ms"
        for name, row, _ in shown
        if row.cost is not None and row.accuracy is not None
    ]
    return inline_svg(
        lambda: _tradeoff(shown),
        name="tradeoff",
        title="Accuracy by latency",
        description="; ".join(told),
    )


def _marks(times: Latency) -> list[float]:
    """p50, p90 and p99, as far as they are known."""
    every = (times.typical_ms, times.p90_ms, times.p99_ms)
    return [time for time in every if time is not None]


def _latency(shown: Sequence[_Named]) -> Figure:
    """A line for each row: a mark at p50, then strokes at p90 and p99."""
    step, below = 0.46, 0.5
    height = below + step * len(shown) + 0.06
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.025, below / height, 0.95, step * len(shown) / height))
    for place, (name, row, style) in enumerate(shown):
        assert row.cost is not None
        times = row.cost.latency
        at = _marks(times)
        axes.plot(at, [place] * len(at), color=style.color, linewidth=1.6)
        for time, size in zip(at[1:], (7, 11), strict=False):
            axes.plot([time], [place], "|", color=style.color, markersize=size)
        axes.plot(at[:1], [place], **_mark(style))
        axes.annotate(
            name,
            (0, place),
            xycoords=("axes fraction", "data"),
            xytext=(1, 9),
            textcoords="offset points",
            fontsize=9.5,
        )
    axes.set_ylim(len(shown) - 0.55, -0.8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    every = [row.cost.latency for _, row, _ in shown if row.cost is not None]
    ends = [time for times in every for time in _marks(times)]
    highest = max(ends)
    _time_axis(axes, min(ends), highest)
    if axes.get_xscale() == "linear":
        axes.set_xlim(0, 1.04 * highest or 1.0)
    axes.set_xlabel("ms; mark p50, short stroke p90, long stroke p99")
    axes.xaxis.label.set_fontsize(9.5)
    axes.grid(axis="x")
    return figure


def _time_axis(axes: Axes, lowest: float, highest: float) -> None:
    """Times along x, by their logarithms where they are far apart."""
    if lowest <= 0 or highest / lowest <= LOGARITHMIC:
        return
    axes.set_xscale("log")
    axes.set_xlim(lowest / 1.25, highest * 1.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _circle(shown: Sequence[_Named]) -> Figure:
    """A closed curve for each row."""
    side, below = WIDTH - 0.9, 0.45
    legend = _legend_height(shown)
    height = side + below + legend + 0.3
    figure = Figure(figsize=(WIDTH, height))
    box = (0.45 / WIDTH, (below + legend) / height, side / WIDTH, side / height)
    # Not add_subplot: its type does not say that the axes are polar.
    axes = PolarAxes(figure, box, theta_offset=0.0, theta_direction=1)
    figure.add_axes(axes)
    for _, row, style in shown:
        angles = _closed(row.angles)
        axes.plot(
            np.deg2rad([angle.degrees for angle in angles]),
            [angle.mean for angle in angles],
            color=style.color,
            linestyle="--" if style.hollow else "-",
            linewidth=1.1 if style.hollow else 1.5,
            **{**_mark(style, line=True), "markersize": 5.5 if style.hollow else 3.2},
            clip_on=False,
            zorder=3,
        )
    means = [angle.mean for _, row, _ in shown for angle in row.angles]
    largest = max((mean for mean in means if math.isfinite(mean)), default=0.0)
    axes.set_rlim(0, 1.05 * largest if largest > 0 else 1.0)
    axes.set_thetagrids(range(0, 360, 30))
    axes.set_rlabel_position(52)
    axes.tick_params(labelsize=9.5)
    axes.grid(alpha=0.2)
    axes.spines["polar"].set_alpha(0.4)
    _add_legend(figure, shown, lines=True)
    return figure


def _closed(angles: Sequence[AngleError]) -> list[AngleError]:
    """By angle; 0 degrees, where nothing is moved, is added, and ends the curve."""
    known = {angle.degrees % 360: angle for angle in angles}
    start = known.setdefault(0.0, AngleError(0.0, 0.0, 0.0, 0.0))
    return [*(known[degrees] for degrees in sorted(known)), start]


def _tradeoff(shown: Sequence[_Named]) -> Figure:
    """A mark with its interval for each row."""
    legend = _legend_height(shown)
    height, below = 3.5 + legend, 0.5 + legend
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes(
        (0.16, below / height, 0.81, (height - below - 0.1) / height)
    )
    times = []
    for _, row, style in shown:
        assert row.cost is not None
        assert row.accuracy is not None
        found, time = row.accuracy.accuracy, row.cost.latency.typical_ms
        times.append(time)
        ends = [100 * end for end in (found.low, found.high)]
        axes.plot([time, time], ends, color=style.color, linewidth=1.0, alpha=0.7)
        axes.plot([time], [100 * found.value], **_mark(style))
    _time_axis(axes, min(times), max(times))
    if axes.get_xscale() == "linear":
        axes.set_xlim(0, 1.1 * max(times) or 1.0)
    axes.margins(y=0.12)
    axes.set_xlabel("median ms for one image (left is faster)")
    axes.set_ylabel("accuracy, %, 95 % interval")
    axes.grid()
    _add_legend(figure, shown, lines=False)
    return figure


def _mark(style: Style, *, line: bool = False) -> dict[str, Any]:
    """What `plot` is told of a mark."""
    own: dict[str, Any] = {
        "marker": style.marker,
        "markersize": 6.5,
        "markerfacecolor": "none" if style.hollow else style.color,
        "markeredgewidth": 1.2,
    }
    if line:
        return own
    return {**own, "color": style.color, "linestyle": "none", "zorder": 3}


def _columns(shown: Sequence[_Named]) -> int:
    """Two where the names are short enough."""
    return 2 if max(len(name) for name, _, _ in shown) <= 22 else 1


def _legend_height(shown: Sequence[_Named]) -> float:
    """Room for the names, inches."""
    return 0.1 + _ENTRY * -(-len(shown) // _columns(shown))


def _add_legend(figure: Figure, shown: Sequence[_Named], *, lines: bool) -> None:
    """Names at the bottom."""
    handles = []
    for _, _, style in shown:
        look = {**_mark(style, line=lines), "color": style.color, "markersize": 5.5}
        if lines:
            look["linestyle"] = "--" if style.hollow else "-"
        handles.append(Line2D([], [], **look))
    made = figure.legend(
        # Labels that begin with an underscore would be left out; names are set below.
        handles,
        [str(place) for place in range(len(shown))],
        loc="lower center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=_columns(shown),
        frameon=False,
        fontsize=9.5,
        handlelength=2.6 if lines else 1.2,
        labelspacing=0.35,
        columnspacing=1.2,
        borderaxespad=0.1,
        labelcolor=INK,
    )
    for text, (name, _, _) in zip(made.get_texts(), shown, strict=True):
        text.set_text(name)
