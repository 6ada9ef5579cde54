"""Read an integer ONNX file as a `Program`, for a proof.

Independent of the writer on purpose: it knows the format from ONNX's operators alone.
"""

from __future__ import annotations

import numpy as np

from mobileq.errors import InputError
from mobileq.proof.checks import Unreadable
from mobileq.proof.program import Convolve, Program
from mobileq_onnx.parsed import parse
from mobileq_onnx.rules import Reader
from mobileq_onnx.values import ASSUMPTIONS, SATURATING, UNSATURATED_WEIGHT


def read_program(data: bytes, name: str) -> Program:
    """Read an ONNX file.

    Args:
        data: The file.
        name: For messages.

    Raises:
        InputError: no ONNX file, a damaged one, one with weights outside, or one that
            does not take one image and return one tensor.
    """
    file = parse(data, name)
    try:
        reader = Reader(file)
    except Unreadable as reason:
        raise InputError(f"{name}: the input cannot be followed: {reason}") from None
    for call in file.calls:
        reader.read(call)
    builder, result = reader.builder, file.result
    if not builder.known(result) or builder.mixed(result):
        builder.add_opaque(
            "output", [result], "output", (1, 1), "it is no function of the image"
        )
        result = "output"
    builder.shape(result)
    layers = [o for o in builder.operators if isinstance(o, Convolve)]
    largest = max((int(np.abs(layer.weight).max()) for layer in layers), default=0)
    saturating = (SATURATING,) if largest > UNSATURATED_WEIGHT else ()
    assumptions = (*ASSUMPTIONS, *saturating)
    return Program("ONNX", tuple(builder.operators), result, assumptions)
