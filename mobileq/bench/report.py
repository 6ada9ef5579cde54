"""The figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from mobileq.bench.equivariance import AngleError, ExactSymmetry
from mobileq.bench.figures import Row
from mobileq.bench.naming import row_names, speed_up
from mobileq.bench.result import Result
from mobileq.bench.statistics import Estimate
from mobileq.bench.tables import empty_table, number

_SHOWN = (15, 30, 45, 60, 75, 90)
"""Angles in the table; the JSON has all of them."""

_OPERATORS = 10
"""Slowest operators of each row that are shown."""

Rows = Sequence[tuple[str, Row]]
"""Rows that were measured, each with its name."""

_KIB, _MIB = 1024, 1024**2


def tables(result: Result) -> list[Table]:
    """Tables of what was measured.

    Args:
        result: Any; what was not measured has no table.
    """
    rows = [
        (name, row)
        for name, row in zip(row_names(result.rows), result.rows, strict=True)
        if row.unavailable is None
    ]
    found: list[Table] = []
    if any(row.cost for _, row in rows):
        found += [_times(result, rows), _sizes(result, rows)]
    if any(row.accuracy for _, row in rows):
        found += _accuracy(rows, str(result.data))
    if any(row.agreement for _, row in rows):
        found.append(_agreement(rows))
    if any(row.rotations for _, row in rows):
        found.append(_symmetry(result, rows))
    if any(row.host for _, row in rows):
        found.append(_host(rows))
    if any(row.angles for _, row in rows):
        found.append(_by_angle(rows))
    found += [_operators(name, row) for name, row in rows if row.operators]
    return found + ([] if result.layers is None else [result.layers.table()])


def lines(result: Result) -> list[str]:
    """What stands below the tables: rows without figures, notes, the machine."""
    absent = [row for row in result.rows if row.unavailable is not None]
    found = [f"{row.label}: {row.unavailable}" for row in absent]
    if result.noise is not None and result.noise.sentence:
        found.append(result.noise.sentence)
    if result.layers is not None:
        found += result.layers.lines()
    for name, row in zip(row_names(result.rows), result.rows, strict=True):
        found += [f"{name}: {note}" for note in row.notes]
    found += [*result.notes, *_devices(result)]
    if any(not row.label.device for row in result.rows) or not result.rows:
        found.append(f"Measured on {result.machine}.")
    return found


def _devices(result: Result) -> list[str]:
    """Phones and boards, a line or two each."""
    found = []
    for device in result.devices:
        found.append(f"{device}, timed by {device.tool}.")
        if device.state:
            found.append(f"{device.name} at the beginning: {device.state}.")
    return found


@dataclass(frozen=True)
class AngleSummary:
    """Error over all angles that are not multiples of 90 degrees; None without any.

    Attributes:
        mean: Mean over angles and images.
        max: Largest.
        changed_predictions: Mean share of changed predictions.
    """

    mean: float | None
    max: float | None
    changed_predictions: float | None


def summary(angles: Sequence[AngleError]) -> AngleSummary:
    """Sum up the angles at which the image had to be resampled."""
    between = [angle for angle in angles if not angle.on_grid]
    if not between:
        return AngleSummary(None, None, None)
    return AngleSummary(
        float(np.mean([angle.mean for angle in between])),
        max(angle.max for angle in between),
        float(np.mean([angle.changed_predictions for angle in between])),
    )


def _times(result: Result, rows: Rows) -> Table:
    """Times of one inference."""
    counts = {row.label.threads for _, row in rows}
    same = counts.pop() if len(counts) == 1 else None
    threads = f", {same} thread{'' if same == 1 else 's'}" if same else ""
    headers = ("p50 ms", "p90 ms", "p99 ms", "mean ms", "runs", "speed-up")
    table = empty_table(f"{result.target}: time of one image{threads}", headers)
    table.caption = (
        "speed-up: of INT8 over float with the same runtime, kernels and threads\n"
    )
    table.caption_justify = "left"
    for name, row in rows:
        if row.cost is not None:
            times = row.cost.latency
            table.add_row(
                name,
                number(times.median_ms, ".3f"),
                number(times.p90_ms, ".3f"),
                number(times.p99_ms, ".3f"),
                f"{times.mean_ms:.3f}",
                f"{times.runs:,}",
                number(speed_up(row, result.rows), ".2f"),
            )
    return table


def _sizes(result: Result, rows: Rows) -> Table:
    """Size, loading, memory, throughput."""
    headers = ("KiB", "load ms", "first ms", "peak MiB", "of it model", "images/s")
    table = empty_table(f"{result.target}: size, loading, memory", headers)
    for name, row in rows:
        if row.cost is not None:
            cost = row.cost
            table.add_row(
                name,
                f"{row.label.file_bytes / _KIB:,.0f}",
                number(cost.load_ms, ".1f"),
                number(cost.first_ms, ".2f"),
                number(_mebibytes(cost.peak_rss_bytes), ",.0f"),
                number(_mebibytes(cost.model_rss_bytes), ",.1f"),
                number(cost.images_per_second, ",.0f"),
            )
    return table


def _mebibytes(size: int | None) -> float | None:
    """Of bytes, where they are known."""
    return None if size is None else size / _MIB


def _accuracy(rows: Rows, data: str) -> list[Table]:
    """Scores on labelled images; in two tables, which fit a terminal."""
    headers = ("accuracy", "AUC", "sensitivity", "specificity")
    first = empty_table(f"Accuracy on {data}", headers)
    first.caption = "Below each figure its 95 % interval.\n"
    first.caption_justify = "left"
    second = empty_table(
        f"F1 and calibration on {data}", ("F1", "calibration error", "loss", "images")
    )
    for name, row in rows:
        found = row.accuracy
        if found is not None:
            first.add_row(
                name,
                _with_interval(found.accuracy),
                _with_interval(found.auc),
                _with_interval(found.sensitivity),
                _with_interval(found.specificity),
            )
            second.add_row(
                name,
                _with_interval(found.f1),
                _with_interval(found.calibration_error),
                number(found.loss, ".4f"),
                f"{found.count:,}",
            )
    return [first, second]


def _agreement(rows: Rows) -> Table:
    """Every network against the float one."""
    headers = ("same class", "accuracy gained", "right alone", "float alone", "p")
    table = empty_table("Against the float network, on the same images", headers)
    table.caption = "p: McNemar's exact test of equal accuracy\n"
    table.caption_justify = "left"
    for name, row in rows:
        found = row.agreement
        if found is not None:
            table.add_row(
                name,
                _with_interval(found.same_class),
                _with_interval(found.accuracy.difference, sign=True),
                f"{found.accuracy.only_first:,}",
                f"{found.accuracy.only_second:,}",
                f"{found.accuracy.p_value:.2g}",
            )
    return table


def _with_interval(estimate: Estimate | None, *, sign: bool = False) -> str:
    """A figure, and its interval in a second line."""
    if estimate is None or not np.isfinite(estimate.value):
        return "-"
    style = "+.4f" if sign else ".4f"
    shown = format(estimate.value, style)
    if not np.isfinite([estimate.low, estimate.high]).all():
        return shown
    short = "+.3f" if sign else ".3f"
    return f"{shown}\n{estimate.low:{short}} {estimate.high:{short}}"


def _symmetry(result: Result, rows: Rows) -> Table:
    """What turning and mirroring changes."""
    plural = "" if result.image_count == 1 else "s"
    title = (
        f"Symmetry {result.group}: changed outputs and relative errors "
        f"({result.image_count} image{plural}, {result.images})"
    )
    headers = ("turned", "at most", "mirrored", "other angles", "other class")
    table = empty_table(title, headers)
    table.caption = (
        "turned: by 90, 180, 270 degrees, outputs that differ in any bit and the "
        "largest error; other angles: mean error, share of changed classes\n"
    )
    table.caption_justify = "left"
    for name, row in rows:
        between, turns = summary(row.angles), row.rotations
        if turns is None:
            continue
        table.add_row(
            name,
            _changed(turns),
            number(turns.max_relative, ".1g"),
            _changed(row.mirrors),
            number(between.mean, ".3f"),
            number(between.changed_predictions, ".1%"),
        )
    return table


def _host(rows: Rows) -> Table:
    """Devices against this machine."""
    headers = ("differing", "at most", "relative", "same class")
    table = empty_table("Outputs of devices against XNNPACK on this machine", headers)
    table.caption = (
        "differing: images whose outputs differ in any bit; at most: in steps of an "
        "integer output; relative: to the largest output\n"
    )
    table.caption_justify = "left"
    for name, row in rows:
        found = row.host
        if found is not None:
            step = "-" if found.largest_step is None else f"{found.largest_step} LSB"
            table.add_row(
                name,
                f"{found.differing}/{found.images}",
                step,
                number(found.largest_relative, ".1g"),
                number(found.same_class, ".1%"),
            )
    return table


def _by_angle(rows: Rows) -> Table:
    """Mean error at the angles of the first quadrant."""
    measured = [(name, row) for name, row in rows if row.angles]
    shown = [
        angle.degrees for angle in measured[0][1].angles if angle.degrees in _SHOWN
    ]
    title = "Mean error by angle (at 90 degrees nothing is interpolated)"
    table = empty_table(title, tuple(f"{degrees:g}" for degrees in shown))
    for name, row in measured:
        means = {angle.degrees: angle.mean for angle in row.angles}
        table.add_row(name, *(number(means[degrees], ".3f") for degrees in shown))
    return table


def _operators(name: str, row: Row) -> Table:
    """The slowest operators of one row."""
    title = f"{name}: slowest of {len(row.operators)} operators"
    table = empty_table(title, ("ms", "share"), first="operator")
    for operator in row.operators[:_OPERATORS]:
        table.add_row(
            f"{operator.kind} {operator.name}"[:60],
            f"{operator.mean_ms:.4f}",
            f"{operator.share:.1%}",
        )
    return table


def _changed(symmetry: ExactSymmetry | None) -> str:
    """Such as `0/192`."""
    return "-" if symmetry is None else f"{symmetry.changed}/{symmetry.compared}"
