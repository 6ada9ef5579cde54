"""The error of the logits all round the circle, several networks side by side.

What a group promises holds at the multiples of 360/N degrees. Of these, quarter turns
move pixels only; the others resample the image, which nobody can do without loss, so
that the float network has an error there too. What INT8 adds is the ratio of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.equivariance import AngleError, Measured, angle_errors_together
from mobileq.bench.figures import Label
from mobileq.bench.subject import Subject
from mobileq.errors import InputError
from mobileq.graph.base import Shape
from mobileq.graph.fields import rotations_of

QUARTER = 90
"""Degrees."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """One runner of one network.

    Attributes:
        network: Name of the network.
        group: Its symmetry group, or `conventional`.
        shape: (C, S, S) of its images.
        subject: What runs it.
    """

    network: str
    group: str
    shape: Shape
    subject: Subject


@dataclass(frozen=True)
class Curve:
    """Errors of one runner.

    Attributes:
        network: Name of the network.
        group: Its symmetry group, or `conventional`.
        label: Runtime, kernel and precision.
        angles: Error at each angle, 0 first.
    """

    network: str
    group: str
    label: Label
    angles: tuple[AngleError, ...]

    @property
    def off_grid(self) -> float | None:
        """Mean over the angles that are no multiples of 90 degrees; None without."""
        return _mean([angle for angle in self.angles if not angle.on_grid])

    @property
    def off_grid_changed(self) -> float | None:
        """Mean share of changed classes at these angles."""
        off = [angle for angle in self.angles if not angle.on_grid]
        return float(np.mean([a.changed_predictions for a in off])) if off else None

    @property
    def of_group(self) -> float | None:
        """Mean over the multiples of 360/N degrees but 0.

        None where there is no group, or where not all of them were measured.
        """
        count = rotations_of(self.group)
        own = [a for a in self.angles if _is_multiple(a.degrees * count / 360)]
        own = [angle for angle in own if angle.degrees % 360]
        return _mean(own) if len(own) == count - 1 else None


@dataclass(frozen=True)
class Ratio:
    """Mean errors of an INT8 network as multiples of those of its float one.

    Attributes:
        off_grid: At all angles that are no multiples of 90 degrees.
        of_group: At the multiples of 360/N degrees.
    """

    off_grid: float | None
    of_group: float | None


def angles_of(step: int) -> tuple[int, ...]:
    """0, `step`, 2 `step`, ... below 360 degrees.

    Raises:
        InputError: the quarter turns are not among them.
    """
    if step < 1 or QUARTER % step:
        raise InputError(
            f"--step is {step} degrees; wanted a divisor of {QUARTER}, so that the "
            f"quarter turns are measured too"
        )
    return tuple(range(0, 360, step))


def measure_circle(
    entrants: Sequence[Entrant],
    images: Mapping[Shape, NDArray[np.uint8]],
    angles: Sequence[float],
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Curve, ...]:
    """Measure every entrant at every angle.

    Args:
        entrants: Runners of any networks.
        images: (N, S, S, C) pixels by (C, S, S), for every shape of an entrant.
        angles: Degrees, counter-clockwise.
        progress: Told what is going on.

    Returns:
        One curve per entrant, in their order.

    Raises:
        InputError: the images are not square, or there are none.
        GraphError: an integer runner without `dequantize`.
    """
    found: dict[int, tuple[AngleError, ...]] = {}
    for shape in dict.fromkeys(entrant.shape for entrant in entrants):
        rows = [i for i, entrant in enumerate(entrants) if entrant.shape == shape]
        subjects = [entrants[row].subject for row in rows]
        errors = angle_errors_together(
            [Measured(subject.runner, subject.dequantize) for subject in subjects],
            images[shape],
            angles,
            progress=progress,
        )
        found.update(zip(rows, errors, strict=True))
    return tuple(
        Curve(entrant.network, entrant.group, entrant.subject.label, found[row])
        for row, entrant in enumerate(entrants)
    )


def ratio(curve: Curve, curves: Sequence[Curve]) -> Ratio | None:
    """An INT8 curve against the float one of its network.

    Args:
        curve: Any; a float one has no ratio.
        curves: Where to look; one of the same runtime and kernel goes first.

    Returns:
        None without a counterpart; a figure is None where there is nothing to compare.
    """
    if curve.label.precision == "float":
        return None
    same = [
        other
        for other in curves
        if other.network == curve.network and other.label.precision == "float"
    ]
    own = (curve.label.runtime, curve.label.kernel)
    same.sort(key=lambda other: (other.label.runtime, other.label.kernel) != own)
    if not same:
        return None
    return Ratio(
        _quotient(curve.off_grid, same[0].off_grid),
        _quotient(curve.of_group, same[0].of_group),
    )


def _mean(angles: Sequence[AngleError]) -> float | None:
    """Mean error over some angles."""
    return float(np.mean([angle.mean for angle in angles])) if angles else None


def _is_multiple(turns: float) -> bool:
    """Whether a number is whole; it comes from degrees and is off by 1e-13 or so."""
    return abs(turns - round(turns)) < 1e-9


def _quotient(first: float | None, second: float | None) -> float | None:
    """First / second, where both are known and the second is not 0."""
    return None if first is None or not second else first / second
