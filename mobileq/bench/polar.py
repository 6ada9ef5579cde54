"""The errors round the circle as a picture: angle round the centre, error outward.

Float networks are dashed lines, INT8 networks are solid ones; every network has a
colour and a mark of its own, so that the picture can be read in black and white.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from mobileq.bench.circle import Curve
from mobileq.bench.circle_report import CircleReport, headers
from mobileq.errors import InputError

FORMATS = ("svg", "png", "pdf")

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which the colour-blind can tell apart."""

MARKERS = ("o", "s", "^", "D", "v", "P")
GREY = "#555555"

# A date or a version would make equal pictures differ.
_NOBODY = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


def format_of(path: Path) -> str:
    """The picture format that a file's name asks for.

    Raises:
        InputError: none of `FORMATS`.
    """
    found = path.suffix.lower().lstrip(".")
    if found not in FORMATS:
        raise InputError(
            f"--plot is {path}; wanted a name that ends in "
            f"{', '.join(f'.{name}' for name in FORMATS)}"
        )
    return found


def polar_plot(report: CircleReport, kind: str) -> bytes:
    """Draw a report; equal ones give equal bytes.

    Args:
        report: With at least one curve.
        kind: One of `FORMATS`.
    """
    # The user's own settings of matplotlib are left out, and are as before afterwards.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {"svg.hashsalt": "mobileq", "svg.fonttype": "none", "font.size": 10}
        )
        figure = _figure(report)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=150, metadata=_NOBODY[kind])
    return file.getvalue()


def _figure(report: CircleReport) -> Figure:
    """Title, axes, curves, legend."""
    rows = -(-len(report.curves) // 2)
    figure = Figure(figsize=(7.2, 7.7 + 0.22 * rows))
    height = figure.get_figheight()
    bottom = (0.55 + 0.22 * rows) / height
    # Not add_subplot: its type does not say that the axes are polar.
    box = (0.11, bottom, 0.78, 5.62 / height)
    axes = PolarAxes(figure, box, theta_offset=0.0, theta_direction=1)
    figure.add_axes(axes)
    plural = "" if report.image_count == 1 else "s"
    figure.text(
        0.03,
        1 - 0.18 / height,
        "What turning the image does to the logits",
        fontsize=15,
        fontweight="bold",
        va="top",
    )
    figure.text(
        0.03,
        1 - 0.55 / height,
        f"Mean of |f(turned x) - f(x)| / |f(x)| by angle; {report.image_count} "
        f"image{plural}, {report.images}.\n"
        f"At 0°, 90°, 180°, 270° no pixel is interpolated.",
        color=GREY,
        va="top",
        linespacing=1.35,
    )
    _draw(axes, report.curves)
    _add_legend(axes, report.curves)
    return figure


def _add_legend(axes: PolarAxes, curves: Sequence[Curve]) -> None:
    """Name the curves, below the axes."""
    drawn, names = axes.get_legend_handles_labels()
    # Columns are filled first: one of float networks, one of INT8 networks.
    order = sorted(range(len(drawn)), key=lambda i: curves[i].label.precision == "int8")
    axes.legend(
        [drawn[i] for i in order],
        [names[i] for i in order],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.075),
        ncols=2,
        frameon=False,
        handlelength=3.4,
    )


def _draw(axes: PolarAxes, curves: Sequence[Curve]) -> None:
    """A closed curve for each network and precision."""
    networks = list(dict.fromkeys(curve.network for curve in curves))
    for curve, name in zip(curves, headers(curves), strict=True):
        number = networks.index(curve.network)
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        angles = [*curve.angles, curve.angles[0]]
        at = np.deg2rad([angle.degrees for angle in angles])
        errors = [angle.mean for angle in angles]
        is_float = curve.label.precision == "float"
        axes.plot(
            at,
            errors,
            color=color,
            label=name,
            linestyle="--" if is_float else "-",
            linewidth=1.3 if is_float else 1.8,
            marker=marker,
            # Hollow over full: where both agree, both can still be seen.
            markersize=7 if is_float else 4,
            markerfacecolor="none" if is_float else color,
            markeredgewidth=1.0,
            clip_on=False,
            zorder=3,
        )
    largest = max(angle.mean for curve in curves for angle in curve.angles)
    axes.set_rlim(0, 1.05 * largest if largest > 0 else 1.0)
    axes.set_thetagrids(range(0, 360, 30))
    axes.set_rlabel_position(52)
    axes.grid(color="#D0D0D0", linewidth=0.7)
    axes.spines["polar"].set_color("#B0B0B0")
