"""Accuracy by number of training patches, as a table and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from mobileq import __version__
from mobileq.bench.machine import Machine
from mobileq.bench.tables import empty_table, plain
from mobileq.reproduce.data_efficiency import Plan, Run
from mobileq.reproduce.origin import Origin
from mobileq.reproduce.presets import CONVENTIONAL, EQUIVARIANT, NETWORKS

FORMAT = "mobileq-data-efficiency"
VERSION = 1
"""Of the JSON; raised when a key changes its meaning or goes."""


@dataclass(frozen=True)
class Point:
    """All seeds of one network and size.

    Attributes:
        network: Conventional or equivariant.
        size: Number of training patches.
        mean: Mean accuracy, 0 to 1.
        low: Lowest.
        high: Highest.
        mean_auc: Mean area under the ROC curve; NaN where a run has none.
    """

    network: str
    size: int
    mean: float
    low: float
    high: float
    mean_auc: float


@dataclass(frozen=True)
class EfficiencyReport:
    """All figures of one experiment.

    Attributes:
        machine: Where it was measured.
        origin: The data.
        plan: What was trained.
        runs: Every one of its runs.
    """

    machine: Machine
    origin: Origin
    plan: Plan
    runs: tuple[Run, ...]

    @property
    def points(self) -> tuple[Point, ...]:
        """One per network and size, sizes rising."""
        return tuple(
            _point(network, size, self.runs)
            for network in NETWORKS
            for size in self.plan.sizes
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not a finite number is None."""
        values: dict[str, Any] = plain(
            {
                "format": FORMAT,
                "version": VERSION,
                "mobileq": __version__,
                "machine": asdict(self.machine),
                "data": self.origin.to_dict(),
                "plan": {
                    **asdict(self.plan),
                    "steps": self.plan.steps,
                    "epoch_length": self.plan.longest,
                },
                "runs": [asdict(run) for run in self.runs],
                "points": [asdict(point) for point in self.points],
                "notes": list(self.notes()),
            }
        )
        # The seed is that of each run.
        del values["plan"]["config"]["seed"]
        return values

    def table(self) -> Table:
        """A row per size: mean and range of both networks, and the difference."""
        seeds = len(self.plan.seeds)
        title = (
            f"Test accuracy %, mean and range of {seeds} "
            f"seed{'' if seeds == 1 else 's'}: {self.plan.spec.group}, width "
            f"{self.plan.spec.width:g}, and its twin"
        )
        headers = [text for name in NETWORKS for text in (name, "range")]
        table = empty_table(title, (*headers, "points"), first="patches")
        points = {(point.network, point.size): point for point in self.points}
        for size in self.plan.sizes:
            conventional = points[CONVENTIONAL, size]
            equivariant = points[EQUIVARIANT, size]
            table.add_row(
                f"{size:,}",
                f"{100 * conventional.mean:.2f}",
                _range(conventional),
                f"{100 * equivariant.mean:.2f}",
                _range(equivariant),
                f"{100 * (equivariant.mean - conventional.mean):+.2f}",
            )
        return table

    def notes(self) -> tuple[str, ...]:
        """What the figures hold for, a line each; the data's caveat first."""
        plan = self.plan
        return (
            self.origin.caveat,
            f"Every run takes {plan.steps:,} steps of "
            f"{min(plan.config.batch_size, plan.longest)} patches, whatever its size: "
            f"{plan.config.epochs} epochs as long as one pass over {plan.longest:,} "
            f"patches. Smaller parts lie in larger ones and have the same share of "
            f"each class.",
            "Scored in float32 as trained, by the weights of the lowest validation "
            "loss; the validation set is the same for every size.",
        )


def _point(network: str, size: int, runs: Sequence[Run]) -> Point:
    """Mean and range over the seeds."""
    scores = [r.scores for r in runs if (r.network, r.size) == (network, size)]
    found = [one.accuracy for one in scores]
    return Point(
        network,
        size,
        float(np.mean(found)),
        min(found),
        max(found),
        float(np.mean([one.auc for one in scores])),
    )


def _range(point: Point) -> str:
    """Such as `80.10-82.30`."""
    return f"{100 * point.low:.2f}-{100 * point.high:.2f}"
