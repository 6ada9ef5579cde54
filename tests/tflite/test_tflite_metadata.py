"""Metadata of TFLite files, read slot by slot; clients read it in tests/clients."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import flatbuffers
import numpy as np
import pytest
from flatbuffers import number_types as kinds
from flatbuffers.table import Table as Read

from mobileq.contract import Contract, EndType, Head
from mobileq.graph.fields import trivial_fields
from mobileq.graph.nodes import Input
from mobileq_tflite.flatfile import unpack
from mobileq_tflite.float_writer import write_float
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.metadata import (
    BUFFER,
    LABELS,
    Byte,
    Table,
    Word,
    model_metadata,
    with_labels,
)
from mobileq_tflite.runner import TfliteRunner
from support.handmade import handmade_graph, handmade_spec, random_pixels

NAMES = ("Ä b", "c")


def root(data: bytes) -> Read:
    """The table that a flatbuffer begins with."""
    place = flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0)
    return Read(bytearray(data), place)


def slot(table: Read, number: int) -> int:
    """Where a field lies; 0 if it is left out."""
    offset = int(table.Offset(4 + 2 * number))
    return table.Pos + offset if offset else 0


def text(table: Read, number: int) -> str | None:
    """A field with text."""
    place = slot(table, number)
    return table.String(place).decode() if place else None


def child(table: Read, number: int) -> Read:
    """A field with a table."""
    return Read(table.Bytes, table.Indirect(slot(table, number)))


def children(table: Read, number: int) -> list[Read]:
    """A field with a vector of tables."""
    place = int(table.Offset(4 + 2 * number))
    if not place:
        return []
    first, count = table.Vector(place), table.VectorLen(place)
    return [Read(table.Bytes, table.Indirect(first + 4 * i)) for i in range(count)]


def floats(table: Read, number: int) -> list[float]:
    """A field with a vector of float32."""
    place = int(table.Offset(4 + 2 * number))
    first, count = table.Vector(place), table.VectorLen(place)
    return [table.Get(kinds.Float32Flags, first + 4 * i) for i in range(count)]


def metadata(file: bytes) -> bytes:
    """The metadata buffer of a TFLite file."""
    model = unpack(file)
    found = [e for e in model.metadata if e.name.decode() == BUFFER]
    (entry,) = found
    return bytes(model.buffers[entry.buffer].data)


@pytest.mark.parametrize(
    ("end", "low", "high"),
    [("uint8", 0, 255), ("int8", -128, 127), ("float32", -1.5, 1.6875)],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tables_say_how_pixels_are_normalized(
    end: EndType, low: float, high: float, channels: int
) -> None:
    """Mean, deviation, range, size and colours of an image that is not square."""
    fields = trivial_fields(channels)
    image = Input(
        "x", (), (channels, 20, 30), fields, pixel_scale=1 / 80, pixel_zero=120
    )
    data = model_metadata(Contract(description="What for."), image, end)
    assert data[4:8] == b"M001"
    told = root(data)
    assert (text(told, 0), text(told, 1), text(told, 7)) == (
        "mobileq",
        "What for.",
        "1.0.0",
    )
    (subgraph,) = children(told, 3)
    (source,) = children(subgraph, 2)
    (unit,) = children(source, 4)
    options = child(unit, 1)
    assert (floats(options, 0), floats(options, 1)) == ([120], [80])
    assert np.allclose([*floats(child(source, 5), 1)], [low], rtol=1e-6, atol=0)
    assert np.allclose([*floats(child(source, 5), 0)], [high], rtol=1e-6, atol=0)
    picture = child(child(source, 3), 1)
    place = slot(picture, 0)
    colours = picture.Get(kinds.Int8Flags, place) if place else 0
    assert colours == {1: 2, 3: 1, 4: 0}[channels]
    size = child(picture, 1)
    extents = [size.Get(kinds.Uint32Flags, slot(size, i)) for i in (0, 1)]
    assert extents == [30, 20]


@pytest.mark.parametrize("head", list(Head))
def test_files_name_their_labels(head: Head) -> None:
    """The output names the file in the archive; the archive holds it, uncompressed."""
    graph = handmade_graph(size=9)
    contract = Contract(head=head, labels=NAMES)
    for file in (
        write_int8(graph, handmade_spec(graph), contract),
        write_float(graph, contract),
    ):
        (subgraph,) = children(root(metadata(file)), 3)
        (result,) = children(subgraph, 3)
        assert text(result, 0) == head.output
        (named,) = children(result, 6)
        assert text(named, 0) == LABELS
        assert named.Get(kinds.Int8Flags, slot(named, 2)) == 2  # TENSOR_AXIS_LABELS
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            (entry,) = archive.infolist()
            assert entry.compress_type == zipfile.ZIP_STORED
            assert archive.read(LABELS).decode().split("\n") == list(NAMES)
            assert archive.testzip() is None


def test_labels_behind_a_file_change_nothing_else() -> None:
    """The file without them is the beginning, and computes the same."""
    graph = handmade_graph(size=9)
    spec, pixels = handmade_spec(graph), random_pixels(graph, 2)
    plain = write_int8(graph, spec)
    assert with_labels(plain, Contract()) == plain
    named = with_labels(plain, Contract(labels=NAMES))
    assert named.startswith(plain)
    assert named == with_labels(plain, Contract(labels=NAMES))
    found = TfliteRunner(named, kernels="reference").outputs(pixels)
    wanted = TfliteRunner(plain, kernels="reference").outputs(pixels)
    assert np.array_equal(found, wanted)


def test_any_table_comes_back() -> None:
    """Every kind of field, with empty and missing ones between them."""
    inner = Table({1: "inside"})
    fields: dict[int, Any] = {
        0: "ü",
        2: Byte(3),
        3: Word(2**32 - 1),
        5: (0.5, -2.0),
        6: inner,
        8: [inner, Table({}), inner],
    }
    builder = flatbuffers.Builder(16)
    builder.Finish(Table(fields).write(builder))
    found = root(bytes(builder.Output()))
    assert (text(found, 0), text(found, 1)) == ("ü", None)
    assert found.Get(kinds.Int8Flags, slot(found, 2)) == 3
    assert found.Get(kinds.Uint32Flags, slot(found, 3)) == 2**32 - 1
    assert floats(found, 5) == [0.5, -2.0]
    assert text(child(found, 6), 1) == "inside"
    assert [text(one, 1) for one in children(found, 8)] == ["inside", None, "inside"]
    assert slot(found, 9) == 0
