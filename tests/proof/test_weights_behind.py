"""TFLite files whose constants lie behind the flatbuffer, as other tools write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mobileq.errors import InputError
from mobileq_tflite.flatfile import pack
from mobileq_tflite.runner import TfliteRunner
from support.certified import SIZE, certify, small
from support.networks import random_pixels

ALIGNED = 16


def unpack(data: bytes) -> Any:
    """All of a file, as LiteRT's schema has it."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def moved_behind(data: bytes) -> bytes:
    """The same file with all constants behind the flatbuffer."""
    model = unpack(data)
    kept = []
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data):
            kept.append((buffer, bytes(buffer.data)))
            buffer.data, buffer.offset, buffer.size = None, 2, len(kept[-1][1])
    # Offsets have 8 bytes whatever they are, so the length is known before them.
    end = len(pack(model))
    parts = []
    for buffer, content in kept:
        start = -(-end // ALIGNED) * ALIGNED
        parts += [bytes(start - end), content]
        buffer.offset, end = start, start + len(content)
    return bytes(pack(model)) + b"".join(parts)


def test_the_proof_is_the_same() -> None:
    """Same group, same numbers; and the runtime computes the same of both files."""
    data = small("C4").files["tflite"]
    moved = moved_behind(data)
    one, other = certify("tflite", data).to_dict(), certify("tflite", moved).to_dict()
    assert one.pop("sha256") != other.pop("sha256")
    assert one == other
    pixels = random_pixels(4, (3, SIZE, SIZE), 0)
    first, second = (
        TfliteRunner(file, kernels="reference").outputs(pixels)
        for file in (data, moved)
    )
    assert np.array_equal(first, second)


def test_a_changed_weight_breaks_it() -> None:
    """The numbers behind are looked at."""
    data = small("C4").files["tflite"]
    weight = next(
        bytes(unpack(data).buffers[tensor.buffer].data)
        for tensor in unpack(data).subgraphs[0].tensors
        if tensor.name == f"{small('C4').names['stem']};weight".encode()
    )
    moved = bytearray(moved_behind(data))
    moved[moved.rindex(weight)] ^= 1
    assert certify("tflite", bytes(moved)).group == "C1"


def cut(moved: bytes) -> bytes:
    """Without most of what is behind."""
    return moved[: len(pack(unpack(moved))) + ALIGNED]


def twice(moved: bytes) -> bytes:
    """With one constant inside, too."""
    model = unpack(moved)
    for buffer in model.buffers:
        if buffer.size:
            buffer.data = np.zeros(3, np.uint8)
    return bytes(pack(model)) + moved


def far(moved: bytes) -> bytes:
    """With an offset that no file reaches."""
    model = unpack(moved)
    for buffer in model.buffers:
        if buffer.size:
            buffer.offset = 2**63
    return bytes(pack(model))


@pytest.mark.parametrize("change", [cut, twice, far])
def test_what_is_not_there_is_one_line(change: Callable[[bytes], bytes]) -> None:
    """Cut off, beyond the end, or in both places."""
    damaged = change(moved_behind(small("C4").files["tflite"]))
    with pytest.raises(InputError, match="damaged") as caught:
        certify("tflite", damaged)
    assert "bytes lies at" in str(caught.value)
    assert "\n" not in str(caught.value)
