"""Damaged files, and files that are no network: one line, soon, and no memory."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobileq.certify import certify as certify_any
from mobileq.certify import certify_path
from mobileq.errors import InputError
from mobileq.proof import Break, Certificate
from mobileq.proof.motions import QUARTER_TURN
from support.certified import FORMATS, certify, small
from support.faults import edited, editor

LIMIT_S, LIMIT_KIB = 5.0, 1 << 20
"""Per file: a hundred times what a small file takes that is whole."""


def _broken(certificate: Certificate) -> Break:
    """Where the quarter turn breaks."""
    assert certificate.first_break is not None
    return certificate.first_break


def test_tensors_of_one_name_are_told_apart() -> None:
    """Names mean nothing in TFLite; a file may give one to all, or to none."""
    for names in (b"x", b"", b"x#3"):

        def rename(model: Any, graph: Any, names: bytes = names) -> None:
            for number, tensor in enumerate(graph.tensors):
                tensor.name = names if number % 3 else b"x"

        certificate = certify("tflite", edited(small("C4").files["tflite"], rename))
        assert (certificate.group, certificate.operators) == (
            "C4",
            certify("tflite", small("C4").files["tflite"]).operators,
        )


def _twice(model: Any, graph: Any) -> None:
    """Two subgraphs."""
    model.subgraphs.append(graph)


def _backwards(model: Any, graph: Any) -> None:
    """Operators in reverse order."""
    graph.operators.reverse()


def _made_twice(model: Any, graph: Any) -> None:
    """One operator two times."""
    graph.operators.append(graph.operators[-1])


def _two_outputs(model: Any, graph: Any) -> None:
    """Two outputs."""
    graph.outputs = np.array([*graph.outputs, graph.outputs[0] - 1], np.int32)


def _no_output(model: Any, graph: Any) -> None:
    """An output that is no tensor."""
    graph.outputs = np.array([-1], np.int32)


def _beyond(model: Any, graph: Any) -> None:
    """An input that is no tensor."""
    graph.operators[3].inputs = np.array([len(graph.tensors)], np.int32)


def _huge(model: Any, graph: Any) -> None:
    """An image of 2^40 pixels."""
    graph.tensors[graph.inputs[0]].shape = np.array([1, 2**20, 2**20, 3], np.int32)


def _open_size(model: Any, graph: Any) -> None:
    """An image of no fixed size."""
    graph.tensors[graph.inputs[0]].shape = np.array([1, -1, -1, 3], np.int32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_twice, "has 2 subgraphs"),
        (_backwards, "read before it is made"),
        (_made_twice, "made twice"),
        (_two_outputs, "2 outputs"),
        (_no_output, "damaged"),
        (_beyond, "damaged"),
        (_huge, "too large"),
        (_open_size, "of fixed size"),
    ],
)
def test_files_that_are_not_one_network(
    change: Callable[[Any, Any], None], reason: str
) -> None:
    """One line that says what was found."""
    with pytest.raises(InputError, match=reason) as caught:
        certify("tflite", edited(small("C4").files["tflite"], change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.tflite", "a.onnx"])
@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\0" * 64, b"\x1c\0\0\0TFL3" + b"\xff" * 64]
)
def test_no_file_at_all(name: str, data: bytes) -> None:
    """Nothing, zeros, and a beginning without an end."""
    with pytest.raises(InputError, match=r"^a\."):
        certify_any(data, name)


def test_paths_that_hold_no_file(tmp_path: Path) -> None:
    """A directory that is no bundle, and nothing."""
    for path in (tmp_path, tmp_path / "missing.tflite"):
        with pytest.raises(InputError):
            certify_path(path)


def test_a_scale_that_is_no_number_can_be_reported() -> None:
    """JSON has no NaN, so it is text there."""
    made = small("C4")
    changed = editor("tflite", made.files["tflite"])
    scales = changed.get(made.names["stem"], "weight scale")
    scales[1] = np.nan
    changed.put(made.names["stem"], "weight scale", scales)
    certificate = certify("tflite", changed.data())
    plain = json.loads(json.dumps(certificate.to_dict(), allow_nan=False))
    (found,) = (b for b in plain["breaks"] if b["motion"] == [1, False])
    assert (found["operator"], found["channel"]) == (made.names["stem"], 1)
    assert found["found"] == "nan"


def _require_an_answer(kind: str, data: bytes) -> Certificate | None:
    """A certificate or an `InputError`, soon and in little memory."""
    start, before = time.monotonic(), _peak()
    certificate, lines = None, 1
    try:
        certificate = certify(kind, data)
    except InputError as error:
        lines = len(str(error).splitlines())
    assert lines == 1
    assert time.monotonic() - start < LIMIT_S
    assert _peak() - before < LIMIT_KIB
    return certificate


def _peak() -> int:
    """Most memory that this process ever had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_files(kind: str) -> None:
    """Cut off anywhere: nothing is proven."""
    data = small("C4").files[kind]
    for end in np.random.default_rng(0).integers(0, len(data), 50):
        certificate = _require_an_answer(kind, data[:end])
        assert certificate is None or not certificate.proof.proven


@pytest.mark.parametrize("kind", FORMATS)
def test_files_with_other_bytes(kind: str) -> None:
    """One to three bits flipped: many kinds of damage, no other exception."""
    data, rng, answers = small("C4").files[kind], np.random.default_rng(1), []
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] ^= 1 << rng.integers(8)
        answers.append(_require_an_answer(kind, bytes(damaged)))
    read = [answer for answer in answers if answer is not None]
    assert 20 < len(read) < 180
    assert any(QUARTER_TURN in answer.proof.breaks for answer in read)
