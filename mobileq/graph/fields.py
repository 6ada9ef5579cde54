"""Which channels form one orbit, and how the group permutes them.

A feature field of a group is channels that the group mixes while it moves the pixels.
Here every representation is a permutation (regular or trivial), so an element acts as:
take the channels in another order, then turn or mirror the grid.

`FieldBlocks` keeps two things apart. The *blocks* are the orbits of the whole group
(C_12: 12 channels); everything that quantization decides is tied over them. The
*generators* are those of the exact subgroup, whose elements map the pixel grid onto
itself (C_4 inside C_12, with the mirror image for D_N); they are what can be exact
bit for bit. The *step* is the smallest rotation of the whole group, by 360/N degrees:
what it does to the channels is exact too, what it does to the grid takes interpolation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import GraphError
from mobileq.graph.arrays import frozen

NO_GROUP = "C1"
"""Group of fields that nothing is known about."""


@dataclass(frozen=True, eq=False)
class Generator:
    """One element of the exact subgroup, acting on a feature map (C, H, W).

    The action is `move(x[source])`.

    Attributes:
        turns: Quarter turns, counter-clockwise, 0 to 3.
        mirrored: Whether the columns are reversed (before turning).
        source: (C,) int: new channel i is the old channel source[i].
    """

    turns: int
    mirrored: bool
    source: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Freeze and check that `source` is a permutation.

        Raises:
            GraphError: it is not.
        """
        object.__setattr__(self, "source", frozen(self.source, np.int64))
        if not np.array_equal(np.sort(self.source), np.arange(len(self.source))):
            raise GraphError("generator: source is not a permutation of the channels")

    def move(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Turn or mirror the last two axes (H, W)."""
        mirrored = array[..., ::-1] if self.mirrored else array
        return np.rot90(mirrored, self.turns, axes=(-2, -1))

    def act(self, features: NDArray[np.generic]) -> NDArray[np.generic]:
        """Act on feature maps (..., C, H, W)."""
        return self.move(features[..., self.source, :, :])

    @property
    def motion(self) -> tuple[int, bool]:
        """What it does to the grid."""
        return self.turns, self.mirrored


@dataclass(frozen=True, eq=False)
class FieldBlocks:
    """Fields of one tensor with C channels.

    Attributes:
        group: Name of the whole group, such as `C12`; `C1` is no symmetry.
        block: (C,) int: which block each channel belongs to, numbered from 0.
        generators: Of the exact subgroup; empty where it is trivial.
        step: (C,) int: when the plane is turned by the group's smallest rotation,
            counter-clockwise, new channel i is the old channel step[i]. None where the
            group has no rotation, or where it is not known what one does.
    """

    group: str
    block: NDArray[np.int64]
    generators: tuple[Generator, ...] = ()
    step: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Freeze and check that generators and step stay inside blocks.

        Raises:
            GraphError: a channel is moved to another block, or the step is not a
                permutation.
        """
        object.__setattr__(self, "block", frozen(self.block, np.int64))
        if self.step is not None:
            object.__setattr__(self, "step", frozen(self.step, np.int64))
            _check_step(self.group, self.block, self.step)
        for generator in self.generators:
            if len(generator.source) != self.channels or not np.array_equal(
                self.block[generator.source], self.block
            ):
                raise GraphError(
                    f"fields of {self.group}: a generator moves channels between blocks"
                )

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.block)

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return int(self.block.max()) + 1 if self.channels else 0

    @property
    def motions(self) -> tuple[tuple[int, bool], ...]:
        """What each generator does to the grid: (quarter turns, mirrored)."""
        return tuple(generator.motion for generator in self.generators)

    @property
    def step_degrees(self) -> float:
        """The group's smallest rotation, counter-clockwise; 360 where it has none."""
        return 360 / rotations_of(self.group)

    def tied_mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Replace each of (C,) values by the mean of its block."""
        sums = np.bincount(self.block, values, self.num_blocks)
        counts = np.bincount(self.block, minlength=self.num_blocks)
        return np.asarray((sums / counts)[self.block])

    def same_as(self, other: FieldBlocks) -> bool:
        """Whether both describe the same channels in the same way."""
        return (
            np.array_equal(self.block, other.block)
            and self.motions == other.motions
            and _same_steps(self.step, other.step)
            and all(
                np.array_equal(a.source, b.source)
                for a, b in zip(self.generators, other.generators, strict=True)
            )
        )

    def invariant(self, channels: int) -> FieldBlocks:
        """Trivial fields of the same group: no element mixes the channels."""
        return trivial_fields(channels, group=self.group, motions=self.motions)


def trivial_fields(
    channels: int,
    *,
    group: str = NO_GROUP,
    motions: tuple[tuple[int, bool], ...] = (),
) -> FieldBlocks:
    """Fields whose channels are each a block of their own.

    Args:
        channels: Number of channels.
        group: Name of the group.
        motions: What the generators of its exact subgroup do to the grid.
    """
    order = np.arange(channels)
    generators = tuple(Generator(turns, flip, order) for turns, flip in motions)
    step = order if rotations_of(group) > 1 else None
    return FieldBlocks(group, order, generators, step)


def direct_sum(parts: Sequence[FieldBlocks]) -> FieldBlocks:
    """Fields side by side, as channels of joined tensors are.

    What one of them does not have (a generator, the step), the sum does not have.
    """
    first = parts[0]
    starts = np.cumsum([0, *(part.channels for part in parts)])
    numbers = np.cumsum([0, *(part.num_blocks for part in parts)])
    block = [n + part.block for n, part in zip(numbers[:-1], parts, strict=True)]
    same = all(part.group == first.group for part in parts)
    generators: list[Generator] = []
    if same and all(part.motions == first.motions for part in parts):
        for index, (turns, mirrored) in enumerate(first.motions):
            sources = [part.generators[index].source for part in parts]
            generators.append(Generator(turns, mirrored, _moved(starts, sources)))
    known = [part.step for part in parts if part.step is not None]
    step = _moved(starts, known) if same and len(known) == len(parts) else None
    group = first.group if same else NO_GROUP
    return FieldBlocks(group, np.concatenate(block), tuple(generators), step)


def shared(first: FieldBlocks, second: FieldBlocks) -> FieldBlocks:
    """Fields of a sum or product: those of both, or blocks that nothing permutes."""
    if first.same_as(second):
        return first
    return without_action(first)


def without_action(fields: FieldBlocks) -> FieldBlocks:
    """The same blocks; nothing is said of what the group does to their channels."""
    return replace(fields, generators=(), step=None)


def _moved(
    starts: NDArray[np.int64], sources: Sequence[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """One permutation of several, of channels from `starts` on."""
    pairs = zip(starts[:-1], sources, strict=True)
    return np.concatenate([start + source for start, source in pairs])


def rotations_of(group: str) -> int:
    """Number of rotations N of a group `C<N>` or `D<N>`; 1 for any other name."""
    found = re.fullmatch("[CD]([1-9][0-9]*)", group)
    return 1 if found is None else int(found[1])


def _same_steps(
    first: NDArray[np.int64] | None, second: NDArray[np.int64] | None
) -> bool:
    """Whether both are unknown, or both are the same permutation."""
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _check_step(group: str, block: NDArray[np.int64], step: NDArray[np.int64]) -> None:
    """Check that the smallest rotation permutes channels inside blocks.

    Raises:
        GraphError: it does not, or the group has none.
    """
    if rotations_of(group) == 1:
        raise GraphError(f"fields of {group}: a step; wanted none, it has no rotation")
    if not np.array_equal(np.sort(step), np.arange(len(block))):
        raise GraphError(
            f"fields of {group}: the step is not a permutation of {len(block)} channels"
        )
    if not np.array_equal(block[step], block):
        raise GraphError(f"fields of {group}: the step moves channels between blocks")
