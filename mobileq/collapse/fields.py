"""From an escnn field type to FieldBlocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from escnn.gspaces import GSpace2D
from escnn.nn import FieldType
from numpy.typing import NDArray

from mobileq.graph.fields import FieldBlocks, Generator, rotations_of

# A matrix entry this close to an integer is that integer; escnn's sines and cosines
# are off by some 1e-16.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Field:
    """One representation: orbit of each channel, and what some elements do to it.

    Attributes:
        orbit: (C,) orbit of each channel; one for all if it is no permutation.
        sources: Of each exact generator, then of the smallest rotation if there is one;
            None if the representation is no permutation.
    """

    orbit: NDArray[np.int64]
    sources: tuple[NDArray[np.int64], ...] | None


@dataclass(frozen=True)
class Common:
    """What is common to the groups of all fields of a network.

    Attributes:
        group: Name of the group, `C<N>` or `D<N>`.
        motions: What the generators of its exact subgroup do to the grid.
    """

    group: str
    motions: tuple[tuple[int, bool], ...]

    @property
    def rotations(self) -> int:
        """N."""
        return rotations_of(self.group)


def common_group(spaces: Sequence[GSpace2D]) -> Common:
    """The group that all fields of a network have in common.

    A network that restricts its fields to a subgroup has no more than that.

    Args:
        spaces: Group and action on the plane of each field type; at least one.
    """
    every = [_actions(space) for space in spaces]
    turns = [sum(bool(np.linalg.det(m) > 0) for m in matrices) for matrices in every]
    mirrored = all(n < len(matrices) for n, matrices in zip(turns, every, strict=True))
    rotations = math.gcd(*turns)
    shared = set.intersection(*(_motions(matrices) for matrices in every))
    turned = [key for key in ((1, False), (2, False)) if key in shared][:1]
    reflections = sorted(key for key in shared if key[1])[:1]
    group = f"{'D' if mirrored else 'C'}{rotations}"
    return Common(group, (*turned, *reflections))


class FieldReader:
    """Reads field types of one group, for what it has in common with others.

    What a group and a representation do is found once, since escnn computes the
    matrices anew each time that they are asked for.

    Args:
        space: Group and its action on the plane.
        common: Of the whole network, if it has other groups too.
    """

    def __init__(self, space: GSpace2D, common: Common | None = None) -> None:
        common = common or common_group([space])
        self._common = common
        self._elements = _elements(space)
        actions = _actions(space)
        self._named = [_nearest(actions, _motion_matrix(*m)) for m in common.motions]
        self._turns = common.rotations > 1
        if self._turns:
            angle = 2 * np.pi / common.rotations
            cosine, sine = np.cos(angle), np.sin(angle)
            wanted = np.array([[cosine, -sine], [sine, cosine]])
            self._named.append(_nearest(actions, wanted))
        # Names need not tell representations apart; the field type keeps them alive.
        self._known: dict[int, _Field] = {}

    def read(self, field_type: FieldType) -> FieldBlocks:
        """Blocks, exact generators and smallest rotation of a field type.

        Args:
            field_type: Fields of any representations. Where one is no permutation, as
                irreducible ones are not, each field is a block, and nothing is said of
                what the group does to it.
        """
        fields = [self._field(kind) for kind in field_type.representations]
        sizes = [len(field.orbit) for field in fields]
        starts = np.cumsum([0, *sizes])
        numbers = np.cumsum([0, *(int(field.orbit.max()) + 1 for field in fields)])
        block = np.concatenate(
            [n + field.orbit for n, field in zip(numbers[:-1], fields, strict=True)]
        )
        known = [field.sources for field in fields if field.sources is not None]
        group = self._common.group
        if len(known) < len(fields):
            return FieldBlocks(group, block)
        whole = [
            np.concatenate(
                [start + one for start, one in zip(starts, parts, strict=False)]
            )
            for parts in zip(*known, strict=True)
        ]
        step = whole.pop() if self._turns else None
        generators = tuple(
            Generator(turns, mirrored, source)
            for (turns, mirrored), source in zip(
                self._common.motions, whole, strict=True
            )
        )
        return FieldBlocks(group, block, generators, step)

    def _field(self, representation: Any) -> _Field:
        """Orbits and sources of one representation."""
        key = id(representation)
        if key not in self._known:
            found = [_permutation(representation, e) for e in self._elements]
            sources = [source for source in found if source is not None]
            field = _Field(np.zeros(representation.size, np.int64), None)
            if len(sources) == len(found):
                orbit = np.min(sources, axis=0)
                field = _Field(
                    np.unique(orbit, return_inverse=True)[1].astype(np.int64),
                    tuple(sources[index] for index in self._named),
                )
            self._known[key] = field
        return self._known[key]


def _permutation(representation: Any, element: Any) -> NDArray[np.int64] | None:
    """For each channel, the channel that it takes its values from; None if no such."""
    matrix = np.asarray(representation(element))
    rounded = np.rint(matrix)
    if (
        np.abs(matrix - rounded).max() > _ROUNDING
        or rounded.min() < 0
        or (rounded.sum(0) != 1).any()
    ):
        return None
    return np.asarray(rounded.argmax(1), np.int64)


def _elements(space: GSpace2D) -> list[Any]:
    """Elements of a finite group; of a continuous one, the identity alone."""
    group = space.fibergroup
    return list(group.elements) if group.order() > 0 else [group.identity]


def _actions(space: GSpace2D) -> list[NDArray[np.float64]]:
    """2x2 matrix of each element on the plane, x to the right, y up."""
    action = space.basespace_action
    return [np.asarray(action(element), np.float64) for element in _elements(space)]


def _motions(actions: list[NDArray[np.float64]]) -> set[tuple[int, bool]]:
    """(quarter turns, mirrored) of all elements that map the grid onto itself."""
    return {
        (turns, mirrored)
        for turns, mirrored in itertools.product(range(4), (False, True))
        for action in actions
        if np.abs(action - _motion_matrix(turns, mirrored)).max() < _ROUNDING
    }


def _nearest(actions: list[NDArray[np.float64]], wanted: NDArray[np.float64]) -> int:
    """Index of the element that acts like a matrix."""
    return int(np.argmin([np.abs(action - wanted).max() for action in actions]))


def _motion_matrix(turns: int, mirrored: bool) -> NDArray[np.float64]:
    """Matrix of `Generator.move`: reverse x if mirrored, then turn."""
    turn = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), turns)
    mirror = np.diag([-1.0 if mirrored else 1.0, 1.0])
    return cast("NDArray[np.float64]", turn @ mirror)
