"""The rule behind `mobileq bench --baseline old.json --fail-if "accuracy<-0.2"`.

    gate_metrics      figures that a condition can name
    gate_conditions   the language
    gate              what conditions say of the rows of a result

A check must be able to fail: what was measured in the baseline and is missing now is a
failure, and so is a figure that is not finite; what no row can answer is an error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mobileq.bench.figures import Row
from mobileq.bench.gate_conditions import EXAMPLE, Condition, parse, refused
from mobileq.bench.gate_metrics import METRICS, figure
from mobileq.errors import InputError

__all__ = ["METRICS", "Condition", "Verdict", "parse", "violations"]

_ROUNDING = 1e-12
"""Relative: 100 * 0.57 is 56.99999999999999, which is not below 57."""

_Pair = tuple[Row | None, Row | None]
"""A row and its counterpart in the baseline; one of them may be missing."""


@dataclass(frozen=True)
class Verdict:
    """What conditions found.

    Attributes:
        failures: A sentence for each row and condition that holds.
        notes: A sentence for each thing that was not compared.
    """

    failures: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def violations(
    conditions: Sequence[Condition],
    rows: Sequence[Row],
    baseline_rows: Sequence[Row] | None = None,
) -> Verdict:
    """Apply conditions to every row.

    Rows belong together that have the same runtime, kernel, precision and threads; if
    several have, those whose files have the same name.

    Args:
        conditions: As `parse` gives them; at least one.
        rows: Of the result.
        baseline_rows: Of an earlier result; None if there is none.

    Raises:
        InputError: no condition; one needs a baseline and there is none; no row can
            answer one; or two rows of a result cannot be told apart.
    """
    if not conditions:
        raise InputError(f"no condition; {EXAMPLE}")
    for condition in conditions:
        if condition.relative and baseline_rows is None:
            raise refused(
                condition.text,
                "compares with a baseline, and there is none; wanted an earlier "
                "result (--baseline), or a limit without + or -",
            )
    pairs, notes = _paired(rows, baseline_rows)
    failures: list[str] = []
    for condition in conditions:
        judged = [
            (pair, _judged(condition, pair, rows, baseline_rows or ()))
            for pair in pairs
        ]
        unanswered = [(pair, why) for pair, (fails, why) in judged if fails is None]
        if len(unanswered) == len(pairs):
            raise _unanswerable(condition, len(rows))
        failures += [sentence for _, (fails, sentence) in judged if fails]
        missing = [f"{_name(pair)} ({why})" for pair, why in unanswered if why]
        if missing:
            notes.append(f"{condition} was not applied to {', '.join(missing)}")
    return Verdict(tuple(failures), tuple(notes))


def _unanswerable(condition: Condition, count: int) -> InputError:
    """The error that a condition could not fail."""
    where = "both in a row and in the baseline's" if condition.relative else "in a row"
    return refused(
        condition.text,
        f"none of {count} rows can answer it; wanted {condition.metric} "
        f"({METRICS[condition.metric].description}) {where} (measure it, or leave "
        f"the condition out)",
    )


def _paired(
    rows: Sequence[Row], baseline: Sequence[Row] | None
) -> tuple[list[_Pair], list[str]]:
    """Rows with their counterparts, and notes of those that have none."""
    if baseline is None:
        return [(row, None) for row in rows], []
    shared = {key for side in (rows, baseline) for key in _several(side)}

    def full_key(row: Row) -> tuple[object, ...]:
        key = _key(row)
        return (*key, row.label.file) if key in shared else key

    for side, name in ((rows, "the result"), (baseline, "the baseline")):
        for key, count in Counter(map(full_key, side)).items():
            if count > 1:
                found = next(row for row in side if full_key(row) == key)
                raise InputError(
                    f"{name} has {count} rows {_name((found, None))}; wanted one, to "
                    f"compare it with (give files different names)"
                )
    old = {full_key(row): row for row in baseline}
    new = {full_key(row): row for row in rows}
    pairs: list[_Pair] = [(row, old.get(key)) for key, row in new.items()]
    gone: list[_Pair] = [(None, row) for key, row in old.items() if key not in new]
    notes = [
        f"{_name(pair)} is not in the baseline" for pair in pairs if pair[1] is None
    ]
    notes += [f"{_name(pair)} is only in the baseline" for pair in gone]
    return pairs + gone, notes


def _key(row: Row) -> tuple[object, ...]:
    """By which rows of two results belong together."""
    label = row.label
    return label.device, label.runtime, label.kernel, label.precision, label.threads


def _several(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """Keys that more than one row has."""
    return [key for key, count in Counter(map(_key, rows)).items() if count > 1]


def _name(pair: _Pair) -> str:
    """A row for a sentence, on one line whatever its file is called."""
    row = pair[0] or pair[1]
    assert row is not None
    label = row.label
    threads = "1 thread" if label.threads == 1 else f"{label.threads} threads"
    name = f"{label}, {threads}, {label.file}"
    return "".join(c if c.isprintable() else "?" for c in name)


def _judged(
    condition: Condition,
    pair: _Pair,
    rows: Sequence[Row],
    baseline: Sequence[Row],
) -> tuple[bool | None, str]:
    """Whether a pair fails, None if it cannot tell; and the sentence or the reason."""
    new = figure(condition.metric, pair[0], rows)
    old = figure(condition.metric, pair[1], baseline)
    if new is None:
        why = _why_missing(pair[0])
        if old is None:
            return None, "" if pair[0] is None else why
        shown = _shown(old, condition)
        return True, f"{_name(pair)}: {condition.metric} is {why}; baseline {shown}"
    sentence = f"{_name(pair)}: {condition.metric} is {_shown(new, condition)}"
    if not math.isfinite(new):
        return True, f"{sentence}; {condition} wants a finite number"
    if not condition.relative:
        fails = _beyond(condition, new, max(abs(new), abs(condition.value)))
        return fails, f"{sentence}; {_limit(condition)}"
    if old is None:
        # A row that the baseline lacks altogether has a note of its own.
        return None, "" if pair[1] is None else "not measured in the baseline"
    sentence += f", baseline {_shown(old, condition)}"
    if not math.isfinite(old):
        return True, f"{sentence}; {condition} wants finite numbers"
    change, size = _change(condition, new, old)
    fails = _beyond(condition, change, size)
    return fails, f"{sentence}, change {change:+.6g} {_unit(condition)}; " + _limit(
        condition
    )


def _why_missing(row: Row | None) -> str:
    """Why a row has no figure."""
    if row is None:
        return "missing, since the row is"
    if row.unavailable is not None:
        reason = "".join(c if c.isprintable() else " " for c in row.unavailable)
        return f"missing, since the row is unavailable: {reason}"
    return "not measured"


def _change(condition: Condition, new: float, old: float) -> tuple[float, float]:
    """Change from the baseline, and the size of what rounding may have disturbed."""
    difference = new - old
    if not condition.percent:
        return difference, max(abs(new), abs(old), abs(condition.value))
    if old == 0:
        # Any change from nothing is infinitely large; none is none.
        return (math.copysign(math.inf, new) if new else 0.0), 0.0
    ratio = abs(new / old)
    return 100 * (difference / abs(old)), 100 * max(1.0, ratio)


def _beyond(condition: Condition, value: float, size: float) -> bool:
    """Whether a value is on the failing side, by more than rounding."""
    distance = value - condition.value
    if condition.op == "<":
        distance = -distance
    return distance > (_ROUNDING * size if math.isfinite(size) else 0.0)


def _limit(condition: Condition) -> str:
    """What a condition says, in words."""
    side = "below" if condition.op == "<" else "above"
    sign = "+" if condition.relative else ""
    return f"{condition} fails {side} {condition.value:{sign}.6g} {_unit(condition)}"


def _unit(condition: Condition) -> str:
    """Unit of a condition's value."""
    metric = METRICS[condition.metric]
    if not condition.relative:
        return metric.unit
    return "%" if condition.percent else metric.unit_of_difference


def _shown(value: float, condition: Condition) -> str:
    """A figure with its unit."""
    return f"{value:.6g} {METRICS[condition.metric].unit}"
