"""Conditions that make a benchmark fail."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench.figures import Row
from mobileq.bench.gate import METRICS, POINTS, parse, violations
from mobileq.bench.statistics import Estimate
from mobileq.errors import InputError
from support.bench_page import row, rows

ROWS = rows()
INT8 = row("tflite", "xnnpack", "int8", 2.0, 100)
FLOAT = row("tflite", "xnnpack", "float", 3.0, 300)


def slower(factor: float, one: Row = INT8) -> Row:
    """A row whose times are longer by a factor."""
    assert one.cost is not None
    times = one.cost.latency
    latency = replace(times, median_ms=factor * times.median_ms)
    return replace(one, cost=replace(one.cost, latency=latency))


def scored(accuracy: float, one: Row = INT8) -> Row:
    """A row of another accuracy."""
    assert one.accuracy is not None
    found = replace(one.accuracy, accuracy=Estimate(accuracy, 0.0, 1.0))
    return replace(one, accuracy=found)


@pytest.mark.parametrize(
    ("condition", "new", "old", "fails"),
    [
        ("accuracy<-0.2", scored(0.847), scored(0.85), True),
        ("accuracy<-0.2", scored(0.849), scored(0.85), False),
        ("accuracy<-0.2", scored(0.9), scored(0.85), False),
        ("accuracy<85", scored(0.849), None, True),
        ("accuracy<85%", scored(0.851), None, False),
        ("p50>+10%", slower(1.11), INT8, True),
        ("p50>+10%", slower(1.09), INT8, False),
        ("p50>+0.1", slower(1.06), INT8, True),
        ("p50>+0.1", slower(1.04), INT8, False),
        ("p50>2.5", slower(1.2), None, False),
        ("p50>2.3", slower(1.2), None, True),
        ("p50<-10%", slower(0.8), INT8, True),
        ("size>+0", INT8, INT8, False),
        ("size>+0", row("tflite", "xnnpack", "int8", 2.0, 101), INT8, True),
        ("changed>0", INT8, None, False),
        ("changed>0", row("onnx", "cpu", "int8", 2.0, 9), None, True),
        ("memory>190", INT8, None, False),
        ("memory>189", INT8, None, True),
    ],
)
def test_one_condition(condition: str, new: Row, old: Row | None, fails: bool) -> None:
    """With a sign against the baseline, without one as it is; shares in percent."""
    found = violations(parse(condition), [new], None if old is None else [old])
    assert bool(found.failures) == fails
    assert found.notes == ()
    for line in found.failures:
        assert line.startswith(f"{condition}: ")
        assert "\n" not in line


def test_a_failure_names_both_figures() -> None:
    """Row, metric, what it is and what it was, with units."""
    (line,) = violations(parse("p50 > +10%"), [slower(1.5)], [INT8]).failures
    assert line == ("p50 > +10%: tflite int8 xnnpack has p50 3 ms, the baseline 2 ms")


def test_speed_up_is_within_one_result() -> None:
    """INT8 over float of the same run, whatever the machine did since."""
    new, old = [slower(2, FLOAT), slower(2.5)], [FLOAT, INT8]
    assert violations(parse("speedup<-30%"), new, old).failures == ()
    (line,) = violations(parse("speedup<-10%"), new, old).failures
    assert "speedup 1.2, the baseline 1.5" in line


@given(metric=st.sampled_from(sorted(METRICS)), percent=st.sampled_from(["", "%"]))
def test_a_result_does_not_fail_against_itself(metric: str, percent: str) -> None:
    """No difference is above +0 or below -0, and every metric is measured."""
    for order, sign in ((">", "+"), ("<", "-")):
        conditions = parse(f"{metric}{order}{sign}0{percent}")
        assert violations(conditions, ROWS, ROWS).failures == ()


@given(metric=st.sampled_from(sorted(METRICS)), limit=st.integers(0, 10**9))
def test_one_of_both_sides_holds(metric: str, limit: int) -> None:
    """A figure is above a limit, below it, or equal to it."""
    above = violations(parse(f"{metric}>{limit}"), ROWS).failures
    below = violations(parse(f"{metric}<{limit}"), ROWS).failures
    figures = [METRICS[metric].figure(one, ROWS) for one in ROWS]
    known = [value for value in figures if value is not None]
    assert len(above) == sum(value > limit for value in known)
    assert len(below) == sum(value < limit for value in known)


@given(st.floats(0.1, 10), st.floats(0, 1000))
def test_percent_is_of_the_baseline(factor: float, limit: float) -> None:
    """It fails exactly if the ratio is above 1 + limit / 100, but for rounding."""
    text = f"{limit:.6f}"
    found = violations(parse(f"p50>+{text}%"), [slower(factor)], [INT8]).failures
    difference = 100 * (factor - 1) - float(text)
    # Percentages of ratios up to 10 are off by a few units of 2^-53 times 1000.
    if abs(difference) > 1e-9:
        assert bool(found) == (difference > 0)


def test_what_vanished_fails() -> None:
    """A row that is gone, cannot be run, or lacks the figure cannot be known good."""
    conditions = parse("accuracy<-1")
    gone = violations(conditions, [FLOAT], [FLOAT, INT8]).failures
    assert [line.split(": ")[1] for line in gone] == [
        "tflite int8 xnnpack has no accuracy any more (it is no row here)"
    ]
    broken = Row(INT8.label, unavailable="not installed")
    (line,) = violations(conditions, [FLOAT, broken], [FLOAT, INT8]).failures
    assert "no accuracy any more (not installed)" in line
    bare = replace(INT8, accuracy=None)
    (line,) = violations(conditions, [FLOAT, bare], [FLOAT, INT8]).failures
    assert "no accuracy any more (it was not measured)" in line


def test_a_new_row_is_noted() -> None:
    """There is nothing to compare it with yet."""
    found = violations(parse("p50>+10%"), [FLOAT, INT8], [FLOAT])
    assert found.failures == ()
    assert found.notes == ("tflite int8 xnnpack: the baseline has no p50.",)


def test_nan_fails() -> None:
    """Whatever the condition: no number is no proof."""
    for text in ("accuracy<-1", "accuracy>+1", "accuracy<0", "accuracy>100"):
        assert violations(parse(text), [scored(math.nan)], [INT8]).failures
    assert violations(parse("accuracy<-1"), [INT8], [scored(math.nan)]).failures


def test_a_baseline_of_zero() -> None:
    """Any increase is infinitely many percent; none is none."""
    still = row("onnx", "cpu", "float", 2.0, 9)
    changed = replace(still, rotations=row("onnx", "cpu", "int8", 2.0, 9).rotations)
    assert violations(parse("changed>+1000%"), [changed], [still]).failures
    assert not violations(parse("changed>+0%"), [still], [still]).failures


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "condition ''"),
        ("accuracy<-0.2,", "condition ''"),
        ("accuracy=3", "wanted METRIC, < or >"),
        ("accuracy<=3", "wanted METRIC, < or >"),
        ("accuracy<--3", "wanted METRIC, < or >"),
        ("accuracy<1e9", "wanted METRIC, < or >"),
        ("p50>nan", "wanted METRIC, < or >"),
        ("p50>" + "9" * 400, "wanted METRIC, < or >"),
        ("speed>3", "metric 'speed' in 'speed>3'; wanted one of accuracy, auc"),
        ("p50>10%", "has no sign, and p50 is not in percent"),
        ("\n", "condition ''"),
    ],
)
def test_what_is_no_condition(text: str, wanted: str) -> None:
    """One line, that shows what was found."""
    with pytest.raises(InputError, match=r"^--fail-if: ") as caught:
        parse(text)
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.text(max_size=30))
def test_any_text(text: str) -> None:
    """It is read or refused."""
    try:
        found = parse(text)
    except InputError:
        return
    assert all(one.metric in METRICS for one in found)


@pytest.mark.parametrize(
    ("text", "new", "old", "wanted"),
    [
        ("accuracy<-1", [INT8], None, "wanted --baseline"),
        ("agreement<99", [FLOAT], None, "no row has agreement for"),
        ("speedup<-1%", [INT8], [FLOAT, INT8], ""),
        ("p50>+1%", [INT8], [FLOAT], ""),
        ("p50>+1%", [INT8], [], "no row has p50 in both results"),
        ("p50>1", [], None, "no row has p50 for"),
    ],
)
def test_a_check_that_cannot_fail_is_refused(
    text: str, new: list[Row], old: list[Row] | None, wanted: str
) -> None:
    """Without a baseline, or without a figure; one that vanished is a failure."""
    new = [replace(one, agreement=None) for one in new]
    if not wanted:
        assert violations(parse(text), new, old).failures
        return
    with pytest.raises(InputError, match=wanted):
        violations(parse(text), new, old)


def test_every_metric_has_a_meaning_and_a_unit() -> None:
    """What the documentation lists."""
    assert all(metric.meaning for metric in METRICS.values())
    assert {metric.unit for metric in METRICS.values()} == {
        *(POINTS, "ms", "images/s", "MiB", "KiB", ""),
    }
