"""What a benchmark found, as plain values: goals and tables, in a JSON file each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from mobileq.atomic import write_atomically
from mobileq.bench.statistics import Estimate
from mobileq.errors import InputError

FORMAT = "mobileq-benchmark"
VERSION = 1


@dataclass(frozen=True)
class Goal:
    """A figure that is held against a bound.

    Attributes:
        what: What was measured.
        value: The figure.
        low: Lower end of its 95 % interval; equal to `value` where nothing scatters.
        high: Upper end.
        bound: What it should not go beyond; None for a figure without a goal.
        at_least: Whether the bound is a lower one.
        unit: Of all of them; empty for ratios.
    """

    what: str
    value: float
    low: float
    high: float
    bound: float | None
    at_least: bool = False
    unit: str = ""

    @classmethod
    def of(
        cls, what: str, found: Estimate, bound: float | None, *, at_least: bool = False
    ) -> Self:
        """A ratio with its interval."""
        return cls(what, found.value, found.low, found.high, bound, at_least)

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or which of them if the interval holds the bound."""
        if self.bound is None:
            return ""
        good = self.value >= self.bound if self.at_least else self.value <= self.bound
        word = "met" if good else "missed"
        sure = not self.low < self.bound < self.high
        return word if sure else f"{word}, within the interval"

    def cells(self) -> tuple[str, ...]:
        """For a table: what, figure, interval, goal, verdict."""
        unit = f" {self.unit}" if self.unit else ""
        interval = "" if self.low == self.high else f"{self.low:.3g} to {self.high:.3g}"
        sign = "at least" if self.at_least else "at most"
        return (
            self.what,
            f"{self.value:.3g}{unit}",
            interval,
            "" if self.bound is None else f"{sign} {self.bound:g}{unit}",
            self.verdict,
        )


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: Above it.
        header: One cell per column.
        rows: As many cells in each.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Check.

        Raises:
            InputError: a row is longer or shorter than the header.
        """
        for row in self.rows:
            if len(row) != len(self.header):
                raise InputError(
                    f"table {self.title!r}: a row of {len(row)} cells; wanted "
                    f"{len(self.header)}"
                )

    def markdown(self) -> str:
        """The table alone."""
        lines = [self.header, tuple("---" for _ in self.header), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Result:
    """What one script found.

    Attributes:
        name: Of the script.
        goals: Figures with bounds.
        grids: Everything else.
        notes: What has to be said with them, a line each.
        machine: Where it was measured: processor, cores, versions, load.
    """

    name: str
    goals: tuple[Goal, ...]
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]
    machine: Mapping[str, Any]

    def markdown(self) -> str:
        """All of it, for a terminal or a document."""
        parts = [f"**{grid.title}**\n\n{grid.markdown()}" for grid in self.grids]
        if self.goals:
            parts.insert(0, goals_markdown(self.goals))
        parts += [f"- {note}" for note in self.notes]
        return "\n\n".join(parts)

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        values = {"format": FORMAT, "version": VERSION, **asdict(self)}
        text = json.dumps(values, indent=1, allow_nan=False) + "\n"
        write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            InputError: it is no such file.
        """
        try:
            found = json.loads(path.read_bytes())
            if (found["format"], found["version"]) != (FORMAT, VERSION):
                raise ValueError(f"format {found['format']} {found['version']}")
            goals = tuple(Goal(**goal) for goal in found["goals"])
            if not all(math.isfinite(goal.value) for goal in goals):
                raise ValueError("a figure is not finite")
            grids = tuple(
                Grid(g["title"], tuple(g["header"]), tuple(map(tuple, g["rows"])))
                for g in found["grids"]
            )
            notes, machine = tuple(found["notes"]), dict(found["machine"])
            return cls(found["name"], goals, grids, notes, machine)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: {error}; wanted the result of a benchmark (run it again)"
            ) from error


def goals_markdown(goals: Sequence[Goal]) -> str:
    """All goals in one table."""
    header = ("what", "found", "95 % interval", "goal", "verdict")
    return Grid("goals", header, tuple(goal.cells() for goal in goals)).markdown()
