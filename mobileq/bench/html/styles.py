"""What rows are drawn like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mobileq.bench.figures import Row
from mobileq.bench.polar import COLORS

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One more than there are colours: 42 pairs before one comes again."""


@dataclass(frozen=True)
class Style:
    """How a row is drawn in every plot.

    Attributes:
        color: Of its marks and lines.
        marker: matplotlib's.
        hollow: Whether it is a float row: dashed lines, hollow marks.
    """

    color: str
    marker: str
    hollow: bool


def styles(rows: Sequence[Row]) -> tuple[Style, ...]:
    """Float and INT8 on one runtime and kernel share a colour and a mark."""
    seen: Counter[tuple[str, str, int, str]] = Counter()
    keys: list[tuple[str, str, int, int]] = []
    for row in rows:
        label = row.label
        own = (label.runtime, label.kernel, label.threads)
        keys.append((*own, seen[(*own, label.precision)]))
        seen[(*own, label.precision)] += 1
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return tuple(
        Style(
            COLORS[places[key] % len(COLORS)],
            MARKERS[places[key] % len(MARKERS)],
            row.label.precision == "float",
        )
        for key, row in zip(keys, rows, strict=True)
    )
