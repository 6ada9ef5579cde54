"""The language of the conditions under which `mobileq bench --fail-if` fails.

    conditions = condition {"," condition}
    condition  = METRIC ("<" | ">") VALUE ["%"]

The benchmark fails where a condition holds. A value with a sign is a difference to the
same row of a baseline; without a sign it is a limit on the figure itself:

    accuracy<-0.2    more than 0.2 percentage points below the baseline
    p50>+10%         more than 10 % above the baseline, relative to it
    accuracy<80      below 80 %; so is accuracy<80%
    changed>0        any output that a quarter turn changes

A signed percentage is relative for every metric: accuracy<-1% is one hundredth of the
baseline's accuracy, not one percentage point.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mobileq.bench.gate_metrics import METRICS
from mobileq.errors import InputError

EXAMPLE = "wanted such as accuracy<-0.2, p50>+10% or changed>0"
"""End of an error about conditions."""

_VALUE = re.compile(
    r"([+-]?)((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?) ?(%?)"
)
_SHOWN = 60
"""Characters of a condition that an error shows."""


@dataclass(frozen=True)
class Condition:
    """One condition; the benchmark fails where it holds.

    Attributes:
        text: As it was given.
        metric: One of `METRICS`.
        op: `<` or `>`.
        value: What the figure, or its difference, is compared with.
        relative: Whether it is compared with the baseline: the value had a sign.
        percent: Whether a `%` followed: with a sign, the difference is divided by the
            baseline's figure; without one, the metric is counted in percent anyway.
    """

    text: str
    metric: str
    op: str
    value: float
    relative: bool
    percent: bool

    def __str__(self) -> str:
        """As it was given."""
        return self.text


def parse(text: str) -> tuple[Condition, ...]:
    """Read conditions.

    Args:
        text: Such as `accuracy<-0.2,p50>+10%`.

    Raises:
        InputError: a condition is malformed, names no metric, or can never hold.
    """
    return tuple(_condition(" ".join(part.split())) for part in text.split(","))


def _condition(text: str) -> Condition:
    """Read one condition."""
    parts = re.split("([<>])", text)
    if len(parts) != 3:
        raise refused(text, f"is no condition; {EXAMPLE}, separated by commas")
    metric, op, value = (part.strip() for part in parts)
    if metric not in METRICS:
        known = ", ".join(METRICS)
        raise refused(text, f"{_quoted(metric)} is no metric; wanted one of {known}")
    found = _VALUE.fullmatch(value)
    number = float(found[2]) if found else math.nan
    if found is None or not math.isfinite(number):
        raise refused(text, f"{_quoted(value)} is no number; {EXAMPLE}")
    sign, percent = found[1], bool(found[3])
    if percent and not sign and not METRICS[metric].in_percent:
        raise refused(
            text,
            f"{metric} is counted in {METRICS[metric].unit}, not in %; wanted "
            f"{metric}{op}{found[2]} for a limit, or a value with + or - for a "
            f"difference to the baseline",
        )
    if sign == "-":
        number = -number
    condition = Condition(text, metric, op, number, bool(sign), percent)
    _must_be_able_to_hold(condition)
    return condition


def _must_be_able_to_hold(condition: Condition) -> None:
    """Refuse a condition that no figure can meet, since such a check cannot fail."""
    highest = METRICS[condition.metric].highest
    if not condition.relative:
        lowest = 0.0
    elif condition.percent:
        lowest, highest = -100.0, math.inf
    else:
        lowest = -highest
    below = condition.op == "<"
    if condition.value > lowest if below else condition.value < highest:
        return
    most = f"{lowest if below else highest:g}"
    what = f"a difference in {condition.metric}" if condition.relative else "it"
    raise refused(
        condition.text,
        f"can never fail, since {what} is never {'below' if below else 'above'} "
        f"{most}; wanted a value {'above' if below else 'below'} {most}",
    )


def refused(text: str, reason: str) -> InputError:
    """An error that names a condition.

    Args:
        text: The condition.
        reason: What was found, and what is wanted.
    """
    return InputError(f"condition {_quoted(text)}: {reason}")


def _quoted(text: str) -> str:
    """Text of a user on one line, cut where it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
