"""The report in a few plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from mobileq.bench.figures import Agreement, Row
from mobileq.bench.html.page import Page
from mobileq.bench.html.text import (
    counted,
    error,
    interval,
    kibibytes,
    milliseconds,
    percent,
    points,
    probability,
)
from mobileq.bench.naming import float_of, row_names, speed_up

SIGNIFICANT = 0.05
"""p-values below it are said to show a difference."""


def summary(page: Page) -> tuple[str, ...]:
    """What a reader who stops here should know, a sentence or two each.

    Args:
        page: Any; says nothing of what was not measured.
    """
    rows = page.rows
    names = dict(zip(map(id, rows), row_names(rows), strict=True))
    main = headline(rows)
    found: list[str | None] = []
    if main is not None:
        found += [
            _speed(main, rows, names[id(main)]),
            _size(main, rows),
            _accuracy(main, page.data),
            _turns(main, page.group),
            _between(main),
        ]
    found.append(_others(rows, main))
    found.append(_not_measured(rows))
    return tuple(text for text in found if text)


def headline(rows: Sequence[Row]) -> Row | None:
    """The row that the summary is about: the fastest INT8 one, or the fastest.

    Args:
        rows: Any.

    Returns:
        Without times, the first that was measured; None if none was.
    """
    measured = [row for row in rows if row.unavailable is None]
    integer = [row for row in measured if row.label.precision != "float"] or measured
    timed = [row for row in integer if row.cost is not None]
    if timed:
        return min(timed, key=_typical)
    return integer[0] if integer else None


def _typical(row: Row) -> float:
    """Time of one image of a row that was timed."""
    assert row.cost is not None
    return row.cost.latency.typical_ms


def _speed(row: Row, rows: Sequence[Row], name: str) -> str | None:
    """The fastest row and its float row."""
    if row.cost is None:
        return f"The figures below are of {name}."
    own = row.cost.latency
    threads = counted(own.threads, "thread")
    what = "The fastest is" if row.label.precision == "float" else "INT8 is fastest as"
    text = (
        f"{what} {name}: {milliseconds(own.typical_ms)} ms for one image (median, "
        f"{threads})"
    )
    ratio, other = speed_up(row, rows), float_of(row, rows)
    if ratio is None or other is None or other.cost is None:
        return f"{text}."
    times = milliseconds(other.cost.latency.typical_ms)
    if ratio >= 1:
        return f"{text}, {ratio:.2f} times faster than float ({times} ms)."
    return f"{text}, {1 / ratio:.2f} times slower than float ({times} ms)."


def _size(row: Row, rows: Sequence[Row]) -> str | None:
    """Its size and that of the float file."""
    other = float_of(row, rows)
    if other is None or not row.label.file_bytes:
        return None
    ratio = other.label.file_bytes / row.label.file_bytes
    return (
        f"Its file has {kibibytes(row.label.file_bytes)} KiB, the float one "
        f"{kibibytes(other.label.file_bytes)} KiB: {ratio:.2f} times as much."
    )


def _accuracy(row: Row, data: str | None) -> str | None:
    """Its accuracy, and what INT8 did to it."""
    if row.accuracy is None:
        return None
    found = row.accuracy.accuracy
    where = f" of {data}" if data else ""
    ends = interval(found)
    text = (
        f"It classifies {percent(found.value)}{f' ({ends})' if ends else ''} of "
        f"{counted(row.accuracy.count, 'image')}{where} correctly."
    )
    return text if row.agreement is None else f"{text} {_agreement(row.agreement)}"


def _agreement(agreement: Agreement) -> str:
    """Against the float network, on the same images."""
    found = agreement.accuracy
    shown = (
        "the images show a difference"
        if found.p_value < SIGNIFICANT
        else "the images show no difference"
    )
    return (
        f"The float network puts {percent(agreement.same_class.value)} of them into "
        f"the same class; accuracy differs by {points(found.difference.value)} points "
        f"({interval(found.difference)}), and {shown} (McNemar's test, p = "
        f"{probability(found.p_value)})."
    )


def _turns(row: Row, group: str) -> str | None:
    """What turns by 90 degrees and mirroring do."""
    parts = []
    motions = (("Turned by 90, 180 and 270 degrees", row.rotations),)
    for what, found in (*motions, ("Mirrored", row.mirrors)):
        if found is None:
            continue
        outputs = counted(found.compared, "output")
        if not found.changed:
            parts.append(f"{what}, none of {outputs} changes in any bit.")
            continue
        parts.append(
            f"{what}, {found.changed:,} of {outputs} change (by at most "
            f"{error(found.max_relative)} of the logits), and "
            f"{found.changed_predictions:,} get another class."
        )
    return f"The network's group is {group}. {' '.join(parts)}" if parts else None


def _between(row: Row) -> str | None:
    """Errors where the image has to be resampled."""
    off = [angle for angle in row.angles if not angle.on_grid]
    if not off:
        return None
    mean = sum(angle.mean for angle in off) / len(off)
    share = sum(angle.changed_predictions for angle in off) / len(off)
    return (
        f"At other angles, where the image has to be resampled, the logits move by "
        f"{error(mean)} of their length on average, and {percent(share, 1)} of the "
        f"images get another class."
    )


def _others(rows: Sequence[Row], main: Row | None) -> str | None:
    """INT8 rows that change under turns although the headline's does not."""
    if main is None or main.rotations is None or main.rotations.changed:
        return None
    names = [
        name
        for name, row in zip(row_names(rows), rows, strict=True)
        if row.label.precision != "float" and row.rotations and row.rotations.changed
    ]
    if not names:
        return None
    return f"Turns do change outputs of {', '.join(names)}: see the table."


def _not_measured(rows: Sequence[Row]) -> str | None:
    """How many rows are missing."""
    missing = sum(row.unavailable is not None for row in rows)
    if not missing:
        return None
    return f"{counted(missing, 'row')} could not be measured; the table says why."
