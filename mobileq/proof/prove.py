"""Walk through a program and prove, motion by motion, that every operator commutes.

Theorem. Let every operator f of a program satisfy f(g x) = g f(x) for the action of a
motion on its inputs and on its result, and let the action leave the channels of the
output as they are. Then moving the image moves the output, or leaves it unchanged
where it has one value per channel. Proof: by induction over the operators.

The action on a result is not chosen but found (`rules.parts`), so nothing about the
network is believed that is not in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.motions import CHECKED, Motion
from mobileq.proof.program import Convolve, Operator, Program, Source
from mobileq.proof.rules import Channels, Part, parts, source_channels
from mobileq.proof.sampling import Asymmetric
from mobileq.proof.witness import Witness, find_witness

ACCUMULATOR = 2**31
"""Sums below it fit 32-bit registers in whatever order they are made."""

LONGEST_NAME = 60


@dataclass(frozen=True)
class Break:
    """Where a motion cannot pass.

    Attributes:
        position: Of the operator in the program, from 0.
        operator: Name of the tensor that it makes.
        kind: As the file calls it.
        reason: A clause.
        witness: The channel and number that differ, if it is about numbers.
    """

    position: int
    operator: str
    kind: str
    reason: str
    witness: Witness | None = None

    def __str__(self) -> str:
        """One line; converters make names of a thousand letters."""
        name = self.operator
        if len(name) > LONGEST_NAME:
            name = f"{name[:LONGEST_NAME]}..."
        return f"{self.kind} {name!r}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Proof:
    """What was found.

    Attributes:
        proven: Motions of which every operator was proven.
        breaks: By motion, the first operator that it cannot pass.
        numbers: How many weights and biases were compared.
        largest_sum: Bound of every accumulator.
        largest_weight: Largest absolute integer weight.
    """

    proven: tuple[Motion, ...]
    breaks: dict[Motion, Break]
    numbers: int
    largest_sum: int
    largest_weight: int


def prove(program: Program, motions: Sequence[Motion] = CHECKED) -> Proof:
    """Find out which motions a program commutes with, for every image.

    Args:
        program: As it was read from a file.
        motions: To be tried.
    """
    walk = _Walk(motions)
    for position, operator in enumerate(program.operators):
        walk.step(position, operator)
        if not walk.alive:
            break
    else:
        walk.end(len(program.operators) - 1, program)
    layers = [o for o in program.operators if isinstance(o, Convolve)]
    return Proof(
        tuple(walk.alive),
        walk.breaks,
        sum(layer.weight.size + len(layer.weight) for layer in layers),
        max((layer.largest_sum for layer in layers), default=0),
        max((int(np.abs(layer.weight).max()) for layer in layers), default=0),
    )


class _Walk:
    """State: what is known of each tensor, and which motions came through so far."""

    def __init__(self, motions: Sequence[Motion]) -> None:
        self.alive = list(motions)
        self.breaks: dict[Motion, Break] = {}
        self._tensors: dict[str, Channels] = {}

    def step(self, position: int, operator: Operator) -> None:
        """Take all motions that are left through one operator."""
        if isinstance(operator, Source):
            self._begin(position, operator)
            return
        inputs = [self._tensors[name] for name in operator.inputs]
        labels = np.zeros(0, np.int64)
        sources: dict[Motion, NDArray[np.int64]] = {}
        for motion in tuple(self.alive):
            try:
                _check_sums(operator)
                found = parts(operator, inputs, motion)
            except Asymmetric as why:
                self._stop(motion, Break(position, *_id(operator), str(why)))
                continue
            if not sources:
                labels, known = _classes(operator, found)
            to_channel = _match(operator, found, known)
            if (to_channel < 0).any():
                witness = find_witness(found, to_channel, inputs, operator.shape[0])
                reason = witness.sentence(str(motion))
                self._stop(motion, Break(position, *_id(operator), reason, witness))
                continue
            # All channels of a class go to the same one.
            source = np.empty(int(labels.max()) + 1, np.int64)
            source[labels] = labels[to_channel]
            sources[motion] = source
        self._tensors[operator.name] = Channels(operator.shape, labels, sources)

    def end(self, position: int, program: Program) -> None:
        """Stop the motions that exchange channels of the output."""
        output = self._tensors[program.output]
        for motion in tuple(self.alive):
            source = output.sources[motion]
            wrong = np.flatnonzero(source[output.labels] != output.labels)
            if len(wrong):
                channel = int(wrong[0])
                other = int(np.flatnonzero(output.labels == source[wrong[0]])[0])
                reason = (
                    f"output {channel} of the image {motion} is output {other} of the "
                    f"image as it is; wanted the same (a maximum over the orbit)"
                )
                name = program.output
                self._stop(motion, Break(position, name, "output", reason))

    def _begin(self, position: int, source: Source) -> None:
        """The pixels."""
        _, height, width = source.shape
        self._tensors[source.name] = source_channels(source, self.alive)
        for motion in tuple(self.alive):
            if motion.exchanges_axes and height != width:
                reason = f"the image is {height}x{width}, not square"
                self._stop(motion, Break(position, *_id(source), reason))

    def _stop(self, motion: Motion, found: Break) -> None:
        """Note where a motion broke."""
        self.alive.remove(motion)
        self.breaks[motion] = found


def _id(operator: Operator) -> tuple[str, str]:
    """Name and kind."""
    return operator.name, operator.kind


def _check_sums(operator: Operator) -> None:
    """Check that the accumulators of a layer cannot overflow.

    Raises:
        Asymmetric: they may; what happens then is not the same everywhere.
    """
    if isinstance(operator, Convolve) and operator.largest_sum >= ACCUMULATOR:
        raise Asymmetric(
            f"its sums may reach {operator.largest_sum}; wanted less than 2^31"
        )


def _classes(
    operator: Operator, found: Sequence[Part]
) -> tuple[NDArray[np.int64], dict[bytes, int]]:
    """Number the channels so that those with equal descriptions get one number.

    Returns:
        (C,) labels by first appearance, and the first channel of each description.
    """
    first: dict[bytes, int] = {}
    numbers: dict[int, int] = {}
    labels = []
    for channel, key in enumerate(_keys([p.values for p in found], operator.shape[0])):
        earliest = first.setdefault(key, channel)
        labels.append(numbers.setdefault(earliest, len(numbers)))
    return np.array(labels, np.int64), first


def _match(
    operator: Operator, found: Sequence[Part], known: dict[bytes, int]
) -> NDArray[np.int64]:
    """(C,) channel whose description each moved one is; -1 where there is none."""
    moved = [p.moved.astype(p.values.dtype, copy=False) for p in found]
    return np.array([known.get(key, -1) for key in _keys(moved, operator.shape[0])])


def _keys(arrays: Sequence[NDArray[Any]], channels: int) -> list[bytes]:
    """The bits of each channel's row of all arrays."""
    columns = []
    for array in arrays:
        rows = [row.tobytes() for row in np.ascontiguousarray(array)]
        columns.append(rows * channels if len(rows) == 1 else rows)
    return [b"".join(row) for row in zip(*columns, strict=True)]
