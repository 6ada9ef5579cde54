"""The figures as tables for a terminal and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from mobileq import __version__
from mobileq.bench.equivariance import AngleError, ExactSymmetry
from mobileq.bench.measure import Row
from mobileq.bench.tables import empty_table, number, plain

FORMAT = "mobileq-bench"
VERSION = 1
"""Of the JSON; raised when a key changes its meaning or goes."""

PACKAGES = ("numpy", "torch", "escnn", "onnxruntime", "ai-edge-litert")
"""Whose versions may change the figures."""

_SHOWN = (15, 30, 45, 60, 75, 90)
"""Angles in the table; the JSON has all of them."""


@dataclass(frozen=True)
class Machine:
    """Where it was measured.

    Attributes:
        processor: Name of the processor.
        cores: Logical cores that this process may use.
        system: Operating system and architecture.
        python: Version.
        packages: Versions of `PACKAGES`, where installed.
    """

    processor: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]

    def __str__(self) -> str:
        """One line."""
        plural = "" if self.cores == 1 else "s"
        return f"{self.processor}, {self.cores} core{plural}, {self.system}"


@dataclass(frozen=True)
class Report:
    """All figures of one benchmark.

    Attributes:
        target: Checkpoint or bundle.
        group: Symmetry group of the network.
        machine: Where it was measured.
        images: Where the turned images come from.
        image_count: How many they are.
        data: Where the labelled images come from; None if accuracy was not measured.
        rows: One per runner.
    """

    target: str
    group: str
    machine: Machine
    images: str
    image_count: int
    data: str | None
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not a finite number is None."""
        header = {"format": FORMAT, "version": VERSION, "mobileq": __version__}
        values: dict[str, Any] = plain({**header, **asdict(self)})
        for entry, row in zip(values["rows"], self.rows, strict=True):
            entry["other_angles"] = plain(asdict(summary(row.angles)))
        return values

    def tables(self) -> list[Table]:
        """Costs; accuracy and errors by angle where they were measured; symmetry."""
        tables = [_costs(self)]
        if self.data is not None:
            tables.append(_accuracy(self, self.data))
        tables.append(_symmetry(self))
        if any(row.angles for row in self.rows):
            tables.append(_by_angle(self))
        return tables


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


def this_machine() -> Machine:
    """The machine and the versions that are running."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    usable = getattr(os, "sched_getaffinity", None)
    return Machine(
        processor=processor_name(),
        cores=len(usable(0)) if usable else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=packages,
    )


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, or at least its architecture.

    Args:
        cpuinfo: Linux's list of processors.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def _costs(report: Report) -> Table:
    """Size and time."""
    headers = ("threads", "KiB", "median ms", "p90 ms", "p99 ms", "runs")
    table = empty_table(f"{report.target}: file size, time of one image", headers)
    for row in report.rows:
        times = row.latency
        table.add_row(
            str(row.label),
            str(row.label.threads),
            f"{row.label.file_bytes / 1024:,.0f}",
            f"{times.median_ms:.3f}",
            f"{times.p90_ms:.3f}",
            f"{times.p99_ms:.3f}",
            f"{times.runs}",
        )
    return table


def _accuracy(report: Report, data: str) -> Table:
    """Scores on labelled images."""
    headers = ("accuracy", "AUC", "loss", "images", "same class as float")
    table = empty_table(f"Accuracy on {data}", headers)
    for row in report.rows:
        if row.scores is not None:
            table.add_row(
                str(row.label),
                f"{row.scores.accuracy:.4f}",
                number(row.scores.auc, ".4f"),
                number(row.scores.loss, ".4f"),
                f"{row.scores.count:,}",
                number(row.agreement, ".1%"),
            )
    return table


def _symmetry(report: Report) -> Table:
    """What turning and mirroring changes."""
    plural = "" if report.image_count == 1 else "s"
    title = (
        f"Symmetry {report.group}: changed outputs and relative errors "
        f"({report.image_count} image{plural}, {report.images})"
    )
    headers = (
        "turned",
        "at most",
        "mirrored",
        "other angles",
        "at most",
        "other class",
    )
    table = empty_table(title, headers)
    table.caption = (
        "turned: by 90, 180, 270 degrees, outputs that differ in any bit and the "
        "largest error; other angles: mean and largest error, share of changed "
        "classes\n"
    )
    table.caption_justify = "left"
    for row in report.rows:
        between = summary(row.angles)
        table.add_row(
            str(row.label),
            _changed(row.rotations),
            number(row.rotations.max_relative, ".1g"),
            _changed(row.mirrors),
            number(between.mean, ".3f"),
            number(between.max, ".3f"),
            number(between.changed_predictions, ".1%"),
        )
    return table


def _by_angle(report: Report) -> Table:
    """Mean error at the angles of the first quadrant."""
    shown = [
        angle.degrees for angle in report.rows[0].angles if angle.degrees in _SHOWN
    ]
    title = "Mean error by angle (at 90 degrees nothing is interpolated)"
    table = empty_table(title, tuple(f"{degrees:g}" for degrees in shown))
    for row in report.rows:
        means = {angle.degrees: angle.mean for angle in row.angles}
        table.add_row(
            str(row.label), *(number(means[degrees], ".3f") for degrees in shown)
        )
    return table


def _changed(symmetry: ExactSymmetry) -> str:
    """Such as `0/192`."""
    return f"{symmetry.changed}/{symmetry.compared}"
