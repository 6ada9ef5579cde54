"""Name the number that breaks a symmetry.

Some channel, turned, is no channel of the layer. Which number is to blame is found by
looking for the channel that it almost is. A single wrong number spoils two matches,
that of the channel before it in the orbit and its own; the channel that takes part in
both is the offending one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.rules import Channels, Part

MOST = 64
"""Channels that are looked at; a layer without any symmetry has thousands."""

LINK = 1_000_000
"""More than a channel has numbers."""


@dataclass(frozen=True)
class Witness:
    """Two numbers that should be equal.

    Attributes:
        channel: The offending channel of the result.
        parameter: What differs there, such as `weight[input channel 3, row 0]`.
        found: Its number.
        turned: The channel that, moved, should be this one.
        wanted: The number that it would bring along.
        differences: In how many numbers the two differ.
    """

    channel: int
    parameter: str
    found: float
    turned: int
    wanted: float
    differences: int

    def sentence(self, motion: str) -> str:
        """A clause for people."""
        more = self.differences - 1
        others = f", and {more} more numbers differ" if more else ""
        return (
            f"{self.parameter} of channel {self.channel} is {self.found:.9g}; wanted "
            f"{self.wanted:.9g}, as in channel {self.turned} {motion} (a difference of "
            f"{self.found - self.wanted:.3g}{others})"
        )


def find_witness(
    found: Sequence[Part],
    to_channel: NDArray[np.int64],
    inputs: Sequence[Channels],
    channels: int,
) -> Witness:
    """Find the offending channel and its first number that differs.

    Args:
        found: Description of the output channels.
        to_channel: (C,) channel that each one becomes; -1 for some.
        inputs: The operator's input tensors, to name channels for classes.
        channels: C.
    """
    values = _table([p.values for p in found], channels)
    moved = _table([p.moved for p in found], channels)
    # A channel that reads another one does something else, however like its numbers.
    price = np.concatenate([np.full(_size(p), LINK if p.links else 1) for p in found])
    lost = np.flatnonzero(to_channel < 0)[:MOST]
    # A channel that some other one becomes is taken.
    free = np.setdiff1d(np.arange(channels), to_channel)
    pairs = []
    for channel in lost:
        apart = _differ(values[free], moved[channel]) @ price
        best = int(apart.argmin())
        pairs.append((int(channel), int(free[best]), int(apart[best])))
    often = Counter(c for turned, near, _ in pairs for c in {turned, near})
    turned, near, _ = min(pairs, key=lambda pair: (pair[2], -often[pair[1]], pair[:2]))
    differing = np.flatnonzero(_differ(values[near], moved[turned]))
    position = int(differing[0])
    name = _name(found, position, inputs)
    return Witness(
        near,
        name,
        float(values[near, position]),
        turned,
        float(moved[turned, position]),
        len(differing),
    )


def _differ(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[Any]:
    """Where numbers are not the same; the two zeros are not, as the proof sees it."""
    signs: NDArray[Any] = np.signbit(first) != np.signbit(second)
    return np.asarray((first != second) | signs)


def _table(arrays: Sequence[NDArray[Any]], channels: int) -> NDArray[np.float64]:
    """(C, n): all numbers of each channel; every 32-bit integer is a float64."""
    rows = [a.reshape(len(a), -1).astype(np.float64) for a in arrays]
    return np.concatenate(
        [np.broadcast_to(r, (channels, r.shape[1])) for r in rows], axis=1
    )


def _size(part: Part) -> int:
    """Numbers of each channel."""
    return int(np.prod(part.values.shape[1:], dtype=np.int64))


def _name(found: Sequence[Part], position: int, inputs: Sequence[Channels]) -> str:
    """What the number at a column of the table is."""
    for part in found:
        if position >= _size(part):
            position -= _size(part)
            continue
        shape = part.values.shape[1:]
        index = list(np.unravel_index(position, shape)) if shape else []
        if not index:
            return part.name
        if part.axes[0] == "input channel":
            index[0] = np.flatnonzero(inputs[0].labels == index[0])[0]
        named = zip(part.axes, index, strict=True)
        return f"{part.name}[{', '.join(f'{axis} {i}' for axis, i in named)}]"
    raise IndexError(position)
