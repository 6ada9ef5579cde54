"""Constants of an ONNX file: plain ones, and integers with scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.checks import Unreadable
from mobileq_onnx.parsed import Call


@dataclass(frozen=True, eq=False)
class Stored:
    """A quantized constant.

    Attributes:
        integers: As in the file.
        scale: () or (n,).
        zero_point: The same shape.
        axis: That n scales belong to.
    """

    integers: NDArray[Any]
    scale: NDArray[Any]
    zero_point: NDArray[np.int64]
    axis: int

    @property
    def centred(self) -> NDArray[np.int64]:
        """Integers less their zero point."""
        shape = [1] * self.integers.ndim
        if self.zero_point.ndim:
            shape[self.axis] = -1
        return self.integers.astype(np.int64) - self.zero_point.reshape(shape)

    def per_channel(self, axis: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(n,) scales and zero points of the slices along an axis."""
        out = self.integers.shape[axis]
        if self.scale.size > 1 and (self.scale.shape != (out,) or self.axis != axis):
            raise Unreadable(
                f"a constant has {self.scale.size} scales on axis {self.axis}; wanted "
                f"one, or {out} on axis {axis}"
            )
        return np.broadcast_to(self.scale.ravel(), out), np.broadcast_to(
            self.zero_point.ravel(), out
        )


class Constants:
    """Everything that does not depend on the image, by tensor name.

    Args:
        plain: Arrays as they are in the file.
    """

    def __init__(self, plain: Mapping[str, NDArray[Any]]) -> None:
        self._plain = plain
        self._stored: dict[str, Stored] = {}

    def __contains__(self, name: str) -> bool:
        """Whether a tensor is stored in the file."""
        return name in self._plain or name in self._stored

    def store(self, name: str, constant: Stored) -> None:
        """Note a dequantized constant."""
        self._stored[name] = constant

    def plain(self, name: str) -> NDArray[Any]:
        """A constant as it is in the file.

        Raises:
            Unreadable: there is none.
        """
        if name not in self._plain:
            raise Unreadable(f"{name!r} is computed; wanted a constant")
        return self._plain[name]

    def quantized(self, name: str) -> Stored:
        """A dequantized constant.

        Raises:
            Unreadable: there is none.
        """
        if name not in self._stored:
            raise Unreadable(f"{name!r} is no quantized constant")
        return self._stored[name]

    def values(self, name: str) -> NDArray[Any]:
        """Values of either kind; integers if they have one scale.

        Raises:
            Unreadable: there is none, or it has several scales.
        """
        if name in self._plain:
            return self._plain[name]
        stored = self.quantized(name)
        if stored.scale.ndim:
            raise Unreadable(f"{name!r} has {stored.scale.size} scales; wanted one")
        return stored.centred

    def parameters(self, call: Call) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Scale and zero point of a quantize or dequantize operator.

        Raises:
            Unreadable: they are computed, or in blocks.
        """
        values = [self.plain(name) for name in call.inputs[1:] if name]
        values.append(np.zeros(values[0].shape, np.int64))
        # One number may be () or (1,), and not the same in both.
        scale, zero = (v.reshape(()) if v.size == 1 else v for v in values[:2])
        if call.attributes.get("block_size") or zero.shape != scale.shape:
            raise Unreadable("its scales are in blocks; wanted one, or one a channel")
        return scale, zero.astype(np.int64)


def layer_numbers(
    weight: Stored, bias: Stored | None, axis: int
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """What is known of each output channel of a layer.

    Args:
        weight: Of 4 axes OIHW, or of 2.
        bias: (O,), if it has one.
        axis: Of the weight that output channels lie on.

    Returns:
        (O, I, kh, kw) integers, and (O,) numbers by name.

    Raises:
        Unreadable: integers that no integer kernel takes.
    """
    filters = np.moveaxis(weight.centred, axis, 0)
    if filters.ndim == 2:
        filters = filters[:, :, None, None]
    if weight.integers.dtype.itemsize != 1:
        raise Unreadable(f"its weights are {weight.integers.dtype}; wanted 8 bits")
    scale, zero = weight.per_channel(axis)
    for channel in np.flatnonzero(zero != np.median(zero))[:1]:
        raise Unreadable(
            f"the weight zero point of channel {channel} is {zero[channel]}; wanted "
            f"{np.median(zero):.0f} as in the others, as kernels demand"
        )
    numbers: dict[str, NDArray[Any]] = {"weight scale": scale}
    if bias is not None:
        kind, shape = bias.integers.dtype, bias.integers.shape
        fits = kind == np.int32 and shape == (len(filters),)
        if not fits or bias.zero_point.any():
            raise Unreadable(f"its bias is {kind} {shape}; wanted int32 sums")
        numbers["bias"] = bias.centred
        numbers["bias scale"] = bias.per_channel(0)[0]
    return filters, numbers
