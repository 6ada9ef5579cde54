"""From runners to rows, tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from mobileq.bench.equivariance import AngleError
from mobileq.bench.measure import Label, Plan, Row, Subject, measure
from mobileq.bench.report import (
    FORMAT,
    VERSION,
    Report,
    processor_name,
    summary,
    this_machine,
)
from mobileq.data.synthetic import synthetic_tissue
from mobileq.quant.affine import Affine
from support.function_runner import FunctionRunner, corner, disc_means, disc_sums

PATCHES = synthetic_tissue(6, seed=1, size=64)
IMAGES = PATCHES.images[:3, :63, :63]


def subject(kernel: str, runner: FunctionRunner) -> Subject:
    """A subject whose integer logits have scale 1 and zero point 0."""
    precision = "int8" if runner.integer else "float"
    label = Label("function", kernel, precision, 1, f"{kernel}.bin", 2048)
    return Subject(label, runner, Affine(1.0, 0) if runner.integer else None)


def brightness(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Integer logits that no symmetry of the square changes."""
    return (disc_sums(pixels) // 100_000).astype(np.int8)


SUBJECTS = (
    subject("invariant", FunctionRunner(disc_means)),
    subject("corner", FunctionRunner(corner)),
    subject("integer", FunctionRunner(brightness, integer=True)),
)


def report_of(rows: tuple[Row, ...], data: str | None) -> Report:
    """A report with given rows."""
    return Report("[bold]net", "C4", this_machine(), "tissue", 3, data, rows)


def printed(report: Report, width: int = 80) -> str:
    """All tables as text."""
    console = Console(width=width, no_color=True, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        for table in report.tables():
            console.print(table)
    return capture.get()


def test_rows_say_what_the_runners_are() -> None:
    """Labels, runs and symmetry belong to the runner of the row."""
    told: list[str] = []
    rows = measure(
        SUBJECTS, IMAGES, plan=Plan(runs=3), patches=PATCHES, progress=told.append
    )
    assert [row.label for row in rows] == [s.label for s in SUBJECTS]
    assert [row.rotations.changed for row in rows] == [0, 9, 0]
    assert [row.mirrors.compared for row in rows] == [12, 12, 12]
    assert all(row.latency.runs == 3 and len(row.angles) == 23 for row in rows)
    assert all(row.scores is not None and row.scores.count == 6 for row in rows)
    assert rows[0].agreement is None
    assert all(0 <= (row.agreement or 0) <= 1 for row in rows[1:])
    assert any("accuracy" in line for line in told)


def test_without_data_and_angles_they_are_left_out() -> None:
    """No scores, no agreement, no errors by angle, in tables and JSON alike."""
    rows = measure(SUBJECTS, IMAGES, plan=Plan(runs=1, angles=()))
    assert all(row.scores is None and row.agreement is None for row in rows)
    report = report_of(rows, None)
    text = printed(report)
    assert "Accuracy" not in text
    assert "Mean error by angle" not in text
    first = report.to_dict()["rows"][0]
    assert first["angles"] == []
    assert first["other_angles"] == {
        "mean": None,
        "max": None,
        "changed_predictions": None,
    }


def test_tables_show_the_figures_on_80_columns() -> None:
    """Nothing is cut off, and brackets in a file's name are no markup."""
    rows = measure(SUBJECTS, IMAGES, plan=Plan(runs=2), patches=PATCHES)
    text = printed(report_of(rows, "some data"))
    assert "[bold]net" in text
    assert "…" not in text
    assert "function float invariant" in text
    assert "0/9" in text
    assert "9/9" in text
    assert "Accuracy on some data" in text
    assert "Mean error by angle" in text


def test_json_is_versioned_and_has_no_nan() -> None:
    """With one class alone the AUC is not defined: null, which strict JSON allows."""
    normal = PATCHES.read(np.flatnonzero(PATCHES.labels == 0))
    one_class = type(PATCHES)(normal, np.zeros(len(normal), np.uint8))
    rows = measure(SUBJECTS, IMAGES, plan=Plan(runs=2), patches=one_class)
    text = json.dumps(report_of(rows, "normal").to_dict(), allow_nan=False)
    values = json.loads(text)
    assert (values["format"], values["version"]) == (FORMAT, VERSION)
    assert values["rows"][0]["scores"]["auc"] is None
    assert values["rows"][1]["rotations"]["changed"] == 9
    assert values["rows"][2]["label"]["precision"] == "int8"
    assert values["machine"]["packages"]["numpy"] == np.__version__


def test_summary_leaves_out_multiples_of_90() -> None:
    """Only angles at which the image is resampled count."""
    angles = (
        AngleError(45, 0.25, 0.5, 0.0),
        AngleError(90, 9.0, 9.0, 1.0),
        AngleError(135, 0.75, 2.0, 0.5),
    )
    found = summary(angles)
    assert (found.mean, found.max, found.changed_predictions) == (0.5, 2.0, 0.25)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("processor\t: 0\nmodel name\t: Fast 3000\n", "Fast 3000"),
        ("processor\t: 0\nModel\t\t: A board\n", "A board"),
    ],
)
def test_processor_is_named(text: str, wanted: str, tmp_path: Path) -> None:
    """From the list that Linux keeps."""
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert processor_name(path) == wanted


def test_processor_has_a_name_anywhere(tmp_path: Path) -> None:
    """Where there is no such list, at least the architecture."""
    assert processor_name(tmp_path / "missing")
