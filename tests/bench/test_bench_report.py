"""Rows as tables for a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from mobileq.bench.equivariance import AngleError
from mobileq.bench.figures import Row
from mobileq.bench.machine import this_machine
from mobileq.bench.noise import Noise
from mobileq.bench.report import lines, summary, tables
from mobileq.bench.result import Result
from support.bench_page import result_of, row, rows, sparse


def printed(result: Result, width: int = 80) -> str:
    """All tables as text."""
    console = Console(width=width, no_color=True, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        for table in tables(result):
            console.print(table)
    return capture.get()


def test_tables_fit_80_columns() -> None:
    """Nothing is cut off, and brackets in a name are no markup."""
    text = printed(result_of(rows()))
    assert "[bold]net" in text
    assert "…" not in text
    for wanted in (
        "tflite int8 xnnpack",
        "0/192",
        "Accuracy on some data",
        "Against the float network",
        "Mean error by angle",
        "slowest of 20 operators",
        "1.270",
    ):
        assert wanted in text
    assert max(map(len, text.splitlines())) <= 80


def test_speed_up_is_that_of_the_medians() -> None:
    """INT8 over float of the same runtime, kernel and threads; float has none."""
    text = printed(result_of((row("tflite", "xnnpack", "float", 3.0, 9), rows()[5])))
    times = text.split("size, loading")[0]
    assert f"{3.0 / 1.27:.2f}" in times
    (line,) = [line for line in times.splitlines() if line.startswith(" tflite float")]
    assert line.rstrip().endswith("-")


def test_what_was_not_measured_has_no_table() -> None:
    """A row with times only: no accuracy, no symmetry, no angles, no operators."""
    bare = Row(rows()[5].label, cost=rows()[5].cost)
    text = printed(result_of((bare,), None))
    assert "time of one image, 1 thread" in text
    for absent in ("Accuracy", "Symmetry", "angle", "operators", "Against"):
        assert absent not in text
    assert tables(result_of((), None)) == []


def test_two_numbers_of_threads_are_told_apart() -> None:
    """Each row is called by its threads."""
    both = tuple(
        row("tflite", "xnnpack", "int8", 3.0 / threads, 9, threads=threads)
        for threads in (1, 2)
    )
    text = printed(result_of(both))
    assert "tflite int8 xnnpack, 1 thread " in text
    assert "tflite int8 xnnpack, 2 threads" in text


def test_rows_without_figures_and_noise_are_said_below() -> None:
    """The reason stands below the tables, with the notes and the machine."""
    noisy = replace(result_of(rows()), noise=Noise(1.9, 0.0, 0.0, 0.1))
    found = lines(noisy)
    assert any("pip install executorch" in line for line in found)
    assert any("1.90 times" in line for line in found)
    assert found[-2:] == ["one note", f"Measured on {this_machine()}."]
    assert not any("noisy" in line for line in lines(result_of(rows())))


def test_summary_leaves_out_multiples_of_90() -> None:
    """Only angles at which the image is resampled count."""
    angles = (
        AngleError(45, 0.25, 0.5, 0.0),
        AngleError(90, 9.0, 9.0, 1.0),
        AngleError(135, 0.75, 2.0, 0.5),
    )
    found = summary(angles)
    assert (found.mean, found.max, found.changed_predictions) == (0.5, 2.0, 0.25)
    assert summary(angles[1:2]).mean is None


def test_a_row_without_percentiles() -> None:
    """Dashes where nothing is known; the speed-up is that of the means."""
    float_row, int8 = (
        sparse(row("tflite", "gpu", precision, time, 9))
        for precision, time in (("float", 3.0), ("int8", 2.0))
    )
    times = printed(result_of((float_row, int8))).split("size, loading")[0]
    (line,) = [line for line in times.splitlines() if line.startswith(" tflite int8")]
    assert line.split()[3:6] == ["-", "-", "-"]
    assert line.split()[-1] == "1.50"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_any_width(width: int) -> None:
    """Tables are printed whatever the terminal is."""
    assert "tflite" in printed(result_of(rows()), width)
