"""Confusion matrices, operators and the machine, ready to be laid out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobileq.bench.figures import Operator, Row
from mobileq.bench.html.text import decimal, percent
from mobileq.bench.naming import row_names

MOST_CLASSES = 20
"""Of more classes, only the pairs that are confused most are shown."""

MOST_PAIRS = 20
MOST_OPERATORS = 15


@dataclass(frozen=True)
class Count:
    """One cell of a confusion matrix.

    Attributes:
        text: Images.
        share: Of the images of its true class.
        shade: 0 to 10, for the cell's colour.
    """

    text: str
    share: str
    shade: int


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        name: Of the row, or of all rows that have this matrix.
        classes: Names, in order.
        counts: By true class, then predicted class; empty if there are too many.
        pairs: In its place: true class, predicted class, images, share.
    """

    name: str
    classes: tuple[str, ...]
    counts: tuple[tuple[Count, ...], ...]
    pairs: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True)
class Bar:
    """One operator.

    Attributes:
        name: Of the operator or its tensor.
        kind: Such as CONV_2D.
        mean: In one inference, ms.
        share: Of all operators' time, as text.
        width: The same, 0 to 100.
    """

    name: str
    kind: str
    mean: str
    share: str
    width: str


@dataclass(frozen=True)
class Profile:
    """One row's operators.

    Attributes:
        name: Of the row.
        kinds: Share of each kind, in a line.
        bars: The slowest.
        rest: What was left out, in a sentence; empty if nothing was.
    """

    name: str
    kinds: str
    bars: tuple[Bar, ...]
    rest: str


def confusions(rows: Sequence[Row], classes: Sequence[str]) -> tuple[Confusion, ...]:
    """The confusion matrices of the rows that were scored; equal ones once.

    Args:
        rows: Any.
        classes: Names; the number stands for one that is missing.
    """
    owners: defaultdict[tuple[tuple[int, ...], ...], list[str]] = defaultdict(list)
    for name, row in zip(row_names(rows), rows, strict=True):
        if row.accuracy is not None and row.accuracy.confusion:
            owners[row.accuracy.confusion].append(name)
    found = []
    for matrix, own in owners.items():
        name = "; ".join(own)
        names = tuple(
            classes[k] if k < len(classes) else str(k) for k in range(len(matrix))
        )
        if len(matrix) > MOST_CLASSES:
            found.append(Confusion(name, names, (), _pairs(matrix, names)))
        else:
            counts = tuple(tuple(_count(n, sum(line)) for n in line) for line in matrix)
            found.append(Confusion(name, names, counts, ()))
    return tuple(found)


def _count(number: int, of: int) -> Count:
    """One cell."""
    share = number / of if of else 0.0
    text = percent(share, 1) if of else ""
    return Count(f"{number:,}", text, round(10 * share))


def _pairs(
    matrix: Sequence[Sequence[int]], names: Sequence[str]
) -> tuple[tuple[str, str, str, str], ...]:
    """What is confused most often."""
    wrong = [
        (number, true, predicted)
        for true, line in enumerate(matrix)
        for predicted, number in enumerate(line)
        if number and true != predicted
    ]
    wrong.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    return tuple(
        (
            names[true],
            names[predicted],
            f"{number:,}",
            percent(number / sum(matrix[true]), 1),
        )
        for number, true, predicted in wrong[:MOST_PAIRS]
    )


def profiles(rows: Sequence[Row]) -> tuple[Profile, ...]:
    """The slowest operators of each row that was profiled.

    Args:
        rows: Any.
    """
    return tuple(
        _profile(name, row.operators)
        for name, row in zip(row_names(rows), rows, strict=True)
        if row.operators
    )


def _profile(name: str, operators: Sequence[Operator]) -> Profile:
    """One row's."""
    kinds: defaultdict[str, float] = defaultdict(float)
    for one in operators:
        kinds[one.kind] += one.share
    ordered = sorted(kinds.items(), key=lambda entry: (-entry[1], entry[0]))
    shown, left = operators[:MOST_OPERATORS], operators[MOST_OPERATORS:]
    rest = ""
    if left:
        share = percent(sum(one.share for one in left), 1)
        rest = f"The other {len(left):,} take {share} of the time."
    bars = tuple(
        Bar(
            one.name,
            one.kind,
            decimal(one.mean_ms, 4),
            percent(one.share, 1),
            f"{100 * min(max(one.share, 0.0), 1.0):.1f}",
        )
        for one in shown
    )
    text = ", ".join(f"{kind} {percent(share, 1)}" for kind, share in ordered)
    return Profile(name, text, bars, rest)


def facts(values: Mapping[str, Any], above: str = "") -> tuple[tuple[str, str], ...]:
    """Names and values of plain values of any depth, a pair for each line.

    Args:
        values: Dictionaries, lists and plain values.
        above: Name that begins each name.
    """
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{above} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            pairs += facts(value, name)
        elif isinstance(value, (list, tuple)):
            pairs.append((name, " ".join(map(str, value))))
        elif value is not None:
            short, unit, size = name.rpartition(" ")
            if size == "bytes" and unit and isinstance(value, int):
                pairs.append((short, f"{value / 2**30:.1f} GiB"))
            else:
                pairs.append((name, _plain(value)))
    return tuple(pairs)


def _plain(value: Any) -> str:
    """One value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
