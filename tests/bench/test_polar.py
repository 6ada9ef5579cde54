"""The picture of the errors round the circle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest

from mobileq.bench.circle import Curve, angles_of
from mobileq.bench.circle_report import CircleReport
from mobileq.bench.equivariance import AngleError
from mobileq.bench.figures import Label
from mobileq.bench.machine import this_machine
from mobileq.bench.polar import FORMATS, format_of, polar_plot
from mobileq.errors import InputError

MAGIC = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


def curve(network: str, precision: str, error: float) -> Curve:
    """Four petals."""
    label = Label("tflite", "xnnpack", precision, 1, "f", 1)
    angles = [AngleError(a, error * (a % 90 > 0), 1, 0) for a in angles_of(15)]
    return Curve(network, "C4", label, tuple(angles))


def report(error: float = 0.5) -> CircleReport:
    """Two networks, float and INT8."""
    curves = tuple(
        curve(network, precision, error)
        for network in ("first", "second")
        for precision in ("float", "int8")
    )
    return CircleReport(this_machine(), "tissue & <others>", 3, curves)


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_reports_are_equal_pictures(kind: str) -> None:
    """No date, no version, no random names; other figures are another picture."""
    picture = polar_plot(report(), kind)
    assert picture.startswith(MAGIC[kind])
    assert picture == polar_plot(report(), kind)
    assert picture != polar_plot(report(0.4), kind)
    # Both may have been drawn within the same second.
    assert b"CreationDate" not in picture
    assert b"<dc:date>" not in picture


def test_the_picture_names_everything() -> None:
    """Every curve, what was measured, and on what; a user's settings stay as set."""
    with mpl.rc_context({"font.size": 31.0}):
        text = polar_plot(report(), "svg").decode()
        assert mpl.rcParams["font.size"] == 31.0
    for name in ("first float", "first int8", "second float", "second int8"):
        assert text.count(f">{name}<") == 1
    assert "3 images, tissue &amp; &lt;others&gt;" in text
    # Two dashed curves: their lines, and their samples in the legend.
    dashed = [line for line in text.splitlines() if "stroke-dasharray" in line]
    assert len(dashed) == 4


def test_errors_of_zero_can_be_drawn() -> None:
    """A network without any error has its curve in the middle."""
    nothing = replace(report(), curves=(curve("n", "float", 0.0),))
    assert polar_plot(nothing, "svg").startswith(MAGIC["svg"])


@pytest.mark.parametrize("name", ["a.jpg", "svg", "a"])
def test_other_formats_are_refused(name: str) -> None:
    """The message says which there are."""
    with pytest.raises(InputError, match=r"wanted a name that ends in \.svg, \.png"):
        format_of(Path(name))
    assert format_of(Path("a.SVG")) == "svg"
