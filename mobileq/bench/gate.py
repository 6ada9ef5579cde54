"""Conditions that make a benchmark fail, for continuous integration.

    accuracy<-0.2     0.2 percentage points below the baseline, or more
    p50>+10%          more than a tenth above the baseline
    changed>0         any output changed by a quarter turn, whatever the baseline

A value with a sign is a difference to the baseline's row, one without is a limit on
the figure itself. `METRICS` has the names and their units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mobileq.bench.equivariance import ExactSymmetry
from mobileq.bench.figures import Accuracy, Cost, Row
from mobileq.bench.naming import row_names, speed_up
from mobileq.bench.statistics import Estimate
from mobileq.errors import InputError

POINTS = "percentage points"
_KIB, _MIB = 1024, 1024**2

Figure = Callable[[Row, Sequence[Row]], float | None]
"""A figure of a row among those that were measured together; None without."""


class Metric(NamedTuple):
    """What a condition may be about: unit (empty for counts), figure, what it is."""

    unit: str
    figure: Figure
    meaning: str


def _scored(take: Callable[[Accuracy], Estimate | None]) -> Figure:
    """A share of the accuracy, in percent."""

    def figure(row: Row, rows: Sequence[Row]) -> float | None:
        found = None if row.accuracy is None else take(row.accuracy)
        return None if found is None else 100 * found.value

    return figure


def _cost(take: Callable[[Cost], float | None]) -> Figure:
    """A part of the cost."""
    return lambda row, rows: None if row.cost is None else take(row.cost)


def _changed(take: Callable[[Row], ExactSymmetry | None]) -> Figure:
    """How many outputs change."""

    def figure(row: Row, rows: Sequence[Row]) -> float | None:
        found = take(row)
        return None if found is None else found.changed

    return figure


def _agreement(row: Row, rows: Sequence[Row]) -> float | None:
    """Same class as the float network, in percent."""
    return None if row.agreement is None else 100 * row.agreement.same_class.value


def _angle(row: Row, rows: Sequence[Row]) -> float | None:
    """Mean relative error where the image is resampled, in percent."""
    off = [angle.mean for angle in row.angles if not angle.on_grid]
    return 100 * sum(off) / len(off) if off else None


METRICS: dict[str, Metric] = {
    "accuracy": Metric(POINTS, _scored(lambda a: a.accuracy), "correct predictions"),
    "auc": Metric(POINTS, _scored(lambda a: a.auc), "area under the ROC curve"),
    "sensitivity": Metric(
        POINTS, _scored(lambda a: a.sensitivity), "share of class 1 that is found"
    ),
    "specificity": Metric(
        POINTS, _scored(lambda a: a.specificity), "share of class 0 that is left alone"
    ),
    "f1": Metric(POINTS, _scored(lambda a: a.f1), "F1 score"),
    "calibration": Metric(
        POINTS, _scored(lambda a: a.calibration_error), "expected calibration error"
    ),
    "agreement": Metric(POINTS, _agreement, "same class as the float network"),
    "p50": Metric("ms", _cost(lambda c: c.latency.median_ms), "median latency"),
    "p90": Metric("ms", _cost(lambda c: c.latency.p90_ms), "90th percentile"),
    "p99": Metric("ms", _cost(lambda c: c.latency.p99_ms), "99th percentile"),
    "mean": Metric("ms", _cost(lambda c: c.latency.mean_ms), "mean latency"),
    "first": Metric("ms", _cost(lambda c: c.first_ms), "first inference"),
    "load": Metric("ms", _cost(lambda c: c.load_ms), "loading the file"),
    "throughput": Metric(
        "images/s", _cost(lambda c: c.images_per_second), "many images in one call"
    ),
    "memory": Metric(
        "MiB", _cost(lambda c: c.peak_rss_bytes / _MIB), "peak of the process"
    ),
    "size": Metric(
        "KiB",
        lambda row, rows: None if row.unavailable else row.label.file_bytes / _KIB,
        "size of the file",
    ),
    "speedup": Metric(
        "", speed_up, "INT8 over float, same runtime, kernels, threads and run"
    ),
    "changed": Metric(
        "", _changed(lambda row: row.rotations), "outputs changed by quarter turns"
    ),
    "mirrored": Metric(
        "", _changed(lambda row: row.mirrors), "outputs changed by mirroring"
    ),
    "angle": Metric(POINTS, _angle, "mean relative error at other angles"),
}

_CONDITION = re.compile(
    r"(?P<metric>[a-z0-9]+)\s*(?P<order>[<>])\s*"
    r"(?P<sign>[+-]?)(?P<number>\d{1,12}(\.\d{1,12})?)\s*(?P<percent>%?)"
)


@dataclass(frozen=True)
class Condition:
    """What must not hold.

    Attributes:
        text: As it was written.
        metric: One of `METRICS`.
        above: Whether it is larger figures that fail.
        value: The limit.
        relative: Whether it is on the difference to the baseline.
        percent: Whether that difference is taken in percent of the baseline's figure.
    """

    text: str
    metric: str
    above: bool
    value: float
    relative: bool
    percent: bool

    def holds(self, new: float, old: float | None) -> bool:
        """Whether figures fail.

        Args:
            new: The figure; NaN fails, for it cannot be known to be good.
            old: Of the baseline, for a relative condition.
        """
        found = new
        if self.relative:
            assert old is not None
            found = new - old
            if self.percent and found:
                found = 100 * found / abs(old) if old else math.copysign(math.inf, new)
        if math.isnan(found):
            return True
        return found > self.value if self.above else found < self.value


@dataclass(frozen=True)
class Verdict:
    """What the conditions say.

    Attributes:
        failures: A sentence for each figure that fails.
        notes: What was not checked, and why.
    """

    failures: tuple[str, ...]
    notes: tuple[str, ...]


def parse(text: str) -> tuple[Condition, ...]:
    """Read conditions, with commas between.

    Raises:
        InputError: one of them is none.
    """
    return tuple(_parsed(part.strip()) for part in text.split(","))


def _parsed(text: str) -> Condition:
    """Read one.

    Raises:
        InputError: it is none.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InputError(
            f"--fail-if: condition {text[:60]!r}; wanted METRIC, < or >, and a number, "
            f"such as accuracy<-0.2 or p50>+10%"
        )
    metric = found["metric"]
    if metric not in METRICS:
        raise InputError(
            f"--fail-if: metric {metric[:60]!r} in {text[:60]!r}; wanted one of "
            f"{', '.join(METRICS)}"
        )
    relative, percent = bool(found["sign"]), bool(found["percent"])
    if percent and not relative and METRICS[metric].unit != POINTS:
        raise InputError(
            f"--fail-if: {text[:60]!r} has no sign, and {metric} is not in percent; "
            f"wanted + or - (of the baseline) or no % (as it is)"
        )
    value = float(found["sign"] + found["number"])
    return Condition(
        text, metric, found["order"] == ">", value, relative, percent and relative
    )


def violations(
    conditions: Sequence[Condition],
    rows: Sequence[Row],
    baseline: Sequence[Row] | None = None,
) -> Verdict:
    """Check all conditions.

    A figure that the baseline has and the new rows lack fails: what vanished cannot be
    known to be good.

    Args:
        conditions: From `parse`.
        rows: What was measured.
        baseline: Rows to compare with; needed for relative conditions.

    Raises:
        InputError: a relative condition without a baseline, or a condition that no row
            can answer: it could never fail.
    """
    failures: list[str] = []
    notes: dict[str, None] = {}
    for condition in conditions:
        if condition.relative and baseline is None:
            raise InputError(
                f"--fail-if: {condition.text!r} compares with a baseline; wanted "
                f"--baseline FILE (an older bench.json)"
            )
        answers = list(_answers(condition, rows, baseline or ()))
        if all(answer.note for answer in answers):
            where = " in both results" if answers else ""
            raise InputError(
                f"--fail-if: no row has {condition.metric}{where} for "
                f"{condition.text!r}; wanted a figure that is measured (accuracy needs "
                f"--data)"
            )
        failures += [answer.failure for answer in answers if answer.failure]
        notes.update(dict.fromkeys(answer.note for answer in answers if answer.note))
    return Verdict(tuple(failures), tuple(notes))


class _Answer(NamedTuple):
    """Of one row: a failure, or a note, or neither where all is well."""

    failure: str = ""
    note: str = ""


def _answers(
    condition: Condition, rows: Sequence[Row], baseline: Sequence[Row]
) -> Iterator[_Answer]:
    """What each row says to a condition; nothing of rows that it is not about."""
    metric = METRICS[condition.metric]
    names = row_names(rows)
    old = {_key(row): metric.figure(row, baseline) for row in baseline}
    old_names = dict(zip(map(_key, baseline), row_names(baseline), strict=True))
    for name, row in zip(names, rows, strict=True):
        new, before = metric.figure(row, rows), old.pop(_key(row), None)
        if new is None:
            if before is not None:
                yield _vanished(condition, name, row.unavailable)
        elif condition.relative and before is None:
            yield _Answer(note=f"{name}: the baseline has no {condition.metric}.")
        elif condition.holds(new, before):
            yield _Answer(_sentence(condition, name, new, before))
        else:
            yield _Answer()
    for key, before in old.items():
        if before is not None:
            yield _vanished(condition, old_names[key], "it is no row here")


def _key(row: Row) -> tuple[str, str, str, int]:
    """What rows of two results have in common; a file's bytes may differ."""
    label = row.label
    return label.runtime, label.kernel, label.precision, label.threads


def _vanished(condition: Condition, name: str, why: str | None) -> _Answer:
    """A figure that is there no more."""
    reason = why or "it was not measured"
    return _Answer(
        f"{condition.text}: {name} has no {condition.metric} any more ({reason})"
    )


def _sentence(condition: Condition, name: str, new: float, before: float | None) -> str:
    """Both figures of a failure."""
    unit = METRICS[condition.metric].unit
    unit = " %" if unit == POINTS else f" {unit}" if unit else ""
    text = f"{condition.text}: {name} has {condition.metric} {new:.5g}{unit}"
    return text if before is None else f"{text}, the baseline {before:.5g}{unit}"
