"""What rows are called, and which float row an INT8 row goes with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from mobileq.bench.figures import Row


def row_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """A name for each row that no other one has.

    Args:
        rows: Any; threads and file are named where rows differ in nothing else.
    """
    names = [str(row.label) for row in rows]
    if len({row.label.threads for row in rows}) > 1:
        names = [
            f"{name}, {row.label.threads} thread{'' if row.label.threads == 1 else 's'}"
            for name, row in zip(names, rows, strict=True)
        ]
    targets = [row.label.file.rpartition("/")[0] for row in rows]
    if len(set(targets)) > 1:
        # Of several networks: which one matters more than anything else.
        names = [
            f"{name}, {target}" if target else name
            for name, target in zip(names, targets, strict=True)
        ]
    often = Counter(names)
    names = [
        f"{name}, {row.label.file}" if often[name] > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]
    often, seen, unique = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        unique.append(f"{name} ({seen[name]})" if often[name] > 1 else name)
    return tuple(unique)


def float_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The float row that an INT8 row is compared with.

    Args:
        row: Any; a float one is compared with nothing.
        rows: Where to look.

    Returns:
        Of the same device, runtime, kernel and threads; of several, the one whose
        file's name begins most alike. None without one.
    """
    if row.label.precision == "float":
        return None

    def key(one: Row) -> tuple[str, str, str, int]:
        label = one.label
        return (label.device, label.runtime, label.kernel, label.threads)

    same = [
        one for one in rows if one.label.precision == "float" and key(one) == key(row)
    ]
    return max(
        same,
        key=lambda one: _alike(one.label.file, row.label.file),
        default=None,
    )


def _alike(first: str, second: str) -> int:
    """How many characters at their beginning are the same."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def speed_up(row: Row, rows: Sequence[Row]) -> float | None:
    """How many times faster than its float row, by the medians; None if unknown."""
    other = float_of(row, rows)
    if other is None or other.cost is None or row.cost is None:
        return None
    own = row.cost.latency.typical_ms
    return other.cost.latency.typical_ms / own if own > 0 else None
