"""Conditions of `mobileq bench --fail-if`: their language, and what they let pass."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mobileq.bench.equivariance import AngleError, ExactSymmetry
from mobileq.bench.figures import Row
from mobileq.bench.gate import METRICS, Condition, Verdict, parse, violations
from mobileq.bench.gate_metrics import figure
from mobileq.bench.statistics import Estimate
from mobileq.errors import InputError
from support.bench_page import row, rows

FLOAT = row("tflite", "xnnpack", "float", 4.0, 2048)
INT8 = row("tflite", "xnnpack", "int8", 1.25, 512)

# Values with few digits: sums and products of them round by less than is forgiven.
VALUES = st.integers(-9_999, 9_999).map(lambda value: value / 100)
SIZES = st.integers(1, 10**6).map(lambda value: value / 1000)


def fails(text: str, new: Row, old: Row | None = None) -> bool:
    """Whether one row fails, against another one or alone."""
    verdict = violations(parse(text), [new], None if old is None else [old])
    assert len(verdict.failures) <= len(parse(text))
    return not verdict.passed


def with_cost(base: Row, **changes: Any) -> Row:
    """A row with other figures of cost; those of `Latency` among them."""
    assert base.cost is not None
    times = {name: changes.pop(name) for name in list(changes) if name in _LATENCY}
    latency = replace(base.cost.latency, **times)
    return replace(base, cost=replace(base.cost, latency=latency, **changes))


_LATENCY = ("median_ms", "p90_ms", "p99_ms", "mean_ms")


def with_accuracy(base: Row, share: float) -> Row:
    """A row with another accuracy, 0 to 1."""
    assert base.accuracy is not None
    scores = replace(base.accuracy, accuracy=Estimate(share, 0.0, 1.0))
    return replace(base, accuracy=scores)


def with_changed(base: Row, changed: int) -> Row:
    """A row with another count of outputs that quarter turns change."""
    return replace(base, rotations=ExactSymmetry(300, changed, 0.1, 0))


# Language


def test_examples_are_read() -> None:
    """The examples of the docs mean what the docs say."""
    assert parse("accuracy<-0.2, p50 > +10 %,accuracy<80%,changed>0") == (
        Condition("accuracy<-0.2", "accuracy", "<", -0.2, True, False),
        Condition("p50 > +10 %", "p50", ">", 10.0, True, True),
        Condition("accuracy<80%", "accuracy", "<", 80.0, False, True),
        Condition("changed>0", "changed", ">", 0.0, False, False),
    )


@pytest.mark.parametrize("zero", ["+0", "-0", "+0.0", "-0e0", "-.0", "+0%"])
def test_signed_zero_is_a_difference(zero: str) -> None:
    """Zero with a sign is compared with the baseline."""
    (condition,) = parse(f"p50>{zero}")
    assert condition.relative
    assert condition.value == 0


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Conditions that some figure can meet."""
    metric = draw(st.sampled_from(list(METRICS)))
    signed = draw(st.booleans())
    percent = draw(st.booleans()) and (signed or METRICS[metric].in_percent)
    op = draw(st.sampled_from("<>"))
    value = draw(VALUES) if signed else abs(draw(VALUES)) + 0.005
    text = f"{metric}{op}{value:{'+' * signed}}{'%' * percent}"
    return Condition(text, metric, op, value, signed, percent)


@given(st.lists(conditions(), min_size=1, max_size=5), st.text(" \t\n", max_size=3))
def test_conditions_come_back(wanted: list[Condition], space: str) -> None:
    """What is written is read again, whatever white space is between."""
    joined = f"{space},{space}".join(map(str, wanted))
    assert parse(space + joined + space) == tuple(wanted)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "''"),
        (",", "''"),
        ("p50>1,", "''"),
        ("p50", "'p50'"),
        ("p50>", "''"),
        (">5", "''"),
        ("p50>=5", "'=5'"),
        ("p50=5", "'p50=5'"),
        ("p50>>5", "'p50>>5'"),
        ("1<p50<5", "'1<p50<5'"),
        ("p50>+0,5", "'5'"),
        ("p50>+ 5", "'+ 5'"),
        ("p50>+-5", "'+-5'"),
        ("p50>--5", "'--5'"),
        ("p50>\N{MINUS SIGN}5", "'\N{MINUS SIGN}5'"),
        ("p50>\N{ARABIC-INDIC DIGIT FIVE}", "'\N{ARABIC-INDIC DIGIT FIVE}'"),
        ("p50>nan", "'nan'"),
        ("p50>+inf", "'+inf'"),
        ("p50>1e999", "'1e999'"),
        ("p50>" + "9" * 5000, "..."),
        ("p50>1_000", "'1_000'"),
        ("p50>0x10", "'0x10'"),
        ("p50>+5%%", "'+5%%'"),
        ("p50>+5ms", "'+5ms'"),
        ("P50>5", "'P50'"),
        ("p50\0>5", r"'p50\x00'"),
        ("__class__>5", "'__class__'"),
        ("p50>5%", "p50>5 for a limit"),
        ("changed>5%", "changed>5 for a limit"),
    ],
)
def test_malformed_conditions_are_refused(text: str, named: str) -> None:
    """The error names the condition and what is wrong, on one short line."""
    with pytest.raises(InputError) as error:
        parse(text)
    message = str(error.value)
    assert named in message
    assert "wanted" in message
    assert message.isprintable()
    assert len(message) < 400


def test_unknown_metrics_are_answered_with_the_known() -> None:
    """The error lists every metric."""
    with pytest.raises(InputError, match=", ".join(METRICS)):
        parse("latency>5")


@pytest.mark.parametrize(
    "text",
    [
        "p50<0",
        "changed<0",
        "accuracy>100",
        "auc>100%",
        "accuracy<-100",
        "f1>+100",
        "p50<-100%",
        "accuracy<-200%",
        "size<1e-999",
    ],
)
def test_conditions_that_cannot_fail_are_refused(text: str) -> None:
    """No figure is below 0, no share is above 100 %, and none loses more than all."""
    with pytest.raises(InputError, match="can never fail"):
        parse(text)


@given(st.text(st.sampled_from("p50acurcy<>+-.,%e019 \n\0é"), max_size=30) | st.text())
@example("<" * 10_000)
@example("p50>" + " " * 10_000 + "x")
@example("p50>" + "1" * 10_000 + "e")
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but conditions or a one-line error comes of any text."""
    message = ""
    try:
        found = parse(text)
    except InputError as error:
        message = str(error)
    if message:
        assert message.isprintable()
        return
    assert found
    assert all(math.isfinite(condition.value) for condition in found)
    assert parse(",".join(map(str, found))) == found


# Figures


def test_every_metric_has_its_figure() -> None:
    """Each is taken from its field, in its unit."""
    found = {name: figure(name, INT8, [FLOAT, INT8]) for name in METRICS}
    scores, cost, agreement = INT8.accuracy, INT8.cost, INT8.agreement
    assert scores is not None
    assert cost is not None
    assert agreement is not None
    assert scores.auc is not None
    assert scores.sensitivity is not None
    assert scores.specificity is not None
    errors = [angle.mean for angle in INT8.angles if angle.degrees % 90]
    assert found == {
        "accuracy": pytest.approx(100 * scores.accuracy.value),
        "auc": pytest.approx(100 * scores.auc.value),
        "sensitivity": pytest.approx(100 * scores.sensitivity.value),
        "specificity": pytest.approx(100 * scores.specificity.value),
        "f1": pytest.approx(100 * scores.f1.value),
        "calibration": pytest.approx(100 * scores.calibration_error.value),
        "agreement": pytest.approx(100 * agreement.same_class.value),
        "p50": cost.latency.median_ms,
        "p90": cost.latency.p90_ms,
        "p99": cost.latency.p99_ms,
        "mean": cost.latency.mean_ms,
        "first": cost.first_ms,
        "load": cost.load_ms,
        "throughput": cost.images_per_second,
        "memory": 190,
        "size": 512,
        "changed": 0,
        "mirrored": 0,
        "angle": pytest.approx(100 * sum(errors) / len(errors)),
        "speedup": 4.0 / 1.25,
    }
    # Every figure of the row is another one, so none can stand for its neighbour.
    assert len(set(found.values())) == len(METRICS) - 1


def test_changed_and_mirrored_are_two_counts() -> None:
    """Quarter turns and mirror images are not mixed up."""
    mixed = replace(
        INT8,
        rotations=ExactSymmetry(192, 5, 0.1, 0),
        mirrors=ExactSymmetry(256, 7, 0.1, 0),
    )
    assert figure("changed", mixed, [mixed]) == 5
    assert figure("mirrored", mixed, [mixed]) == 7
    # Floats are summed in another order, so that their last bits may change.
    floats = replace(mixed, label=FLOAT.label)
    assert figure("changed", floats, [floats]) is None
    assert figure("mirrored", floats, [floats]) is None


def test_figures_that_were_not_measured_are_none() -> None:
    """A row of nothing but a label has only a size; an unavailable one has nothing."""
    bare = Row(INT8.label)
    assert {name for name in METRICS if figure(name, bare, [bare]) is not None} == {
        "size"
    }
    gone = replace(INT8, unavailable="pip install it")
    assert all(figure(name, gone, [FLOAT, gone]) is None for name in METRICS)
    still = replace(
        INT8,
        rotations=ExactSymmetry(0, 0, 0.0, 0),
        angles=(AngleError(90, 0.0, 0.0, 0.0),),
    )
    assert figure("changed", still, [still]) is None
    assert figure("angle", still, [still]) is None


@pytest.mark.parametrize(
    "others",
    [
        [],
        [row("tflite", "builtin", "float", 4.0, 1)],
        [row("onnx", "xnnpack", "float", 4.0, 1)],
        [row("tflite", "xnnpack", "float", 4.0, 1, threads=2)],
        [FLOAT, row("tflite", "xnnpack", "float", 5.0, 1, file="other.tflite")],
        [replace(FLOAT, unavailable="pip install it")],
        [replace(FLOAT, cost=None)],
    ],
)
def test_speedup_needs_its_float_row(others: list[Row]) -> None:
    """One float row of the same runtime, kernel and threads, or there is no speedup."""
    assert figure("speedup", INT8, [*others, INT8]) is None


def test_speedup_is_not_of_the_float_row() -> None:
    """A float row, which is as fast as itself, cannot break `speedup<1.5`."""
    assert figure("speedup", FLOAT, [FLOAT, INT8]) is None
    found = violations(parse("speedup<1.5"), [FLOAT, INT8])
    assert found.passed
    assert "tflite float xnnpack" in found.notes[0]
    assert not violations(parse("speedup<3.5"), [FLOAT, INT8]).passed


# Limits


@pytest.mark.parametrize(
    ("text", "failed"),
    [("p50>1.25", False), ("p50>1.24", True), ("p50<1.25", False), ("p50<1.26", True)],
)
def test_limits_need_no_baseline(text: str, failed: bool) -> None:
    """A figure at the limit passes; one beyond it fails."""
    assert fails(text, INT8) is failed


@given(st.integers(1, 9_999))
def test_a_share_at_its_limit_passes(hundredths: int) -> None:
    """100 * 0.57 is 56.99999999999999, which does not break a limit of 57."""
    found = with_accuracy(INT8, hundredths / 10_000)
    limit = hundredths / 100
    assert not fails(f"accuracy<{limit}", found)
    assert not fails(f"accuracy>{limit}", found)
    assert fails(f"accuracy<{limit + 0.001:.3f}", found)


@given(st.integers(500, 9_500), st.integers(1, 400))
def test_a_share_that_differs_by_its_limit_passes(old: int, lost: int) -> None:
    """0.848 - 0.85 is a little below -0.002, which breaks no limit of 0.2 points."""
    before = with_accuracy(INT8, old / 10_000)
    after = with_accuracy(INT8, (old - lost) / 10_000)
    assert not fails(f"accuracy<-{lost / 100}", after, before)
    assert fails(f"accuracy<-{(lost - 0.1) / 100:.4f}", after, before)


# Differences


def test_points_are_not_percent() -> None:
    """From 50 % to 49.8 % are 0.2 points, and 0.4 % of what there was."""
    before, after = with_accuracy(INT8, 0.5), with_accuracy(INT8, 0.498)
    assert not fails("accuracy<-0.3", after, before)
    assert fails("accuracy<-0.3%", after, before)
    assert fails("accuracy<-0.1", after, before)


@given(conditions(), st.sampled_from([FLOAT, INT8]))
def test_a_row_against_itself_has_not_changed(condition: Condition, one: Row) -> None:
    """A signed condition on no change holds only if it holds of zero."""
    result = [FLOAT, INT8]
    if not condition.relative or figure(condition.metric, one, result) is None:
        return
    verdict = violations([condition], result, result)
    sign = 1 if condition.op == "<" else -1
    zero = sign * condition.value > 0
    assert verdict.passed is not zero


@given(SIZES, SIZES, SIZES, VALUES, st.sampled_from("<>"))
def test_relative_changes_have_no_unit(
    new: float, old: float, factor: float, value: float, op: str
) -> None:
    """Both figures in another unit give the same verdict."""
    change = 100 * (new - old) / old
    if abs(change - value) < 1e-6:  # At the limit, rounding decides.
        return
    text = f"p50{op}{value:+}%"

    def verdict(scale: float) -> bool:
        before = with_cost(INT8, median_ms=scale * old)
        return fails(text, with_cost(INT8, median_ms=scale * new), before)

    assert verdict(1) is (change < value if op == "<" else change > value)
    assert verdict(factor) is verdict(1)


@given(SIZES, SIZES, VALUES)
def test_below_and_above_exclude_each_other(
    new: float, old: float, value: float
) -> None:
    """No figure is on both sides of a limit."""
    before, after = (with_cost(INT8, median_ms=size) for size in (old, new))
    for percent in ("", "%"):
        sides = [fails(f"p50{op}{value:+}{percent}", after, before) for op in "<>"]
        assert sum(sides) <= 1


@given(st.integers(0, 5), st.integers(1, 300))
def test_any_increase_from_zero_is_infinite(limit: int, changed: int) -> None:
    """Of a baseline of 0, an increase breaks every percentage; none is no change."""
    zero, more = with_changed(INT8, 0), with_changed(INT8, changed)
    for percent in (f"+{10**limit}%", "+0%", "+1e300%"):
        assert fails(f"changed>{percent}", more, zero)
        assert not fails(f"changed>{percent}", zero, zero)
    assert not fails("changed<-10%", more, zero)
    assert not fails("changed<-0%", zero, zero)
    assert fails("changed<+10%", zero, zero)
    assert fails("changed<-99%", zero, more)
    (sentence,) = violations(parse("changed>+5%"), [more], [zero]).failures
    assert "change +inf %" in sentence


def test_an_increase_that_overflows_fails() -> None:
    """From the smallest number that is not 0, the change is infinite as well."""
    assert fails("p50>+10%", INT8, with_cost(INT8, median_ms=5e-324))


def test_counts_differ_by_outputs() -> None:
    """Without a percent sign, zero is a baseline as any other."""
    zero, two = with_changed(INT8, 0), with_changed(INT8, 2)
    assert fails("changed>+0", two, zero)
    assert fails("changed>+1", two, zero)
    assert not fails("changed>+2", two, zero)
    assert not fails("changed>+0", zero, two)


def test_speedups_are_of_their_own_result() -> None:
    """The baseline's speedup is that over the baseline's float row."""
    before = [with_cost(FLOAT, median_ms=8.0), with_cost(INT8, median_ms=2.5)]
    after = [FLOAT, INT8]
    assert violations(parse("speedup<-0,speedup>+0"), after, before).passed
    better = [FLOAT, with_cost(INT8, median_ms=1.0)]
    assert not violations(parse("speedup<-10%"), after, better).passed


# What cannot pass


def test_a_difference_needs_a_baseline() -> None:
    """Without one, a signed condition is an error, and limits are not."""
    with pytest.raises(InputError, match=r"'p50>\+10%'.*--baseline"):
        violations(parse("p50>9,p50>+10%"), [INT8])
    assert violations(parse("p50>9"), [INT8]).passed


@pytest.mark.parametrize("text", ["p50>+10%", "p50>+9", "p50>9", "p50<+0%", "p50<-1"])
@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ([], "the row is"),
        ([replace(INT8, unavailable="pip install it\nnow")], "pip install it now"),
        ([replace(INT8, cost=None)], "not measured"),
    ],
)
def test_a_figure_that_vanished_fails(text: str, now: list[Row], reason: str) -> None:
    """What the baseline has and the result lacks cannot pass, limit or difference."""
    verdict = violations(parse(text), [FLOAT, *now], [FLOAT, INT8])
    named = [line for line in verdict.failures if "tflite int8 xnnpack" in line]
    assert len(named) == 1
    assert reason in named[0]
    assert "baseline 1.25 ms" in named[0]
    assert named[0].isprintable()


@given(
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.sampled_from(["p50>+10%", "p50<-10%", "p50>+1", "p50<-1", "p50>9", "p50<1"]),
)
def test_figures_that_are_not_finite_fail(value: float, text: str) -> None:
    """NaN compares as false with any limit, and fails all the same."""
    broken = with_cost(INT8, median_ms=value)
    assert fails(text, broken, INT8)
    assert fails(text, broken, broken)
    if parse(text)[0].relative:
        assert fails(text, INT8, broken)
        # No counterpart, so nothing to compare; NaN is no figure all the same.
        verdict = violations(parse(text), [FLOAT, broken], [FLOAT])
        assert len(verdict.failures) == 1
    else:
        assert fails(text, broken)


def test_a_median_of_zero_has_no_speedup() -> None:
    """A time of 0 is a broken clock, not an infinite speed."""
    broken = with_cost(INT8, median_ms=0.0)
    assert not violations(parse("speedup<1.5"), [FLOAT, broken]).passed


@pytest.mark.parametrize(
    ("text", "new", "old"),
    [
        ("p50>5", [], None),
        ("p50>5", [replace(INT8, cost=None)], None),
        ("p50>5", [replace(INT8, unavailable="pip install it")], None),
        ("p50>5,accuracy<80", [replace(INT8, accuracy=None)], None),
        ("agreement<90", [FLOAT], None),
        ("p50>+5", [], []),
        ("p50>+5", [INT8], []),
        ("p50>+5", [INT8], [replace(INT8, cost=None)]),
        ("p50>+5", [INT8], [replace(INT8, unavailable="pip install it")]),
    ],
)
def test_conditions_that_nothing_answers_are_errors(
    text: str, new: list[Row], old: list[Row] | None
) -> None:
    """A check that cannot fail is a mistake of whoever wrote it."""
    with pytest.raises(InputError, match="can answer it; wanted"):
        violations(parse(text), new, old)


def test_no_condition_is_an_error() -> None:
    """Nothing to check is not a success."""
    with pytest.raises(InputError, match="no condition"):
        violations((), [INT8])


# Rows and their counterparts


def test_rows_meet_by_runtime_kernel_precision_and_threads() -> None:
    """File, order and neighbours do not matter; each of the four does."""
    slow = [
        row("tflite", "xnnpack", "int8", 2.0, 512, file="renamed.tflite"),
        row("tflite", "xnnpack", "int8", 1.0, 512, threads=2),
        row("tflite", "builtin", "int8", 3.0, 512),
        row("onnx", "xnnpack", "int8", 4.0, 512),
        row("tflite", "xnnpack", "float", 5.0, 2048),
    ]
    fast = [with_cost(one, median_ms=0.5) for one in reversed(slow)]
    fast[-1] = with_cost(INT8, median_ms=0.5)
    assert violations(parse("p50>+0"), fast, slow) == Verdict((), ())
    for which, changed in enumerate(slow):
        others = [one for place, one in enumerate(slow) if place != which]
        verdict = violations(parse("p50>+0"), slow, [*others, fast[-1 - which]])
        assert len(verdict.failures) == 1
        assert f"{changed.label}, {changed.label.threads} thread" in verdict.failures[0]


def test_files_decide_between_rows_that_look_alike() -> None:
    """Two INT8 files on one runtime are each compared with the file of their name."""
    a, b = (row("onnx", "cpu", "int8", 1.0, 1, file=f"{name}.onnx") for name in "ab")
    slow = with_cost(b, median_ms=2.0)
    assert violations(parse("p50>+0"), [slow, a], [a, slow]) == Verdict((), ())
    (sentence,) = violations(parse("p50>+0"), [slow, a], [a, b]).failures
    assert "b.onnx" in sentence
    # One side has two of them, so names decide on both sides.
    verdict = violations(parse("p50>+0"), [slow, a], [a])
    assert verdict.passed
    assert "b.onnx is not in the baseline" in verdict.notes[0]
    verdict = violations(parse("p50>+0"), [slow], [a, b])
    assert ["a.onnx" in line for line in verdict.failures] == [False, True]


def test_rows_that_cannot_be_told_apart_are_an_error() -> None:
    """Of two rows with one name, none is the counterpart."""
    for new, old in (([INT8, INT8], [INT8]), ([INT8], [INT8, INT8])):
        with pytest.raises(InputError, match=r"2 rows tflite int8 xnnpack.*different"):
            violations(parse("p50>+0"), new, old)
    assert violations(parse("p50>5"), [INT8, INT8]).passed


def test_new_rows_are_noted_and_keep_their_limits() -> None:
    """A row that the baseline lacks is not compared; limits hold for it."""
    verdict = violations(parse("p50>+0,p50>3"), [FLOAT, INT8], [INT8])
    assert len(verdict.failures) == 1
    assert "tflite float xnnpack" in verdict.failures[0]
    assert verdict.notes == (
        "tflite float xnnpack, 1 thread, model.float.tflite is not in the baseline",
    )


def test_rows_that_only_the_baseline_has_are_noted() -> None:
    """A lost row that has no figure of the condition breaks none, and is named."""
    old = replace(FLOAT, accuracy=None)
    verdict = violations(parse("accuracy<80"), [INT8], [old, INT8])
    assert verdict == Verdict(
        (), ("tflite float xnnpack, 1 thread, model.float.tflite is only in the "
             "baseline",),
    )  # fmt: skip


def test_what_was_not_compared_is_noted() -> None:
    """A figure that one row or the baseline lacks is named with the reason."""
    bare = replace(INT8, accuracy=None)
    lines = violations(parse("accuracy<80"), [FLOAT, bare]).notes
    assert len(lines) == 1
    assert lines[0].startswith("accuracy<80 was not applied to tflite int8 xnnpack")
    assert "(not measured)" in lines[0]
    lines = violations(parse("accuracy<-1"), [FLOAT, INT8], [FLOAT, bare]).notes
    assert "(not measured in the baseline)" in lines[0]


# Sentences


def test_a_failure_says_everything() -> None:
    """Row, figure, baseline, change, condition and limit, each with its unit."""
    slow = with_cost(with_accuracy(INT8, 0.8), median_ms=1.5)
    before = with_accuracy(INT8, 0.81)
    found = violations(parse("accuracy<-0.2,p50>+10%,accuracy<85"), [slow], [before])
    name = "tflite int8 xnnpack, 1 thread, model.int8.tflite"
    assert found.failures == (
        f"{name}: accuracy is 80 %, baseline 81 %, change -1 percentage points; "
        f"accuracy<-0.2 fails below -0.2 percentage points",
        f"{name}: p50 is 1.5 ms, baseline 1.25 ms, change +20 %; "
        f"p50>+10% fails above +10 %",
        f"{name}: accuracy is 80 %; accuracy<85 fails below 85 %",
    )
    assert not found.notes


@given(st.text(min_size=1, max_size=20))
def test_sentences_are_one_line(name: str) -> None:
    """No file's name breaks a line or moves the terminal's cursor."""
    odd = replace(INT8, label=replace(INT8.label, file=name))
    verdict = violations(parse("p50>1"), [FLOAT, odd], [FLOAT])
    assert all(line.isprintable() for line in (*verdict.failures, *verdict.notes))
    assert len(verdict.failures) == 2


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_compared(name: str) -> None:
    """A whole report passes against itself, and no condition is left unanswered."""
    report = rows()
    assert violations(parse(f"{name}<-10%,{name}>+10%"), report, report).passed
    verdict = violations(parse(f"{name}>+10%,size>1000"), report, report)
    assert all(" KiB" in sentence for sentence in verdict.failures)
    assert len(verdict.failures) == 4


def test_the_documentation_lists_every_metric() -> None:
    """With its meaning and its unit, in the order of the table."""
    page = Path(__file__).resolve().parents[2] / "docs" / "bench.md"
    rows = [
        f"| `{name}` | {metric.description} | {metric.unit} |"
        for name, metric in METRICS.items()
    ]
    assert "\n".join(rows) in page.read_text(encoding="utf-8")
