"""Table 1 as tables for a terminal and as JSON for programs, next to the paper's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from mobileq import __version__
from mobileq.bench.machine import Machine
from mobileq.bench.statistics import LEVEL, Estimate
from mobileq.bench.tables import empty_table, number, plain
from mobileq.checkpoint import Checkpoint, resolve
from mobileq.models.spec import ModelSpec
from mobileq.reproduce.origin import Origin
from mobileq.reproduce.presets import CONVENTIONAL, EQUIVARIANT, PAPER, PRESETS, TABLE1
from mobileq.reproduce.table1 import FileFigures, Pair
from mobileq.train.cost import network_cost

FORMAT = "mobileq-table1"
VERSION = 1
"""Of the JSON; raised when a key changes its meaning or goes."""


@dataclass(frozen=True)
class NetworkFigures:
    """A network and what it costs.

    Attributes:
        name: Conventional or equivariant.
        given: Whether its checkpoint was given, not trained here.
        source: Its checkpoint.
        sha256: Hash of that file.
        file_bytes: Size of that file, in bytes.
        spec: Architecture.
        weights: Numbers that training changes.
        multiply_adds: For one image.
        training: How it was trained, as its checkpoint says; plain values.
    """

    name: str
    given: bool
    source: str
    sha256: str
    file_bytes: int
    spec: ModelSpec
    weights: int
    multiply_adds: int
    training: dict[str, Any]

    @classmethod
    def of(cls, name: str, checkpoint: Checkpoint, *, given: bool) -> NetworkFigures:
        """Describe a checkpoint that was read from a file."""
        cost = network_cost(checkpoint.spec)
        return cls(
            name=name,
            given=given,
            source=checkpoint.source,
            sha256=checkpoint.sha256,
            file_bytes=resolve(checkpoint.source).stat().st_size,
            spec=checkpoint.spec,
            weights=cost.parameters,
            multiply_adds=cost.multiply_adds,
            training=dict(checkpoint.training),
        )


@dataclass(frozen=True)
class Table1Report:
    """All figures of one reproduction.

    Attributes:
        machine: Where it was measured.
        origin: The data.
        preset: How the networks were trained; None if both were given.
        networks: Conventional and equivariant.
        files: Their exported files, float and INT8.
        pairs: Comparisons of the files.
    """

    machine: Machine
    origin: Origin
    preset: str | None
    networks: tuple[NetworkFigures, ...]
    files: tuple[FileFigures, ...]
    pairs: tuple[Pair, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not a finite number is None."""
        values: dict[str, Any] = plain(
            {
                "format": FORMAT,
                "version": VERSION,
                "mobileq": __version__,
                "machine": asdict(self.machine),
                "data": self.origin.to_dict(),
                "level": LEVEL,
                "preset": self.preset,
                "networks": [asdict(network) for network in self.networks],
                "files": [asdict(file) for file in self.files],
                "comparisons": [asdict(pair) for pair in self.pairs],
                "notes": list(self.notes()),
            }
        )
        for entry, file in zip(values["files"], self.files, strict=True):
            entry["paper_accuracy"] = TABLE1[file.network, file.label.precision]
        for entry, pair in zip(values["comparisons"], self.pairs, strict=True):
            entry["paper_difference"] = paper_difference(pair)
        return values

    def tables(self) -> list[Table]:
        """Accuracy beside the paper's, comparisons, files, costs."""
        return [self._accuracy(), self._comparisons(), self._files(), self._costs()]

    def notes(self) -> tuple[str, ...]:
        """What the figures hold for, a line each; the data's caveat first."""
        lines = [self.origin.caveat]
        given = [one for one in self.networks if one.given]
        if given:
            listed = ", ".join(f"{one.name} ({one.source})" for one in given)
            lines.append(f"Given as a checkpoint, not trained here: {listed}.")
        if self.preset not in (None, PAPER):
            wanted = PRESETS[PAPER]
            lines.append(
                f"Trained by the preset {self.preset!r}, not by {PAPER!r} "
                f"({wanted.config.epochs} epochs, {wanted.spec.group}, width "
                f"{wanted.spec.width:g}, {wanted.spec.reduced_strides} strides "
                f"reduced)."
            )
        specs = {network.name: network.spec for network in self.networks}
        if specs[EQUIVARIANT].twin() != specs[CONVENTIONAL]:
            lines.append(
                "The networks are no twins: they differ in more than the symmetry "
                "(width, channels or strides)."
            )
        lines.append(
            "Intervals of 95 %: Wilson for the accuracy, DeLong for the AUC, Bonett "
            "and Price for paired differences; p by McNemar's exact test. They take "
            "patches for independent and say nothing about another seed."
        )
        return tuple(lines)

    def _accuracy(self) -> Table:
        """One row per file."""
        table = empty_table(
            f"Exported files on {self.files[0].count:,} test patches of "
            f"{self.origin.source}",
            ("accuracy %", "95 %", "AUC", "95 %", "paper %"),
            first="file",
        )
        for file in self.files:
            table.add_row(
                f"{file.network} {file.label.precision}",
                number(100 * file.accuracy.value, ".2f"),
                _ends(file.accuracy, 100, ".2f"),
                number(file.auc.value, ".4f"),
                _ends(file.auc, 1, ".3f"),
                f"{100 * TABLE1[file.network, file.label.precision]:.2f}",
            )
        return table

    def _comparisons(self) -> Table:
        """One row per pair."""
        table = empty_table(
            "Points of accuracy, and patches that only one of both files gets right",
            ("points", "95 %", "won", "lost", "p", "paper"),
            first="effect of",
        )
        for pair in self.pairs:
            found = pair.result
            table.add_row(
                _effect(pair),
                f"{100 * found.difference.value:+.2f}",
                _ends(found.difference, 100, "+.2f", " to "),
                f"{found.only_first:,}",
                f"{found.only_second:,}",
                f"{found.p_value:.2g}",
                f"{100 * paper_difference(pair):+.2f}",
            )
        return table

    def _files(self) -> Table:
        """Size of each, and what holds it to the others."""
        headers = ("KiB", "loss", "same class as float", "proven group")
        label = self.files[0].label
        title = f"Files, run by {label.runtime} {label.kernel}"
        table = empty_table(title, headers, first="file")
        for file in self.files:
            table.add_row(
                f"{file.network} {file.label.precision}",
                f"{file.label.file_bytes / 1024:,.0f}",
                number(file.loss, ".4f"),
                number(file.agreement, ".2%"),
                file.certificate or "-",
            )
        return table

    def _costs(self) -> Table:
        """One row per network."""
        headers = ("group", "weights", "M multiply-adds", "KiB", "best epoch")
        table = empty_table("Networks and their checkpoints", headers)
        for one in self.networks:
            table.add_row(
                one.name,
                "-" if one.spec.group == CONVENTIONAL else one.spec.group,
                f"{one.weights:,}",
                f"{one.multiply_adds / 1e6:,.1f}",
                f"{one.file_bytes / 1024:,.0f}",
                str(one.training.get("epoch", "-")),
            )
        return table


def paper_difference(pair: Pair) -> float:
    """The same difference in the paper's table; rounded as its figures are."""
    return round(TABLE1[pair.first] - TABLE1[pair.second], 4)


def _effect(pair: Pair) -> str:
    """What the files of a pair differ in, and what they have in common."""
    if pair.first[0] == pair.second[0]:
        return f"INT8, {pair.first[0]}"
    return f"equivariance, {pair.first[1]}"


def _ends(estimate: Estimate, factor: float, style: str, dash: str = "-") -> str:
    """Such as `85.67-86.42`; a dash where there is no interval."""
    if not np.isfinite(estimate.low):
        return "-"
    return f"{factor * estimate.low:{style}}{dash}{factor * estimate.high:{style}}"
