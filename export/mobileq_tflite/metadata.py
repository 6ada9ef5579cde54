"""TFLite metadata: what Android Studio, ML Kit and MediaPipe Tasks ask a file about.

It lies in a buffer of the model called `TFLITE_METADATA`, a flatbuffer of its own with
the schema metadata_schema.fbs (identifier M001), whose tables are written here slot by
slot; only what a client reads is written. Files that it names, here the labels, are
appended to the model as an uncompressed zip archive.

Sources: metadata_schema.fbs of tensorflow/tflite-support, version 1.0.0 and later.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobileq.contract import Contract, EndType, Head
from mobileq.graph.nodes import Input
from mobileq_tflite.flatfile import AlignedBuffer

BUFFER = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"

PARSER_VERSION = "1.0.0"
"""The schema has had all that is written here since its first version."""

_RGB, _GRAYSCALE, _UNKNOWN = 1, 2, 0
_FEATURE, _IMAGE = 1, 2  # of the union ContentProperties
_NORMALIZATION = 1  # of the union ProcessUnitOptions
_AXIS_LABELS = 2  # of AssociatedFileType

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can name: equal exports have equal bytes."""


@dataclass(frozen=True)
class Byte:
    """A number of one byte, as enumerations are."""

    value: int


@dataclass(frozen=True)
class Word:
    """A number of 32 bits without sign."""

    value: int


@dataclass(frozen=True, eq=False)
class Table:
    """A table of the schema.

    Attributes:
        slots: By position in the schema: text, numbers, a vector of float32, a table,
            or a vector of tables.
    """

    slots: Mapping[int, str | Byte | Word | tuple[float, ...] | Table | list[Table]]

    def write(self, builder: Any) -> int:
        """Write it, children first, into a flatbuffers builder; returns its offset."""
        offsets: dict[int, int] = {}
        for slot, value in self.slots.items():
            if not isinstance(value, Byte | Word):
                offsets[slot] = _written(builder, value)
        builder.StartObject(max(self.slots, default=-1) + 1)
        for slot, value in self.slots.items():
            if isinstance(value, Byte):
                builder.PrependInt8Slot(slot, value.value, 0)
            elif isinstance(value, Word):
                builder.PrependUint32Slot(slot, value.value, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
        return int(builder.EndObject())


def _written(builder: Any, value: str | tuple[float, ...] | Table | list[Table]) -> int:
    """Write what a table points to; returns its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Table):
        return value.write(builder)
    if isinstance(value, tuple):
        return int(builder.CreateNumpyVector(np.asarray(value, np.float32)))
    offsets = [table.write(builder) for table in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def model_metadata(contract: Contract, image: Input, end: EndType) -> bytes:
    """The metadata of a file with one image as input and one row of numbers as output.

    Args:
        contract: Labels, head and texts.
        image: The graph's input: shape and normalization.
        end: Type of the file's input.
    """
    subgraph = Table({2: [_image_table(image, end)], 3: [_output_table(contract)]})
    slots: dict[int, Any] = {0: contract.name or "mobileq"}
    if contract.description:
        slots[1] = contract.description
    slots |= {3: [subgraph], 7: PARSER_VERSION}
    builder = flatbuffers.Builder(1024)
    builder.Finish(Table(slots).write(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _image_table(image: Input, end: EndType) -> Table:
    """The input tensor: an image, and how it was normalized for training."""
    channels, height, width = image.shape
    colours = {1: _GRAYSCALE, 3: _RGB}.get(channels, _UNKNOWN)
    size = Table({0: Word(width), 1: Word(height)})
    content = Table({0: Byte(_IMAGE), 1: Table({0: Byte(colours), 1: size})})
    # Quantized files name the same numbers: clients normalize and quantize, or, for
    # uint8, know that both together leave a pixel as it is.
    zero, scale = float(image.pixel_zero), image.pixel_scale
    normalization = Table({0: (zero,), 1: (1 / scale,)})
    unit = Table({0: Byte(_NORMALIZATION), 1: normalization})
    low, high = (0.0, 255.0)
    if end == "float32":
        low, high = (low - zero) * scale, (high - zero) * scale
    elif end == "int8":
        low, high = low - 128, high - 128
    taken = {"float32": "normalized pixels", "uint8": "pixels as they are"}
    what = taken.get(end, "pixels less 128")
    return Table(
        {
            0: "image",
            1: f"{height} x {width} {what}, {channels} channel(s) last",
            3: content,
            4: [unit],
            5: Table({0: (high,), 1: (low,)}),
        }
    )


def _output_table(contract: Contract) -> Table:
    """The output tensor: a number for each class."""
    kinds = {
        Head.NONE: "Logits: larger is likelier",
        Head.SOFTMAX: "Probabilities (softmax), one for each class",
        Head.SIGMOID: "Probabilities (sigmoid), each class by itself",
    }
    slots: dict[int, Any] = {
        0: contract.head.output,
        1: kinds[contract.head],
        3: Table({0: Byte(_FEATURE), 1: Table({})}),
    }
    if contract.head is not Head.NONE:
        slots[5] = Table({0: (1.0,), 1: (0.0,)})
    if contract.labels:
        what = "Names of the classes, in the order of the output"
        slots[6] = [Table({0: LABELS, 1: what, 2: Byte(_AXIS_LABELS)})]
    return Table(slots)


def attach(model: Any, metadata: bytes) -> None:
    """Add metadata to a `ModelT`, in place of what it had."""
    kept = [entry for entry in model.metadata or [] if _name(entry) != BUFFER]
    entry = schema.MetadataT()
    entry.name = BUFFER
    entry.buffer = len(model.buffers)
    model.buffers = [*model.buffers, AlignedBuffer(metadata)]
    model.metadata = [*kept, entry]


def _name(entry: Any) -> str:
    """Name of an entry, which is bytes where it was read from a file."""
    name = entry.name
    return name.decode() if isinstance(name, bytes) else str(name)


def with_labels(file: bytes, contract: Contract) -> bytes:
    """The file with its labels behind it; as it is if there are none."""
    if not contract.labels:
        return file
    content = io.BytesIO(file)
    content.seek(0, io.SEEK_END)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(LABELS, _EPOCH)
        entry.create_system = 3
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, "\n".join(contract.labels).encode())
    return content.getvalue()
