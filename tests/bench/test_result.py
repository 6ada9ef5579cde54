"""bench.json: what is written, read and published."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench.figures import Row
from mobileq.bench.merge import merged
from mobileq.bench.result import FORMAT, VERSION, Result, read_result, schema
from mobileq.bench.statistics import Estimate
from mobileq.errors import InputError
from support.bench_page import result_of, row, rows, sparse

FULL = result_of(rows())
ROOT = Path(__file__).resolve().parents[2]


def written(result: Result, path: Path) -> Path:
    """A result in a file, in strict JSON."""
    path.write_text(json.dumps(result.to_dict(), allow_nan=False))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every figure comes back, with the types that it had."""
    assert read_result(written(FULL, tmp_path / "bench.json")) == FULL


def test_figures_that_are_none_stay_none(tmp_path: Path) -> None:
    """NaN is null in the file, and NaN again when it is read."""
    whole = rows()[5]
    assert whole.accuracy is not None
    nan = math.nan
    scores = replace(whole.accuracy, f1=Estimate(nan, nan, nan), auc=None)
    result = result_of((replace(whole, accuracy=scores),))
    path = written(result, tmp_path / "bench.json")
    assert '"f1": {"value": null, "low": null, "high": null}' in path.read_text()
    (found,) = read_result(path).rows
    assert found.accuracy is not None
    assert math.isnan(found.accuracy.f1.value)
    assert found.accuracy.auc is None


def test_the_published_schema_describes_what_is_written() -> None:
    """It is a legal schema, takes a full and an empty result, and is in the docs."""
    published = json.loads((ROOT / "docs" / "bench.schema.json").read_text())
    assert published == schema()
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    empty = result_of((), None)
    unavailable = result_of((Row(rows()[0].label, unavailable="not installed"),))
    phone = result_of((sparse(rows()[5]),))
    for result in (phone, FULL, empty, replace(empty, noise=None), unavailable):
        validator.validate(json.loads(json.dumps(result.to_dict(), allow_nan=False)))


@pytest.mark.parametrize("key", [*FULL.to_dict()])
def test_the_schema_misses_every_key(key: str) -> None:
    """A result without one of its keys, or with a number there, is refused."""
    values: dict[str, Any] = json.loads(json.dumps(FULL.to_dict()))
    validator = jsonschema.Draft202012Validator(schema())
    without = {name: value for name, value in values.items() if name != key}
    assert not validator.is_valid(without)
    assert not validator.is_valid({**values, key: 0.5})


def test_every_field_is_described() -> None:
    """The class says what each key means."""
    text = str(Result.__doc__)
    assert all(f"\n        {one.name}: " in text for one in fields(Result))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "is no result of mobileq bench"),
        ('{"format": "mobileq-bundle"}', "is no result of mobileq bench"),
        (f'{{"format": "{FORMAT}", "version": 1}}', "format version 1; wanted 3"),
        (f'{{"format": "{FORMAT}", "version": {VERSION}}}', "figures holds"),
        ("\ud800".encode("utf-8", "surrogatepass"), "is no JSON"),
    ],
)
def test_other_files_are_one_line(
    content: str | bytes, wanted: str, tmp_path: Path
) -> None:
    """The error names the file, what is wrong and what was wanted."""
    path = tmp_path / "bench.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=wanted) as caught:
        read_result(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (os.mkfifo, "not a regular file"),
    ],
)
def test_what_is_no_file_is_one_line(
    make: Callable[[Path], object], wanted: str, tmp_path: Path
) -> None:
    """Nothing waits for a pipe."""
    make(tmp_path / "bench.json")
    with pytest.raises(InputError, match=wanted):
        read_result(tmp_path / "bench.json")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in plain values."""
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            found += places(item, (*path, index))
    return found


PLAIN = json.loads(json.dumps(FULL.to_dict()))
PLACES = places(PLAIN)[1:]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(place=st.sampled_from(PLACES), value=ANYTHING)
def test_any_value_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[Any, ...], value: Any
) -> None:
    """No other error than ours, in one line."""
    values = json.loads(json.dumps(PLAIN))
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    path.write_text(json.dumps(values))
    try:
        read_result(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_results_side_by_side() -> None:
    """Rows are named by their target, and differences are said."""
    other = replace(FULL, target="runs/twin.mobileq", data_sha256="cd" * 32)
    both = merged([FULL, other])
    assert [one.label.file for one in both.rows[:: len(FULL.rows)]] == [
        "[bold]net/model.pt",
        "twin.mobileq/model.pt",
    ]
    assert len(both.rows) == 2 * len(FULL.rows)
    assert any("different images" in note for note in both.notes)
    assert any("mobileq compare" in note for note in both.notes)
    assert both.data_sha256 is None
    assert merged([FULL]) == FULL


def test_results_of_one_target_and_of_other_machines() -> None:
    """Names stay different, and times are said not to compare."""
    machine = replace(FULL.machine, processor="another")
    both = merged([FULL, replace(FULL, machine=machine)])
    files = {one.label.file for one in both.rows}
    assert len(files) == 2 * len({one.label.file for one in FULL.rows})
    assert any("different machines" in note for note in both.notes)


def test_a_merged_result_is_a_result(tmp_path: Path) -> None:
    """It can be written and read, and its rows have names of their own."""
    both = merged([result_of((row("tflite", "xnnpack", "int8", 1.0, 9),)), FULL])
    assert read_result(written(both, tmp_path / "both.json")) == both
    with pytest.raises(InputError, match="no results"):
        merged([])
