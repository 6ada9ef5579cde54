"""Results that are kept, given back, and measured again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.bench.equivariance import AngleError
from mobileq.bench.figures import Accuracy, Agreement, Cost, Label, Operator
from mobileq.bench.latency import Latency
from mobileq.bench.plain import from_plain, to_plain
from mobileq.bench.scoring import accuracy_of, agreement_of
from mobileq.bench.store import Identity, Store
from mobileq.errors import CheckpointError, InputError
from support import killed_store

LABEL = Label("tflite", "xnnpack", "int8", 1, "model.int8.tflite", 123, "ab" * 32)
IDENTITY = Identity("litert 2", "a machine", "pcam, test", "c" * 64, {"limit": 5})
ANGLES = (AngleError(15, 0.25, 0.5, 0.0), AngleError(90, 0.0, 0.0, 0.0))
LOGITS = np.array([[0.5, -1.25], [3.0, 0.0]])


def test_figures_come_back(tmp_path: Path) -> None:
    """What was kept is given back by another process with the same identity."""
    store = Store.open(tmp_path / "new" / "results")
    kind = tuple[AngleError, ...]
    assert store.figures(kind, LABEL, "angles", IDENTITY) is None
    store.keep(LABEL, "angles", IDENTITY, ANGLES)
    again = Store.open(tmp_path / "new" / "results", pytest.fail)
    assert again.figures(kind, LABEL, "angles", IDENTITY) == ANGLES
    assert again.figures(kind, LABEL, "other", IDENTITY) is None
    other = replace(LABEL, sha256="cd" * 32)
    assert again.figures(kind, other, "angles", IDENTITY) is None


def test_arrays_come_back(tmp_path: Path) -> None:
    """Logits have the same bits and type."""
    store = Store.open(tmp_path, pytest.fail)
    store.keep(LABEL, "logits", IDENTITY, {}, LOGITS)
    found = store.array(LABEL, "logits", IDENTITY)
    assert found is not None
    assert found.dtype == LOGITS.dtype
    np.testing.assert_array_equal(found, LOGITS)
    assert store.figures(dict, LABEL, "logits", IDENTITY) == {}


def test_measuring_happens_once(tmp_path: Path) -> None:
    """A second call does not measure; another option does, and replaces the result."""
    store, calls = Store.open(tmp_path), []

    def measure() -> tuple[AngleError, ...]:
        calls.append("angles")
        return ANGLES

    def compute() -> Any:
        calls.append("logits")
        return LOGITS

    for identity in (IDENTITY, IDENTITY, replace(IDENTITY, options={"limit": 6})):
        kind = tuple[AngleError, ...]
        found = store.figures_or(kind, LABEL, "angles", identity, measure)
        assert found == ANGLES
        logits = store.array_or(LABEL, "logits", identity, compute)
        np.testing.assert_array_equal(logits, LOGITS)
    assert calls == ["angles", "logits"] * 2
    assert store.figures(kind, LABEL, "angles", IDENTITY) is None


CHANGES: dict[str, Any] = {
    "runtime_version": "litert 3",
    "machine": "another",
    "data": "pcam, valid",
    "checksum": "d" * 64,
    "options": {"limit": 5, "threads": 2},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_changed_is_measured_again(name: str, tmp_path: Path) -> None:
    """A line names what is another one, and nothing old is given back."""
    lines: list[str] = []
    store = Store.open(tmp_path, lines.append)
    store.keep(LABEL, "logits", IDENTITY, {}, LOGITS)
    changed = replace(IDENTITY, **{name: CHANGES[name]})
    assert store.figures(dict, LABEL, "logits", changed) is None
    assert store.array(LABEL, "logits", changed) is None
    assert len(lines) == 2
    words = name.replace("_", " ")
    assert f"measured with another {words}; it is measured again" in lines[0]


def test_another_version_of_this_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may measure in another way."""
    lines: list[str] = []
    store = Store.open(tmp_path, lines.append)
    store.keep(LABEL, "cost", IDENTITY, {})
    monkeypatch.setattr("mobileq.bench.store.__version__", "999")
    assert store.figures(dict, LABEL, "cost", IDENTITY) is None
    assert "another mobileq" in lines[0]


def test_rows_do_not_mix(tmp_path: Path) -> None:
    """Every field of the label makes another row, whatever is in it."""
    store = Store.open(tmp_path)
    rows = [
        LABEL,
        replace(LABEL, threads=2),
        replace(LABEL, file="b.tflite"),
        replace(LABEL, file_bytes=5),
        replace(LABEL, runtime="../../x"),
        replace(LABEL, kernel="a/b c\0"),
    ]
    for number, label in enumerate(rows):
        store.keep(label, "cost", IDENTITY, {"row": number})
    for number, label in enumerate(rows):
        assert store.figures(dict, label, "cost", IDENTITY) == {"row": number}
    assert len(list(tmp_path.iterdir())) == len(rows)


DAMAGE: dict[str, tuple[Any, str]] = {
    "empty": (b"", "is damaged"),
    "half": (lambda data: data[: len(data) // 2], "is damaged"),
    "binary": (b"\xff\xfe\x00", "is damaged"),
    "deep": (b"[" * 100_000, "is damaged"),
    "a list": (b"[1, 2]", "is of another program"),
    "foreign": (b'{"accuracy": 1}', "is of another program"),
    "newer": (lambda data: data.replace(b'"version": 1', b'"version": 9'), "version 9"),
    "no identity": (
        b'{"format": "mobileq-bench-result", "version": 1}',
        "does not say what",
    ),
    "text": (lambda data: data.replace(b"0.25", b'"much"'), "'much'; wanted float"),
    "no figures": (lambda data: data.replace(b'"figures"', b'"f"'), "other figures"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files_are_measured_again(kind: str, tmp_path: Path) -> None:
    """One line says so, and keeping the result mends the file."""
    lines: list[str] = []
    store = Store.open(tmp_path, lines.append)
    store.keep(LABEL, "angles", IDENTITY, ANGLES)
    path, (change, message) = store.path(LABEL, "angles"), DAMAGE[kind]
    path.write_bytes(change(path.read_bytes()) if callable(change) else change)
    wanted = tuple[AngleError, ...]
    assert store.figures(wanted, LABEL, "angles", IDENTITY) is None
    assert len(lines) == 1
    assert message in lines[0]
    assert lines[0].startswith(f"{path}: ")
    assert "\n" not in lines[0]
    store.keep(LABEL, "angles", IDENTITY, ANGLES)
    assert store.figures(wanted, LABEL, "angles", IDENTITY) == ANGLES


@pytest.mark.parametrize("damage", ["gone", "half", "other"])
def test_damaged_arrays_are_measured_again(damage: str, tmp_path: Path) -> None:
    """An array is used only if it is the one that was kept."""
    lines: list[str] = []
    store = Store.open(tmp_path, lines.append)
    store.keep(LABEL, "logits", IDENTITY, {}, LOGITS)
    path = store.path(LABEL, "logits").with_suffix(".npy")
    if damage == "gone":
        path.unlink()
    elif damage == "half":
        path.write_bytes(path.read_bytes()[:-8])
    else:
        np.save(path, LOGITS + 1)
    assert store.array(LABEL, "logits", IDENTITY) is None
    assert len(lines) == 1


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Only temporary files that a killed writer left long ago are taken away."""
    mine = tmp_path / "report.html"
    mine.write_text("mine")
    fresh, stale = tmp_path / ".a.cost.json.x1", tmp_path / ".a.logits.npy.x2"
    for path in (fresh, stale):
        path.write_text("half")
    old = time.time() - 86_400
    os.utime(stale, (old, old))
    Store.open(tmp_path)
    assert mine.read_text() == "mine"
    assert fresh.exists()
    assert not stale.exists()


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """A file in its place is an error in one line."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CheckpointError, match="out: cannot hold results"):
        Store.open(tmp_path / "out")


def test_options_are_plain_values(tmp_path: Path) -> None:
    """Tuples count as lists; an object is refused, since it could not be compared."""
    store = Store.open(tmp_path, pytest.fail)
    tuples = replace(IDENTITY, options={"angles": (15, 30)})
    store.keep(LABEL, "angles", tuples, {})
    lists = replace(IDENTITY, options={"angles": [15, 30]})
    assert store.figures(dict, LABEL, "angles", lists) == {}
    with pytest.raises(InputError, match="an option is no plain value"):
        store.keep(LABEL, "angles", replace(IDENTITY, options={"x": object()}), {})


def test_a_killed_writer_leaves_whole_results(tmp_path: Path) -> None:
    """kill -9 at any moment: what is given back is whole, and the rest is measured."""
    done = subprocess.run(
        [sys.executable, killed_store.__file__, str(tmp_path), "3"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    killed, whole = (int(word) for word in done.stdout.split())
    assert whole == killed_store.PARTS
    assert killed > 0


def real_accuracy() -> tuple[Accuracy, Agreement]:
    """Figures with intervals, of random logits."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 50, 2)), rng.integers(2, size=50)
    return accuracy_of(logits[0], labels), agreement_of(*logits, labels)


FIGURES: list[Any] = [
    *real_accuracy(),
    accuracy_of(np.array([[2.0, 1.0]]), np.array([0])),
    Cost(
        Latency.of([1_500_000, 2_000_000], threads=1),
        5.0,
        2.0,
        20,
        True,
        None,
        10**9,
        10**7,
    ),
    Operator("conv", "CONV_2D", 0.5, 0.25),
]


@pytest.mark.parametrize("value", FIGURES, ids=lambda value: type(value).__name__)
def test_figures_as_plain_values(value: Any) -> None:
    """They survive JSON bit for bit, None and NaN included."""
    text = json.dumps(to_plain(value), allow_nan=False)
    assert repr(from_plain(type(value), json.loads(text))) == repr(value)


@given(st.floats())
def test_every_number_survives(value: float) -> None:
    """All floats do, which JSON alone would not allow."""
    text = json.dumps(to_plain((value,)), allow_nan=False)
    assert repr(from_plain(tuple[float, ...], json.loads(text))) == repr((value,))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, 1.5, "figures is 1.5; wanted int"),
        (int, True, "figures is True; wanted int"),
        (bool, 1, "wanted bool"),
        (str, None, "wanted str"),
        (float, "1", "figures is '1'; wanted float"),
        (tuple[int, ...], {"a": 1}, "wanted a list"),
        (tuple[int, int], [1], "has 1 values; wanted 2"),
        (AngleError, {"degrees": 1}, r"holds \['degrees'\]; wanted changed"),
        (tuple[AngleError, ...], [3], r"figures\[0\] holds 3"),
    ],
)
def test_values_of_another_type(kind: Any, value: Any, message: str) -> None:
    """The message says where and what, so that nothing wrong is shown as a figure."""
    with pytest.raises(TypeError, match=message):
        from_plain(kind, value)
