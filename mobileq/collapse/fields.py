"""From an escnn field type to FieldBlocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from escnn.gspaces import GSpace2D
from escnn.nn import FieldType
from numpy.typing import NDArray

from mobileq.errors import UnsupportedError
from mobileq.graph.fields import FieldBlocks, Generator

# A matrix entry this close to an integer is that integer; escnn's sines and cosines
# are off by some 1e-16.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Field:
    """One representation: orbit of each channel, and what some elements do to it.

    Attributes:
        orbit: (C,) orbit of each channel.
        sources: Of each exact generator, then of the smallest rotation if there is one.
    """

    orbit: NDArray[np.int64]
    sources: tuple[NDArray[np.int64], ...]


class FieldReader:
    """Reads the field types of one network, all of one group.

    What a group and a representation do is found once, since escnn computes the
    matrices anew each time that they are asked for.

    Args:
        gspace: Group and its action on the plane.
    """

    def __init__(self, gspace: GSpace2D) -> None:
        self._elements = list(gspace.fibergroup.elements)
        actions = [
            np.asarray(gspace.basespace_action(e), np.float64) for e in self._elements
        ]
        rotations = sum(bool(np.linalg.det(matrix) > 0) for matrix in actions)
        self.group = ("C" if rotations == len(actions) else "D") + str(rotations)
        """Name of the group, `C<N>` or `D<N>`."""
        self._generators = _exact_generators(actions)
        self._step = _smallest_rotation(actions, rotations)
        self._known: dict[str, _Field] = {}

    @property
    def motions(self) -> tuple[tuple[int, bool], ...]:
        """What the generators of the exact subgroup do to the grid."""
        return tuple((turns, mirrored) for turns, mirrored, _ in self._generators)

    def read(self, field_type: FieldType, *, where: str) -> FieldBlocks:
        """Blocks, exact generators and smallest rotation of a field type.

        Args:
            field_type: Fields whose representations are permutations, such as trivial
                and regular ones.
            where: Module path for the error message.

        Raises:
            UnsupportedError: a representation is not a permutation.
        """
        blocks: list[NDArray[np.int64]] = []
        sources: list[list[NDArray[np.int64]]] = [[] for _ in self._named]
        start = number = 0
        for representation in field_type.representations:
            field = self._field(representation, where)
            blocks.append(number + field.orbit)
            for parts, source in zip(sources, field.sources, strict=True):
                parts.append(start + source)
            start += len(field.orbit)
            number += int(field.orbit.max()) + 1
        whole = [np.concatenate(parts) for parts in sources]
        step = None if self._step is None else whole.pop()
        generators = tuple(
            Generator(turns, mirrored, source)
            for (turns, mirrored, _), source in zip(
                self._generators, whole, strict=True
            )
        )
        return FieldBlocks(self.group, np.concatenate(blocks), generators, step)

    @property
    def _named(self) -> list[int]:
        """Indices of the elements whose permutations are kept."""
        exact = [index for _, _, index in self._generators]
        return exact if self._step is None else [*exact, self._step]

    def _field(self, representation: Any, where: str) -> _Field:
        """Orbits and sources of one representation."""
        if representation.name not in self._known:
            sources = [
                _permutation(representation, element, where)
                for element in self._elements
            ]
            orbit = np.min(sources, axis=0)
            self._known[representation.name] = _Field(
                np.unique(orbit, return_inverse=True)[1].astype(np.int64),
                tuple(sources[index] for index in self._named),
            )
        return self._known[representation.name]


def _permutation(representation: Any, element: Any, where: str) -> NDArray[np.int64]:
    """For each channel, the channel that it takes its values from."""
    matrix = np.asarray(representation(element))
    rounded = np.rint(matrix)
    if (
        np.abs(matrix - rounded).max() > _ROUNDING
        or rounded.min() < 0
        or (rounded.sum(0) != 1).any()
    ):
        raise UnsupportedError(
            f"{where}: fields of representation {representation.name!r}, which is not "
            f"a permutation; wanted trivial or regular fields (only those keep their "
            f"symmetry under a pointwise ReLU)"
        )
    return np.asarray(rounded.argmax(1), np.int64)


def _exact_generators(
    actions: list[NDArray[np.float64]],
) -> list[tuple[int, bool, int]]:
    """Smallest rotation and one reflection that map the pixel grid onto itself.

    Args:
        actions: 2x2 matrix of each group element on the plane, x to the right, y up.

    Returns:
        (quarter turns, mirrored, index of the group element) of each generator.
    """
    motions: dict[tuple[int, bool], int] = {}
    for turns, mirrored in itertools.product(range(4), (False, True)):
        wanted = _motion_matrix(turns, mirrored)
        for index, action in enumerate(actions):
            if np.abs(action - wanted).max() < _ROUNDING:
                motions.setdefault((turns, mirrored), index)
    rotations = [key for key in ((1, False), (2, False)) if key in motions][:1]
    reflections = sorted(key for key in motions if key[1])[:1]
    return [(*key, motions[key]) for key in (*rotations, *reflections)]


def _smallest_rotation(
    actions: list[NDArray[np.float64]], rotations: int
) -> int | None:
    """Index of the rotation by 360/N degrees, counter-clockwise; None for N = 1."""
    if rotations == 1:
        return None
    angle = 2 * np.pi / rotations
    cosine, sine = np.cos(angle), np.sin(angle)
    wanted = np.array([[cosine, -sine], [sine, cosine]])
    return int(np.argmin([np.abs(action - wanted).max() for action in actions]))


def _motion_matrix(turns: int, mirrored: bool) -> NDArray[np.float64]:
    """Matrix of `Generator.move`: reverse x if mirrored, then turn."""
    turn = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), turns)
    mirror = np.diag([-1.0 if mirrored else 1.0, 1.0])
    return cast("NDArray[np.float64]", turn @ mirror)
