"""Zeros that a network pads around a tensor before a layer reads it.

They make no node. The value that is padded keeps them, and each convolution or pool
that reads it adds them to its own padding, which has four sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import fx

from mobileq.errors import UnsupportedError
from mobileq.graph.base import NO_PADDING, Padding

PADS = (torch.ops.aten.pad.default, torch.ops.aten.constant_pad_nd.default)
"""Operations that pad."""


@dataclass(frozen=True)
class Value:
    """What a traced value is in the graph.

    Attributes:
        tensor: Name of the tensor.
        padding: Zeros around it that no node has taken in yet.
    """

    tensor: str
    padding: Padding = NO_PADDING


def added(first: Padding, second: Padding) -> Padding:
    """One padding around another one."""
    return Padding(
        first.top + second.top,
        first.bottom + second.bottom,
        first.left + second.left,
        first.right + second.right,
    )


def zeros_around(call: fx.Node, name: str) -> Padding:
    """Zeros that one of `PADS` adds around (B, C, H, W).

    Args:
        call: The operation in the traced program.
        name: Its name for the error message.

    Raises:
        UnsupportedError: it adds something else, or at another axis, or cuts.
    """
    names = ("mode", "value") if call.target is PADS[0] else ("value",)
    options: dict[str, Any] = {"mode": "constant", "value": 0}
    options |= {**dict(zip(names, call.args[2:], strict=False)), **call.kwargs}
    mode, value = options["mode"], options["value"]
    if mode != "constant" or value not in (None, 0):
        raise UnsupportedError(
            f"{name}: pads with mode {mode!r}, value {value}; wanted mode 'constant' "
            f"and value 0"
        )
    widths = cast("Sequence[int]", call.args[1])
    left, right, top, bottom, *others = [*widths, *[0] * (4 - len(widths))]
    flat = len(call.meta["val"].shape) != 4
    if flat or any(others) or min(left, right, top, bottom) < 0:
        raise UnsupportedError(
            f"{name}: pads by {list(widths)}; wanted zeros around (B, C, H, W), as "
            f"(left, right, top, bottom) of 0 or more"
        )
    return Padding(top, bottom, left, right)


def require_unpadded(name: str, values: Sequence[Value]) -> None:
    """Check that nothing is read whose zeros have no place in the reader.

    Args:
        name: The reader.
        values: What it reads.

    Raises:
        UnsupportedError: naming the reader.
    """
    for value in values:
        if value.padding != NO_PADDING:
            raise UnsupportedError(
                f"{name}: reads {value.tensor!r} with {value.padding} around it; "
                f"wanted padding only right before a Conv2d, AvgPool2d or MaxPool2d "
                f"(move it there)"
            )
