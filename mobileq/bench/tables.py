"""How figures are shown: tables for a terminal, plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table


def plain(value: Any) -> Any:
    """Plain values without NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def empty_table(title: str, headers: Sequence[str], *, first: str = "network") -> Table:
    """An empty table: a column of names, then columns of numbers.

    Args:
        title: Above it; no markup.
        headers: Of the columns of numbers.
        first: Header of the column of names.
    """
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
        pad_edge=False,
    )
    table.add_column(first, no_wrap=True)
    for header in headers:
        # Words of a header are broken before numbers are cut.
        width = max(len(word) for word in header.split())
        table.add_column(header, justify="right", min_width=width)
    return table


def number(value: float | None, style: str) -> str:
    """A number, or a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "-"
    return format(value, style)
