"""Several results as one, so that files of several networks stand side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mobileq.bench.figures import Row
from mobileq.bench.result import Result
from mobileq.errors import InputError


def merged(results: Sequence[Result]) -> Result:
    """One result with the rows of all.

    Args:
        results: Of one kind of image; a row's file is named with its target.

    Returns:
        What they do not have in common is said in the notes.

    Raises:
        InputError: there are none.
    """
    if not results:
        raise InputError(
            "report: no results; wanted a bench.json of 'mobileq bench --out'"
        )
    first = results[0]
    if len(results) == 1:
        return first
    names = _names(results)
    rows = (
        _named(row, name)
        for name, result in zip(names, results, strict=True)
        for row in result.rows
    )
    noisy = (r.noise for r in results if r.noise is not None and r.noise.noisy)
    alike = len({result.data_sha256 for result in results}) == 1
    return replace(
        first,
        target=f"{len(results)} networks",
        group=_listed(result.group for result in results),
        classes=first.classes if len({r.classes for r in results}) == 1 else (),
        command=" && ".join(result.command for result in results),
        measured=min(result.measured for result in results),
        noise=next(noisy, first.noise),
        devices=tuple({one.name: one for r in results for one in r.devices}.values()),
        images=_listed(result.images for result in results),
        image_count=max(result.image_count for result in results),
        data=_listed(result.data for result in results if result.data) or None,
        data_sha256=first.data_sha256 if alike else None,
        rows=tuple(rows),
        notes=tuple(dict.fromkeys((*_differences(results, names), *_notes(results)))),
    )


def _named(row: Row, target: str) -> Row:
    """A row whose file is named with its target."""
    file = f"{target}/{row.label.file}" if row.label.file else target
    return replace(row, label=replace(row.label, file=file))


def _names(results: Sequence[Result]) -> tuple[str, ...]:
    """A short name for each target that no other one has."""
    short = [Path(result.target).name for result in results]
    often = Counter(short)
    seen: Counter[str] = Counter()
    found = []
    for name, result in zip(short, results, strict=True):
        unique = name if often[name] == 1 else result.target
        seen[unique] += 1
        found.append(unique if seen[unique] == 1 else f"{unique} ({seen[unique]})")
    return tuple(found)


def _differences(results: Sequence[Result], names: Sequence[str]) -> Iterable[str]:
    """What makes rows of different results hard to compare."""
    if len({str(result.machine) for result in results}) > 1:
        machines = "; ".join(
            f"{name}: {result.machine}"
            for name, result in zip(names, results, strict=True)
        )
        yield f"Times of different machines do not compare ({machines})."
    elif any(row.cost for result in results for row in result.rows):
        yield (
            "Networks were timed one after the other; 'mobileq compare' tells small "
            "differences, which drift of the machine hides here."
        )
    if len({r.data_sha256 for r in results if r.data_sha256}) > 1:
        yield "Accuracy was measured on different images, and does not compare."


def _notes(results: Sequence[Result]) -> Iterable[str]:
    """Notes of all."""
    for result in results:
        yield from result.notes


def _listed(values: Iterable[str]) -> str:
    """Different values, in their order."""
    return ", ".join(dict.fromkeys(values))
