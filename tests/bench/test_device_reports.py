"""Rows of phones in tables, JSON and report.html."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
from rich.console import Console

from mobileq.bench.gate import parse, violations
from mobileq.bench.html import render
from mobileq.bench.merge import merged
from mobileq.bench.naming import float_of, row_names, speed_up
from mobileq.bench.report import lines, tables
from mobileq.bench.result import Result, read_result, schema
from mobileq.cli.bench_page import page_of
from support.bench_page import on_phone, phone, result_of, rows


def of_a_phone() -> Result:
    """Rows of this machine and of a phone."""
    here = rows()
    there = tuple(on_phone(row) for row in here if row.label.runtime == "tflite")
    return replace(result_of((*here, *there)), devices=(phone(),))


def text_of(found: Result) -> str:
    """What a terminal shows."""
    screen = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in tables(found):
        screen.print(table)
    for line in lines(found):
        screen.print(line, markup=False, soft_wrap=True)
    screen.file.close()
    return screen.export_text()


def test_names() -> None:
    """Rows of a phone say so, and INT8 goes with float of the same phone."""
    found = of_a_phone()
    names = row_names(found.rows)
    assert len(set(names)) == len(names)
    for name, row in zip(names, found.rows, strict=True):
        assert ("A1" in name) == bool(row.label.device)
        other = float_of(row, found.rows)
        if other is not None:
            assert other.label.device == row.label.device
            assert speed_up(row, found.rows) is not None


def test_a_terminal() -> None:
    """A table of differences from this machine, the phone's facts, notes of rows."""
    text = text_of(of_a_phone())
    assert "Outputs of devices against XNNPACK on this machine" in text
    assert "3/64" in text
    assert "1 LSB" in text
    assert "Google Pixel 8, Google Tensor G3, Android 14 (SDK 34)" in text
    assert "timed by benchmark_model (SHA-256 0123456789ab...)" in text
    assert "battery 80 %, charging" in text
    assert "heat lowers the clocks" in text
    assert "Measured on" in text
    alone = of_a_phone()
    alone = replace(alone, rows=tuple(row for row in alone.rows if row.label.device))
    assert "Measured on" not in text_of(alone)
    assert "Outputs of devices" not in text_of(result_of(rows()))


def test_json(tmp_path: Path) -> None:
    """It follows the schema and is read as it was written."""
    found = of_a_phone()
    plain = found.to_dict()
    jsonschema.validate(plain, schema())
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(plain), encoding="utf-8")
    again = read_result(path)
    assert again.devices == found.devices
    assert again.rows == found.rows


def test_a_page() -> None:
    """The phone has a section of its own, and its name is text and no markup."""
    page = render(page_of(of_a_phone())).decode()
    assert '<section id="devices">' in page
    assert "A1 &lt;b&gt;" in page
    assert "A1 <b>" not in page
    assert "2 x 1.70 GHz, 1 x 2.91 GHz" in page
    assert "unlike this machine" in page
    assert "at most 1 LSB" in page
    assert "heat lowers the clocks" in page
    bare = render(page_of(result_of(rows()))).decode()
    assert '<section id="devices">' not in bare
    assert "unlike this machine" not in bare


def test_facts_leave_out_what_is_not_known() -> None:
    """No empty line, and no `unknown`."""
    facts = phone().facts()
    assert "frequency governor" not in facts
    assert facts["memory"] == "8.0 GiB"
    assert facts["cores"] == "4"
    nothing = replace(phone(), build="", state="", memory_bytes=0, max_khz=(), flags=())
    assert not {"build", "at the beginning", "memory", "highest clocks"} & set(
        nothing.facts()
    )
    assert "unknown" not in str(replace(phone(), model="unknown", soc="unknown"))


def test_conditions_hold_for_each_device() -> None:
    """A row of the phone is compared with the phone's, and not with this machine's."""
    here = rows()
    there = [replace(r, label=replace(r.label, device="A1")) for r in here if r.cost]
    slower = []
    for row in there:
        assert row.cost is not None
        times = row.cost.latency
        assert times.median_ms is not None
        late = replace(times, median_ms=2 * times.median_ms)
        slower.append(replace(row, cost=replace(row.cost, latency=late)))
    verdict = violations(parse("p50>+10%"), (*here, *slower), (*here, *there))
    assert len(verdict.failures) == len(there)
    assert all(" on A1" in line for line in verdict.failures)


def test_several_results() -> None:
    """Each phone is named once."""
    found = of_a_phone()
    other = replace(
        found, target="other", devices=(replace(phone(), name="B2"), phone())
    )
    both = merged([found, other])
    assert [device.name for device in both.devices] == ["A1 <b>", "B2"]
