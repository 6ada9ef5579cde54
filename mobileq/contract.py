"""What a file takes and what it returns, as far as its user decides it.

A network is trained on normalized images and returns logits. The file that an app
loads may take pixels as the camera has them, and return scores with names. Between the
two lie operators that change no integer of the network: the `Contract` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from mobileq.errors import InputError
from mobileq.reading import read_bounded

EndType = Literal["uint8", "int8", "float32"]
END_TYPES: tuple[EndType, ...] = ("uint8", "int8", "float32")

LONGEST_LABEL = 200
"""Characters; lists of labels are read into memory by apps."""

MOST_LABELS = 2**24
"""Bytes of a file with labels."""

LARGEST_BATCH = 4096


class Head(Enum):
    """What follows the logits."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"

    @property
    def output(self) -> str:
        """What the file returns: `logits` or `scores`."""
        return "logits" if self is Head.NONE else "scores"


@dataclass(frozen=True)
class Contract:
    """The ends of the files.

    Attributes:
        end_type: Type of the input and of a TFLite file's output; None for what fits
            each file: uint8 for integer files, float32 for float ones. `uint8` holds
            for all files. `int8` is for integer TFLite files, and leaves all others as
            they are.
        head: What follows the logits.
        labels: A name for each class; none if they have no names.
        name: Of the network, for people; a checkpoint's group and kind by default.
        description: What it is for, for people; one line.
        batch: Images that an ONNX file takes at once; None for any number. TFLite
            files take one.
    """

    end_type: EndType | None = None
    head: Head = Head.NONE
    labels: tuple[str, ...] = ()
    name: str = ""
    description: str = ""
    batch: int | None = 1

    def __post_init__(self) -> None:
        """Check.

        Raises:
            InputError: an unknown type, labels that cannot be told apart, text of more
                than one line, or an impossible batch.
        """
        if self.end_type is not None:
            parse_end(self.end_type)
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise InputError(
                f"batch is {self.batch}; wanted 1 to {LARGEST_BATCH}, or dynamic"
            )
        for what in ("name", "description"):
            _check_line(what, getattr(self, what))
        first: dict[str, int] = {}
        for number, label in enumerate(self.labels, 1):
            _check_label(number, label)
            if first.setdefault(label, number) != number:
                raise InputError(
                    f"labels {first[label]} and {number} are both {label!r}; wanted a "
                    f"name of its own for each class"
                )

    def end(self, *, integer: bool) -> EndType:
        """Type of a file's input.

        Args:
            integer: Whether the file computes in integers.
        """
        if integer:
            return self.end_type or "uint8"
        return "uint8" if self.end_type == "uint8" else "float32"

    def check(self, classes: int, formats: Sequence[str], *, int8: bool) -> None:
        """Check that it fits a network and the files that are made of it.

        Args:
            classes: Number of logits.
            formats: Some of `onnx`, `tflite`.
            int8: Whether integer files are made.

        Raises:
            InputError: another number of labels, a type that no file has, or a softmax
                over one logit.
        """
        if self.labels and len(self.labels) != classes:
            raise InputError(
                f"{len(self.labels)} labels for {classes} classes; wanted one for each "
                f"(--labels FILE, one in each line)"
            )
        if self.end_type == "int8" and not ("tflite" in formats and int8):
            raise InputError(
                "input type is int8, which only integer TFLite files have; wanted "
                "--int8 and tflite among --formats"
            )
        if self.head is Head.SOFTMAX and classes < 2:
            raise InputError(
                "softmax of one logit is always 1; wanted --head sigmoid for a network "
                "with one output"
            )
        if self.batch != 1 and "onnx" not in formats:
            raise InputError(
                "TFLite files take one image at a time; wanted onnx among --formats "
                "for another --batch"
            )


def read_labels(path: Path) -> tuple[str, ...]:
    """Read labels from a text file in UTF-8, one in each line.

    Empty lines at the end are left out.

    Raises:
        InputError: it cannot be read, is not text, or holds no label.
    """
    try:
        text = read_bounded(path, MOST_LABELS).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(
            f"{path}: cannot be read ({reason}); wanted a text file with one label in "
            f"each line"
        ) from error
    labels = tuple(line.strip() for line in text.rstrip().splitlines())
    if not labels:
        raise InputError(f"{path}: holds no label; wanted one in each line")
    return labels


def parse_batch(text: str) -> int | None:
    """Read a number of images; `dynamic` is None.

    Raises:
        InputError: neither.
    """
    if text == "dynamic":
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"batch is {text!r}; wanted a number or dynamic") from None


def parse_end(text: str) -> EndType:
    """Read the name of an input's type.

    Raises:
        InputError: there is none of this name.
    """
    for known in END_TYPES:
        if text == known:
            return known
    raise InputError(f"input type is {text!r}; wanted {', '.join(END_TYPES)}")


def parse_head(text: str) -> Head:
    """Read the name of a head.

    Raises:
        InputError: there is none of this name.
    """
    try:
        return Head(text)
    except ValueError:
        names = ", ".join(head.value for head in Head)
        raise InputError(f"head is {text!r}; wanted {names}") from None


def _check_label(number: int, label: str) -> None:
    """Check one label.

    Raises:
        InputError: it is empty, too long, or of several lines.
    """
    if not label.strip():
        raise InputError(f"label {number} is empty; wanted a name for each class")
    if len(label) > LONGEST_LABEL:
        raise InputError(
            f"label {number} has {len(label)} characters; wanted at most "
            f"{LONGEST_LABEL}"
        )
    _check_line(f"label {number}", label)


def _check_line(what: str, text: str) -> None:
    """Check that a text is one line that can be written in UTF-8.

    Raises:
        InputError: it is not.
    """
    plain = all(char.isprintable() for char in text)
    # An unpaired surrogate is not printable either.
    if not plain:
        raise InputError(f"{what} is {text!r}; wanted one line of printable text")
