"""Both reproductions as pictures; what they were measured on stands below the title."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mobileq.bench.polar import COLORS, GREY
from mobileq.reproduce.efficiency_report import EfficiencyReport
from mobileq.reproduce.presets import CONVENTIONAL, EQUIVARIANT, INT8, NETWORKS, TABLE1
from mobileq.reproduce.table1_report import Table1Report

COLOR = {EQUIVARIANT: COLORS[0], CONVENTIONAL: COLORS[1]}
MARKER = {EQUIVARIANT: "o", CONVENTIONAL: "s"}

# A date or a version would make equal pictures differ.
_NOBODY = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


def table1_plot(report: Table1Report, kind: str) -> bytes:
    """Draw the accuracies of the four files; equal reports give equal bytes.

    Args:
        report: All figures.
        kind: One of `mobileq.bench.polar.FORMATS`.
    """
    return _rendered(lambda: _table1(report), kind)


def efficiency_plot(report: EfficiencyReport, kind: str) -> bytes:
    """Draw accuracy against training patches; equal reports give equal bytes.

    Args:
        report: All figures.
        kind: One of `mobileq.bench.polar.FORMATS`.
    """
    return _rendered(lambda: _efficiency(report), kind)


def _rendered(draw: Callable[[], Figure], kind: str) -> bytes:
    """The bytes of a figure."""
    # The user's own settings of matplotlib are left out, and are as before afterwards.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "svg.hashsalt": "mobileq",
                "svg.fonttype": "none",
                "font.size": 10,
                "axes.spines.top": False,
                "axes.spines.right": False,
            }
        )
        file = io.BytesIO()
        draw().savefig(file, format=kind, dpi=150, metadata=_NOBODY[kind])
    return file.getvalue()


def _frame(title: str, *lines: str) -> tuple[Figure, Axes]:
    """A figure with a title and what it holds for, and its axes."""
    figure = Figure(figsize=(7.2, 5.4))
    axes = figure.add_axes((0.105, 0.115, 0.865, 0.665))
    figure.text(0.03, 0.965, title, fontsize=14, fontweight="bold", va="top")
    figure.text(0.03, 0.905, "\n".join(lines), color=GREY, va="top", linespacing=1.35)
    axes.grid(axis="y", color="#D8D8D8", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_ylabel("test accuracy, %")
    return figure, axes


def _table1(report: Table1Report) -> Figure:
    """Full marks with intervals, and the paper's hollow ones beside them."""
    figure, axes = _frame(
        "Accuracy of the exported files",
        f"{report.files[0].label.runtime}, {report.files[0].count:,} test patches, "
        f"95 % intervals",
        report.origin.short,
    )
    names = []
    for place, file in enumerate(report.files):
        color, marker = COLOR[file.network], MARKER[file.network]
        found = file.accuracy
        below, above = found.value - found.low, found.high - found.value
        axes.errorbar(
            [place],
            [100 * found.value],
            yerr=[[100 * below], [100 * above]],
            color=color,
            marker=marker,
            markersize=8,
            capsize=4,
        )
        paper = 100 * TABLE1[file.network, file.label.precision]
        axes.plot(
            [place + 0.22],
            [paper],
            color=color,
            marker=marker,
            markersize=8,
            markerfacecolor="none",
        )
        _write(axes, place - 0.09, 100 * found.value, "right")
        _write(axes, place + 0.31, paper, "left", GREY)
        names.append(f"{file.network}\n{file.label.precision.replace(INT8, 'INT8')}")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.35)
    axes.margins(y=0.12)
    for face, name in (("black", "measured here"), ("none", "the paper")):
        axes.plot([], [], "o", color="black", markerfacecolor=face, label=name)
    axes.legend(loc="best", frameon=False)
    return figure


def _write(axes: Axes, x: float, y: float, side: str, color: str = "black") -> None:
    """A number beside its mark."""
    axes.text(x, y, f"{y:.2f}", ha=side, va="center", color=color, fontsize=9)


def _efficiency(report: EfficiencyReport) -> Figure:
    """Means as lines, all seeds as points, their range as bands; log x."""
    plan = report.plan
    seeds = len(plan.seeds)
    figure, axes = _frame(
        "Accuracy by number of training patches",
        f"{plan.spec.group} and its twin, width {plan.spec.width:g}; {plan.steps:,} "
        f"steps at every size; mean and range of {seeds} "
        f"seed{'' if seeds == 1 else 's'}",
        report.origin.short,
    )
    _curves(axes, report)
    sizes = sorted({point.size for point in report.points})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel("training patches")
    axes.legend(loc="best", frameon=False)
    return figure


def _curves(axes: Axes, report: EfficiencyReport) -> None:
    """One for each network."""
    for network in NETWORKS:
        points = [point for point in report.points if point.network == network]
        sizes = [point.size for point in points]
        color, marker = COLOR[network], MARKER[network]
        axes.fill_between(
            sizes,
            [100 * point.low for point in points],
            [100 * point.high for point in points],
            color=color,
            alpha=0.15,
            linewidth=0,
        )
        axes.plot(
            sizes,
            [100 * point.mean for point in points],
            color=color,
            marker=marker,
            label=network,
        )
        runs = [run for run in report.runs if run.network == network]
        axes.plot(
            [run.size for run in runs],
            [100 * run.scores.accuracy for run in runs],
            color=color,
            marker=marker,
            markersize=3,
            linestyle="none",
            alpha=0.6,
        )
