"""The contract: what is refused, and what each file makes of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.contract import (
    Contract,
    EndType,
    Head,
    parse_batch,
    parse_end,
    parse_head,
    read_labels,
)
from mobileq.errors import InputError

BOTH = ("onnx", "tflite")


@pytest.mark.parametrize(
    ("asked", "integer", "wanted"),
    [
        (None, True, "uint8"),
        (None, False, "float32"),
        ("uint8", False, "uint8"),
        ("int8", True, "int8"),
        ("int8", False, "float32"),
        ("float32", True, "float32"),
    ],
)
def test_types_of_the_ends(asked: EndType | None, integer: bool, wanted: str) -> None:
    """By default they fit the file; int8 is for integer files alone."""
    assert Contract(end_type=asked).end(integer=integer) == wanted


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", "b", "a"), "labels 1 and 3 are both 'a'"),
        (("a", ""), "label 2 is empty"),
        (("a", "b\x07"), "wanted one line of printable text"),
        (("a", "b\nc"), "wanted one line of printable text"),
        (("a", "\udc80"), "wanted one line of printable text"),
        (("a" * 201,), "label 1 has 201 characters; wanted at most 200"),
    ],
)
def test_labels_that_cannot_be_told_apart(
    labels: tuple[str, ...], message: str
) -> None:
    """Each class needs a name of its own, of one line."""
    with pytest.raises(InputError, match=message):
        Contract(labels=labels)


@pytest.mark.parametrize(
    ("contract", "formats", "int8", "message"),
    [
        (Contract(labels=("a", "b")), BOTH, True, "2 labels for 3 classes"),
        (Contract(end_type="int8"), BOTH, False, "only integer TFLite files have"),
        (Contract(end_type="int8"), ("onnx",), True, "only integer TFLite files have"),
        (Contract(batch=2), ("tflite",), True, "wanted onnx among --formats"),
        (Contract(batch=None), ("tflite",), True, "wanted onnx among --formats"),
    ],
)
def test_contracts_that_do_not_fit_the_files(
    contract: Contract, formats: tuple[str, ...], int8: bool, message: str
) -> None:
    """What no file could keep is refused before anything is made."""
    with pytest.raises(InputError, match=message):
        contract.check(3, formats, int8=int8)
    Contract().check(3, formats, int8=int8)


def test_softmax_of_one_logit_is_refused() -> None:
    """It would always be 1."""
    with pytest.raises(InputError, match="wanted --head sigmoid"):
        Contract(head=Head.SOFTMAX).check(1, BOTH, int8=True)
    Contract(head=Head.SIGMOID).check(1, BOTH, int8=True)


def test_names_of_options() -> None:
    """Every value is read back, and others are refused with the list of names."""
    assert [parse_head(head.value) for head in Head] == list(Head)
    assert parse_batch("dynamic") is None
    assert parse_batch("7") == 7
    assert parse_end("int8") == "int8"
    for call, message in (
        (lambda: parse_head("softplus"), "wanted none, softmax, sigmoid"),
        (lambda: parse_end("int4"), "wanted uint8, int8, float32"),
        (lambda: parse_batch("many"), "wanted a number or dynamic"),
        (lambda: Contract(batch=0), "batch is 0; wanted 1 to 4096"),
        (lambda: Contract(description="a\nb"), "description is 'a"),
    ):
        with pytest.raises(InputError, match=message):
            call()


@given(
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1
        ),
        min_size=1,
        unique=True,
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_labels_are_read_as_they_were_written(labels: list[str], end: str) -> None:
    """Any printable names, with either kind of line end and a mark in front."""
    text = "\ufeff" + end.join(labels) + end * 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.txt"
        path.write_bytes(text.encode())
        assert read_labels(path) == tuple(labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\n", "holds no label"),
        (b"\xff\xfe\x00", r"cannot be read \(not UTF-8\)"),
        (None, r"cannot be read \(No such file"),
    ],
)
def test_files_without_labels(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    """The file and what is wrong with it are named."""
    path = tmp_path / "labels.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_labels(path)
