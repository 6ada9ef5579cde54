"""What a network pads around a tensor before a layer reads it.

Zeros make no node. The value that is padded keeps them, and each convolution or pool
that reads it adds them to its own padding, which has four sides. Copied pixels (a
mirror image, the border, the other side) are a `Pad` node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import fx

from mobileq.errors import UnsupportedError
from mobileq.graph.base import NO_PADDING, Padding
from mobileq.graph.nodes import PadMode

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


def pad_mode(name: str, mode: str) -> PadMode | None:
    """What is padded: None for zeros.

    Args:
        name: Whose it is, for the error message.
        mode: As torch calls it.

    Raises:
        UnsupportedError: torch has another mode.
    """
    if mode in ("zeros", "constant"):
        return None
    known = [kind.value for kind in PadMode]
    if mode not in known:
        raise UnsupportedError(
            f"{name}: pads with mode {mode!r}; wanted zeros, {', '.join(known)}"
        )
    return PadMode(mode)


def sides_of(call: fx.Node, name: str) -> tuple[Padding, PadMode | None]:
    """What one of `PADS` adds around (B, C, H, W), and of what: None for zeros.

    Args:
        call: The operation in the traced program.
        name: Its name for the error message.

    Raises:
        UnsupportedError: it adds other constants, or at another axis, or cuts.
    """
    names = ("mode", "value") if call.target is PADS[0] else ("value",)
    options: dict[str, Any] = {"mode": "constant", "value": 0}
    options |= {**dict(zip(names, call.args[2:], strict=False)), **call.kwargs}
    mode, value = options["mode"], options["value"]
    kind = pad_mode(name, mode)
    if kind is None and value not in (None, 0):
        raise UnsupportedError(f"{name}: pads with value {value}; wanted 0")
    widths = cast("Sequence[int]", call.args[1])
    left, right, top, bottom, *others = [*widths, *[0] * (4 - len(widths))]
    flat = len(call.meta["val"].shape) != 4
    if flat or any(others) or min(left, right, top, bottom) < 0:
        raise UnsupportedError(
            f"{name}: pads by {list(widths)}; wanted a border of (B, C, H, W), as "
            f"(left, right, top, bottom) of 0 or more"
        )
    return Padding(top, bottom, left, right), kind


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
