"""How values are written on the page."""

from __future__ import annotations

import math
import re

from mobileq.bench.statistics import Estimate

NOTHING = "\N{EN DASH}"
"""Where there is no figure."""

TIMES = "\N{MULTIPLICATION SIGN}"
"""After a ratio."""

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff"
    "\ud800-\udfff]"
)
"""Not allowed in XML, half a character, or able to reorder what stands around it."""


def clean(text: str) -> str:
    """Text with a mark in place of every character that no file can hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def shortened(text: str, length: int) -> str:
    """Clean text on one line, of a bounded length; the end is kept as well.

    Args:
        text: Any.
        length: Most characters, at least 5.
    """
    line = " ".join(clean(text).split())
    if len(line) <= length:
        return line
    end = (length - 1) // 2
    return f"{line[: length - 1 - end]}…{line[-end:]}"


def milliseconds(value: float | None) -> str:
    """A time without its unit, three digits at least."""
    if value is None or not math.isfinite(value):
        return NOTHING
    digits = 3 if value < 10 else 2 if value < 100 else 1
    return f"{value:,.{digits}f}"


def kibibytes(value: int) -> str:
    """A size without its unit."""
    return f"{value / 1024:,.0f}" if value >= 10240 else f"{value / 1024:,.1f}"


def mebibytes(value: int | None) -> str:
    """A size without its unit."""
    return NOTHING if value is None else f"{value / 2**20:,.0f}"


def percent(value: float, digits: int = 2) -> str:
    """A share, with its unit.

    Args:
        value: 0 to 1; NaN is shown as nothing.
        digits: After the point.
    """
    if not math.isfinite(value):
        return NOTHING
    text = f"{100 * value:.{digits}f}"
    # One image in 30,000 must not read as none, nor all but one as all.
    if (value < 1 and float(text) == 100) or (value > 0 and float(text) == 0):
        text = f"{100 * value:.4f}"
    return f"{text} %"


def points(value: float) -> str:
    """A difference of two shares in percentage points, signed."""
    return f"{100 * value:+.2f}" if math.isfinite(value) else NOTHING


def interval(found: Estimate, *, scale: float = 100.0, digits: int = 2) -> str:
    """Both ends; empty where there is no interval.

    Args:
        found: Figure and interval.
        scale: 100 for percent.
        digits: After the point.
    """
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return ""
    return f"{scale * found.low:.{digits}f} to {scale * found.high:.{digits}f}"


def decimal(value: float | None, digits: int) -> str:
    """A number; infinity has a sign of its own."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.{digits}f}"


def probability(value: float) -> str:
    """A p-value, in digits that say something."""
    if not math.isfinite(value):
        return NOTHING
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def error(value: float) -> str:
    """A relative error; 0 is exactly 0."""
    if not math.isfinite(value):
        return NOTHING
    return "0" if value == 0 else f"{value:.0e}" if value < 5e-4 else f"{value:.3f}"


def counted(count: int, what: str) -> str:
    """Such as `1 image` and `1,024 images`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
