"""Errors round the circle, for functions whose symmetry is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console

import mobileq.bench.equivariance as equivariance
from mobileq.bench.circle import Curve, Entrant, angles_of, measure_circle, ratio
from mobileq.bench.circle_report import FORMAT, VERSION, CircleReport, headers
from mobileq.bench.equivariance import AngleError, angle_errors
from mobileq.bench.figures import Label
from mobileq.bench.machine import this_machine
from mobileq.bench.subject import Subject
from mobileq.bench.turning import moved, turned, turned_features
from mobileq.data.synthetic import synthetic_tissue
from mobileq.errors import InputError
from mobileq.models.masks import circular_mask
from mobileq.quant.affine import Affine
from support.function_runner import FunctionRunner, corner, disc_means, disc_sums

TISSUE = synthetic_tissue(3, seed=3, size=64).images
IMAGES = {(3, size, size): TISSUE[:, :size, :size] for size in (63, 33)}
ANGLES = angles_of(45)


def label_of(precision: str, kernel: str = "k") -> Label:
    """A runner's label."""
    return Label("function", kernel, precision, 1, "f.bin", 1)


def brightness(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Integer logits that no symmetry of the square changes."""
    return (disc_sums(pixels) // 10_000).astype(np.int8)


def entrant(
    name: str, function: FunctionRunner, *, size: int = 63, group: str = "C4"
) -> Entrant:
    """A runner of integers, whose scale is 1, or of floats."""
    precision = "int8" if function.integer else "float"
    affine = Affine(1.0, 0) if function.integer else None
    return Entrant(
        name, group, (3, size, size), Subject(label_of(precision), function, affine)
    )


ENTRANTS = (
    entrant("disc", FunctionRunner(disc_means)),
    entrant("small", FunctionRunner(corner), size=33, group="conventional"),
    entrant("disc", FunctionRunner(brightness, integer=True)),
    entrant("corner", FunctionRunner(corner), group="conventional"),
)


def curve_of(
    means: dict[float, float], precision: str = "float", group: str = "C12"
) -> Curve:
    """A curve with given mean errors by angle."""
    angles = tuple(AngleError(a, m, 2 * m, m / 2) for a, m in means.items())
    return Curve("net", group, label_of(precision), angles)


@given(st.integers(-5, 100))
def test_quarter_turns_are_always_measured(step: int) -> None:
    """A step that leaves them out is refused with what is wanted."""
    try:
        angles = angles_of(step)
    except InputError as error:
        assert step < 1 or 90 % step != 0
        assert "wanted a divisor of 90" in str(error)  # noqa: PT017
    else:
        assert {0, 90, 180, 270} <= set(angles)
        assert angles[0] == 0
        assert np.diff([*angles, 360]).tolist() == [step] * len(angles)


def test_every_curve_is_that_of_its_runner() -> None:
    """Together, in two sizes, as alone; and 0 degrees changes nothing."""
    curves = measure_circle(ENTRANTS, IMAGES, ANGLES)
    for one, curve in zip(ENTRANTS, curves, strict=True):
        subject = one.subject
        assert (curve.network, curve.group) == (one.network, one.group)
        assert curve.label == subject.label
        assert curve.angles == angle_errors(
            subject.runner, IMAGES[one.shape], ANGLES, dequantize=subject.dequantize
        )
        first = curve.angles[0]
        assert (first.degrees, first.max, first.changed_predictions) == (0, 0, 0)
    quarters = [angle.max for angle in curves[0].angles if angle.on_grid]
    assert quarters == [0, 0, 0, 0]
    assert min(angle.mean for angle in curves[3].angles[1:]) > 0


def test_images_are_turned_once_for_all_runners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once as they are and once per angle, for each size of image."""
    calls: list[tuple[int, float]] = []

    def counted(images: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
        calls.append((images.shape[1], degrees))
        return turned(images, degrees)

    monkeypatch.setattr(equivariance, "turned", counted)
    measure_circle(ENTRANTS, IMAGES, ANGLES)
    wanted = [(size, angle) for _, size, _ in IMAGES for angle in (0, *ANGLES)]
    assert sorted(calls) == sorted(wanted)


@given(
    count=st.sampled_from([4, 6, 8, 12, 24]),
    family=st.sampled_from("CD"),
    step=st.sampled_from([15, 30, 45, 90]),
    seed=st.integers(0, 1000),
)
def test_the_groups_mean_is_over_its_own_angles(
    count: int, family: str, step: int, seed: int
) -> None:
    """All multiples of 360/N but 0, or nothing if one of them was not measured."""
    rng = np.random.default_rng(seed)
    angles = angles_of(step)
    means = dict(zip(angles, rng.uniform(0, 1, len(angles)), strict=True))
    curve = curve_of(means, group=f"{family}{count}")
    own = [360 * k // count for k in range(1, count)]
    if set(own) <= set(angles):
        # The same sum in another order.
        assert curve.of_group == pytest.approx(np.mean([means[a] for a in own]))
    else:
        assert curve.of_group is None
    assert replace(curve, group="conventional").of_group is None
    off = [means[a] for a in angles if a % 90]
    assert curve.off_grid == (pytest.approx(np.mean(off)) if off else None)


@given(factor=st.floats(0.1, 10), seed=st.integers(0, 1000))
def test_the_ratio_is_that_of_the_errors(factor: float, seed: int) -> None:
    """INT8 errors that are a multiple of the float ones give that multiple twice."""
    rng = np.random.default_rng(seed)
    means = {float(a): float(rng.uniform(0.1, 1)) for a in angles_of(15)}
    floats = curve_of(means)
    integers = curve_of({a: factor * m for a, m in means.items()}, "int8")
    stranger = replace(curve_of(dict.fromkeys(means, 9.0)), network="other")
    other_kernel = replace(
        curve_of(dict.fromkeys(means, 9.0)), label=label_of("float", "other")
    )
    found = ratio(integers, [stranger, other_kernel, floats, integers])
    assert found is not None
    # Two sums and a division in float64.
    assert found.off_grid == pytest.approx(factor)
    assert found.of_group == pytest.approx(factor)
    assert ratio(floats, [floats, integers]) is None
    assert ratio(integers, [stranger, integers]) is None


def test_a_float_error_of_zero_has_no_ratio() -> None:
    """Nothing can be a multiple of it."""
    zero = {float(a): 0.0 for a in ANGLES}
    found = ratio(curve_of(zero, "int8"), [curve_of(zero)])
    assert found is not None
    assert (found.off_grid, found.of_group) == (None, None)


def report_of(curves: tuple[Curve, ...]) -> CircleReport:
    """A report of some curves."""
    return CircleReport(this_machine(), "[bold]tissue", 3, curves)


def printed(report: CircleReport) -> str:
    """All tables as text of 80 columns."""
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        for table in report.tables():
            console.print(table)
    return capture.get()


def test_tables_fit_80_columns() -> None:
    """Long names are folded, not cut; more than four curves go to a second table."""
    means = {float(a): 0.123 * (a > 0) for a in angles_of(15)}
    names = ("pcam-equivariant", "some/where/pcam-conventional", "third")
    curves = tuple(
        replace(curve_of(means, precision), network=name)
        for name in names
        for precision in ("float", "int8")
    )
    text = printed(report_of(curves))
    assert "…" not in text
    assert "[bold]tissue" in text
    assert "some/where" not in text
    assert text.count("angle") == 2 + 1  # two headers, and the caption
    lines = [line.split() for line in text.splitlines()]
    assert ["15", *["0.123", "6.2%"] * 4] in lines
    assert ["0", *["0", "0.0%"] * 4] in lines
    assert ["ratio", "-", "1.000", "-", "1.000"] in lines
    assert headers(curves[:2]) == ("pcam-equivariant float", "pcam-equivariant int8")


def test_runtimes_are_named_where_they_differ() -> None:
    """In every table, also in one whose own curves are all of one runtime."""
    means = {float(a): 0.5 for a in angles_of(90)}
    curves = [
        replace(curve_of(means), label=label_of("float", f"kernel-{number}"))
        for number in range(5)
    ]
    text = printed(report_of(tuple(curves)))
    assert all(f"kernel-{number}" in text for number in range(5))


def test_an_error_that_is_not_zero_is_not_shown_as_zero() -> None:
    """Rounding of a float network and exactness look different."""
    tiny = curve_of({float(a): 4e-7 * (a > 0) for a in angles_of(90)})
    text = printed(report_of((tiny,)))
    assert "4e-07" in text
    assert [
        line.split()[:2] for line in text.splitlines() if line.startswith(" 0")
    ] == [["0", "0"]]


def test_json_is_versioned_and_strict() -> None:
    """It has every angle, the means and the ratios, and null where there is none."""
    curves = measure_circle(ENTRANTS, IMAGES, ANGLES)
    values = json.loads(json.dumps(report_of(curves).to_dict(), allow_nan=False))
    assert (values["format"], values["version"]) == (FORMAT, VERSION)
    assert [c["network"] for c in values["curves"]] == [e.network for e in ENTRANTS]
    for entry, curve in zip(values["curves"], curves, strict=True):
        assert [a["degrees"] for a in entry["angles"]] == list(ANGLES)
        assert entry["off_grid"] == curve.off_grid
        assert entry["of_group"] == curve.of_group
    assert values["curves"][0]["ratio_to_float"] is None
    assert set(values["curves"][2]["ratio_to_float"]) == {"off_grid", "of_group"}


@given(size=st.integers(1, 12), turns=st.integers(-3, 5), seed=st.integers(0, 1000))
def test_features_turn_as_images_do(size: int, turns: int, seed: int) -> None:
    """At quarter turns points only change places, in the same sense as pixels."""
    rng = np.random.default_rng(seed)
    shape = (2, size, size, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    features = images.transpose(0, 3, 1, 2).astype(np.float64)
    found = turned_features(features, 90 * turns)
    wanted = moved(images, (turns % 4, False)).transpose(0, 3, 1, 2)
    # Sines and cosines of float64 times values of up to 255; weights are float32.
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@given(degrees=st.floats(-360, 360), slope=st.floats(-2, 2), seed=st.integers(0, 99))
def test_a_ramp_is_turned_exactly(degrees: float, slope: float, seed: int) -> None:
    """Bilinear interpolation is exact on it: a turned ramp is a ramp."""
    size = 2 * (seed % 8) + 5
    row, column = np.indices((size, size)) - (size - 1) / 2
    angle = np.deg2rad(degrees)
    ramp = (column + slope * row)[None, None]
    wanted = (np.cos(angle) * column - np.sin(angle) * row) + slope * (
        np.sin(angle) * column + np.cos(angle) * row
    )
    inside = circular_mask(size).astype(bool) & (np.hypot(row, column) < size / 2 - 1)
    found = turned_features(ramp, degrees)[0, 0]
    # Weights are float32.
    np.testing.assert_allclose(found[inside], wanted[inside], atol=1e-4)
