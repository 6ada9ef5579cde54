"""What a TFLite file takes and returns, from its bytes alone.

A flatbuffer is tables whose fields are found by offsets (flatbuffers.dev, "internals");
of LiteRT's schema.fbs the first subgraph's input and output are wanted. Offsets of a
damaged file lead anywhere, so every read is checked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mobileq_android.errors import PhoneError, one_line

_SUBGRAPHS, _TENSORS, _INPUTS, _OUTPUTS = 2, 0, 1, 2
_SHAPE, _TYPE, _NAME = 0, 1, 3
_TYPES = {0: ("float32", 4), 3: ("uint8", 1), 9: ("int8", 1)}
_LONGEST_NAME = 4096


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: Of the tensor.
        shape: With the batch; an image is (1, H, W, C).
        kind: `float32`, `uint8` or `int8`.
        item_bytes: Of one number.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    item_bytes: int


def ends_of(data: bytes, name: str) -> tuple[Tensor, Tensor]:
    """Input and output of a file that has one of each.

    Args:
        data: The file.
        name: Of it, for messages.

    Raises:
        PhoneError: it is damaged, or has several, or of other types.
    """
    try:
        graph = _Table.root(data).tables(_SUBGRAPHS)[0]
        tensors = graph.tables(_TENSORS)
        inputs, outputs = graph.numbers(_INPUTS), graph.numbers(_OUTPUTS)
        if len(inputs) != 1 or len(outputs) != 1 or min(*inputs, *outputs) < 0:
            raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs")
        return _tensor(tensors[inputs[0]]), _tensor(tensors[outputs[0]])
    except (struct.error, ValueError, IndexError) as error:
        raise PhoneError(
            f"{name}: is damaged, or not of mobileq ({one_line(str(error))}); wanted a "
            f"TFLite file with one input and one output (export it again)"
        ) from error


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer."""

    data: bytes
    place: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        """The first one."""
        return cls(data, _uint(data, 0))

    def field(self, number: int) -> int | None:
        """Where a field is; None if it has its default."""
        vtable = self.place - _int(self.data, self.place)
        offset = 4 + 2 * number
        if offset >= _short(self.data, vtable):
            return None
        found = _short(self.data, vtable + offset)
        return self.place + found if found else None

    def vector(self, number: int) -> tuple[int, int]:
        """Where a vector begins, and how long it is; nowhere and 0 without one."""
        field = self.field(number)
        if field is None:
            return 0, 0
        start = field + _uint(self.data, field)
        count = _uint(self.data, start)
        if count > len(self.data):
            raise ValueError(f"a vector of {count} items")
        return start + 4, count

    def tables(self, number: int) -> list[_Table]:
        """Tables of a vector."""
        start, count = self.vector(number)
        places = range(start, start + 4 * count, 4)
        return [_Table(self.data, place + _uint(self.data, place)) for place in places]

    def numbers(self, number: int) -> list[int]:
        """Whole numbers of a vector."""
        start, count = self.vector(number)
        return [_int(self.data, start + 4 * i) for i in range(count)]


def _tensor(table: _Table) -> Tensor:
    """What a table says of a tensor.

    Raises:
        ValueError: something impossible.
    """
    field = table.field(_TYPE)
    number = 0 if field is None else _byte(table.data, field)
    if number not in _TYPES:
        raise ValueError(f"a tensor of type {number}")
    start, count = table.vector(_NAME)
    name = table.data[start : start + min(count, _LONGEST_NAME)].decode("utf-8")
    shape = tuple(table.numbers(_SHAPE))
    if not shape or min(shape) < 1:
        raise ValueError(f"a tensor of shape {shape}")
    return Tensor(name, shape, *_TYPES[number])


def _read(data: bytes, place: int, form: str) -> int:
    """A little-endian number.

    Raises:
        ValueError: it is outside of the file.
    """
    if place < 0:
        raise ValueError(f"an offset of {place}")
    return int(struct.unpack_from(form, data, place)[0])


def _uint(data: bytes, place: int) -> int:
    """Four bytes without sign."""
    return _read(data, place, "<I")


def _int(data: bytes, place: int) -> int:
    """Four bytes with sign."""
    return _read(data, place, "<i")


def _short(data: bytes, place: int) -> int:
    """Two bytes without sign."""
    return _read(data, place, "<H")


def _byte(data: bytes, place: int) -> int:
    """One byte with sign."""
    return _read(data, place, "<b")
