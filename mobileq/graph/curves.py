"""Smooth activations: functions of one value that are no plain clipping."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from mobileq.graph.base import Node
from mobileq.graph.statistics import Statistics

_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)  # type: ignore[no-untyped-call]
"""Of a quadrature that is exact for polynomials of degree 81 of a normal variable."""


class CurveKind(Enum):
    """Which function. All of them rise."""

    SIGMOID = "sigmoid"
    ELU = "elu"
    LEAKY_RELU = "leaky relu"


@dataclass(frozen=True, eq=False)
class Curve(Node):
    """A rising function of each value.

    Attributes:
        kind: 1 / (1 + exp(-x)); x or exp(x) - 1; x or slope * x.
        slope: Of LEAKY_RELU, below 0.
    """

    kind: CurveKind
    slope: float = 0.0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            GraphError: a slope that does not rise, or a curve that has none.
        """
        leaky = self.kind is CurveKind.LEAKY_RELU
        wanted = 0 < self.slope < 1 if leaky else self.slope == 0
        self._expect(wanted, f"slope {self.slope}", "0 to 1 for a leaky ReLU, else 0")

    def at(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The function."""
        made: NDArray[np.float64]
        match self.kind:
            case CurveKind.SIGMOID:
                # Either form alone overflows for large values of one sign.
                small = np.exp(-np.abs(values))
                made = np.where(values >= 0, 1.0, small) / (1 + small)
            case CurveKind.ELU:
                made = np.where(values > 0, values, np.expm1(np.minimum(values, 0)))
            case CurveKind.LEAKY_RELU:
                made = np.where(values > 0, values, self.slope * values)
        return made

    def moments(self, above: Statistics) -> Statistics:
        """Statistics of the function of a normal variable, by quadrature."""
        weights = _WEIGHTS / _WEIGHTS.sum()
        values = self.at(above.mean[:, None] + above.std[:, None] * _POINTS)
        mean = values @ weights
        variance = ((values - mean[:, None]) ** 2) @ weights
        return Statistics(mean, np.sqrt(variance))
