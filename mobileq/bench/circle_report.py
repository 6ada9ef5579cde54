"""The errors round the circle as tables for a terminal and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from mobileq import __version__
from mobileq.bench.circle import Curve, ratio
from mobileq.bench.equivariance import AngleError
from mobileq.bench.layer_report import LayerErrors
from mobileq.bench.machine import Machine
from mobileq.bench.tables import empty_table, number, plain

FORMAT = "mobileq-equivariance"
VERSION = 1
"""Of the JSON; raised when a key changes its meaning or goes."""

SIDE_BY_SIDE = 4
"""Curves in one table, which is 80 columns wide then."""

SMALLEST_SHOWN = 5e-4
"""Smaller errors are shown by their order of magnitude."""


@dataclass(frozen=True)
class CircleReport:
    """All figures of one measurement.

    Attributes:
        machine: Where it was measured.
        images: Where the turned images come from.
        image_count: How many they are.
        curves: One per network, runtime, kernel and precision.
        layers: Of the networks that were measured layer by layer.
        notes: What else there is to say, a line each.
    """

    machine: Machine
    images: str
    image_count: int
    curves: tuple[Curve, ...]
    layers: tuple[LayerErrors, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not a finite number is None."""
        values: dict[str, Any] = plain(
            {
                "format": FORMAT,
                "version": VERSION,
                "mobileq": __version__,
                **asdict(self),
                "layers": [layers.to_dict() for layers in self.layers],
            }
        )
        for entry, curve in zip(values["curves"], self.curves, strict=True):
            found = ratio(curve, self.curves)
            entry["off_grid"] = plain(curve.off_grid)
            entry["off_grid_changed_predictions"] = plain(curve.off_grid_changed)
            entry["of_group"] = plain(curve.of_group)
            entry["ratio_to_float"] = None if found is None else plain(asdict(found))
        return values

    def tables(self) -> list[Table]:
        """A row per angle, a column per curve, a few curves in each table."""
        names = [_folded(name) for name in headers(self.curves)]
        chunks = [
            slice(start, start + SIDE_BY_SIDE)
            for start in range(0, len(self.curves), SIDE_BY_SIDE)
        ]
        tables = [self._table(self.curves[part], names[part]) for part in chunks]
        tables[-1].caption = (
            "not 90: mean over the angles that are no multiples of 90 degrees; group: "
            "over the multiples of 360/N degrees of C_N or D_N; ratio: INT8 to float. "
            "At 0, 90, 180 and 270 degrees nothing is interpolated.\n"
        )
        tables[-1].caption_justify = "left"
        return tables

    def _table(self, curves: Sequence[Curve], names: Sequence[str]) -> Table:
        """The means are below the angles."""
        plural = "" if self.image_count == 1 else "s"
        title = (
            f"Mean relative error of the logits, share of changed classes "
            f"({self.image_count} image{plural}, {self.images})"
        )
        table = empty_table(title, names, first="angle")
        for row, angle in enumerate(curves[0].angles):
            cells = [_cell(curve.angles[row]) for curve in curves]
            table.add_row(f"{angle.degrees:g}", *cells)
        table.add_section()
        of_group = [_error(curve.of_group) for curve in curves]
        table.add_row("not 90", *map(_off_grid, curves))
        table.add_row("ratio", *(self._ratio(curve, "off_grid") for curve in curves))
        table.add_row("group", *of_group)
        table.add_row("ratio", *(self._ratio(curve, "of_group") for curve in curves))
        return table

    def _ratio(self, curve: Curve, name: str) -> str:
        """One of the ratios of INT8 to float."""
        found = ratio(curve, self.curves)
        return number(None if found is None else getattr(found, name), ".3f")


def headers(curves: Sequence[Curve]) -> tuple[str, ...]:
    """Name of each curve: the network, the precision, and the rest where it differs."""
    several = len({(c.label.runtime, c.label.kernel) for c in curves}) > 1
    names = []
    for curve in curves:
        name = f"{short_name(curve.network)} {curve.label.precision}"
        extra = f" {curve.label.runtime} {curve.label.kernel}" if several else ""
        names.append(name + extra)
    return tuple(names)


def short_name(network: str) -> str:
    """A checkpoint's or bundle's name without the directories."""
    return Path(network).name or network


def _folded(name: str) -> str:
    """A header of several lines, so that the column is no wider than its numbers."""
    words = (w.replace("-", "-\n") if len(w) > 12 else w for w in name.split())
    return "\n".join(words)


def _cell(angle: AngleError) -> str:
    """Error, and share of changed classes."""
    return f"{_error(angle.mean)} {angle.changed_predictions:6.1%}"


def _off_grid(curve: Curve) -> str:
    """The same for the mean over angles."""
    if curve.off_grid is None:
        return "-"
    return f"{_error(curve.off_grid)} {curve.off_grid_changed:6.1%}"


def _error(value: float | None) -> str:
    """An error; 0 is exactly 0."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.0e}" if value < SMALLEST_SHOWN else f"{value:.3f}"
