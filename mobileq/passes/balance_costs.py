"""What rounding costs under some factors, and the slope of the cost: for `balance.py`.

A cost is a short formula of powers of the factors, s^2, s^-2, s^p and s^-p, where p is
the order of the norm that stands for a maximum. Its derivative by each of these powers
is written beside it; the chain rule is applied once, at the end:

    d/d log s  =  2 s^2 d/d(s^2) - 2 s^-2 d/d(s^-2) + p s^p d/d(s^p) - p s^-p d/d(s^-p)

Sums are numpy's own rather than a BLAS's, whose order depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Real: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.int64]

ORDER = 16.0
"""Of the norm that stands for a maximum."""

FLOOR = 1e-12
"""Range of a dead channel, as a part of its tensor's: a root has no gradient at 0."""

TINY = FLOOR**ORDER
"""The same for a sum of powers."""


@dataclass(frozen=True, eq=False)
class Factors:
    """Powers of all factors s, or slopes by these powers, (classes,)."""

    squared: Real
    inverse_squared: Real
    powered: Real
    inverse_powered: Real

    @classmethod
    def of(cls, x: Real) -> Factors:
        """Powers of exp(x)."""
        return cls(*(np.exp(n * x) for n in (2, -2, ORDER, -ORDER)))

    def chained(self, slopes: Factors) -> Real:
        """(classes,) slope by log s, of the slopes by its powers."""
        return np.asarray(
            2 * self.squared * slopes.squared
            - 2 * self.inverse_squared * slopes.inverse_squared
            + ORDER * self.powered * slopes.powered
            - ORDER * self.inverse_powered * slopes.inverse_powered
        )


Cost: TypeAlias = Callable[[Factors, Factors], float]
"""Noise under some factors; its slopes are added to the second argument."""


@dataclass(frozen=True, eq=False)
class ActivationCost:
    """Rounding noise of one tensor.

    Attributes:
        of: (C,) class of each channel.
        ends: (2, C) upper and lower end of each channel's range, to the ORDER.
        weight: (C,) importance, with all constants.
    """

    of: Index
    ends: Real
    weight: Real

    def __call__(self, factors: Factors, slopes: Factors) -> float:
        """Noise, and its slopes."""
        sums = (self.ends * factors.inverse_powered[self.of]).sum(axis=1)
        width = float((sums ** (1 / ORDER)).sum())
        weighted = float((self.weight * factors.squared[self.of]).sum())
        np.add.at(slopes.squared, self.of, width**2 * self.weight)
        by_sum = 2 * width * weighted / ORDER * sums ** (1 / ORDER - 1)
        by_channel = (by_sum[:, None] * self.ends).sum(axis=0)
        np.add.at(slopes.inverse_powered, self.of, by_channel)
        return width**2 * weighted


@dataclass(frozen=True, eq=False)
class WeightCost:
    """Rounding noise of one layer's weights.

    Attributes:
        made: (O,) class of each output channel (O, I: those taken together are one).
        read: (O, I / groups) class of each input channel; (I,) if all rows read alike.
        powers: (O, I / groups) sum over taps of |W|^ORDER.
        share: (O,) of each output channel, with all constants.
        square: Mean square of each input channel, in the shape of `read`.
        unit: (O,) which scale each output channel has.
        per_channel: Whether there is more than one.
    """

    made: Index
    read: Index
    powers: Real
    share: Real
    square: Real
    unit: Index
    per_channel: bool

    def __call__(self, factors: Factors, slopes: Factors) -> float:
        """Noise, and its slopes."""
        rows = (self.powers * factors.powered[self.read]).sum(axis=1)
        signal = (self.square * factors.inverse_squared[self.read]).sum(axis=-1)
        signal = np.broadcast_to(signal, rows.shape)
        step = self._per_channel if self.per_channel else self._per_tensor
        share, by_row = step(factors, slopes, rows, signal)
        if self.read.ndim == 1:
            by_power = (self.powers * by_row[:, None]).sum(axis=0)
            by_square = self.square * share.sum()
        else:
            by_power = self.powers * by_row[:, None]
            by_square = self.square * share[:, None]
        np.add.at(slopes.powered, self.read, by_power)
        np.add.at(slopes.inverse_squared, self.read, by_square)
        return float((share * signal).sum())

    def _per_channel(
        self, factors: Factors, slopes: Factors, rows: Real, signal: Real
    ) -> tuple[Real, Real]:
        """Share of each output channel times its squared step; slope of each row."""
        largest = np.bincount(self.unit, rows) + TINY
        step = largest ** (2 / ORDER)
        by_step = np.bincount(self.unit, self.share * signal)
        by_row = by_step * (2 / ORDER) * largest ** (2 / ORDER - 1)
        return self.share * step[self.unit], by_row[self.unit]

    def _per_tensor(
        self, factors: Factors, slopes: Factors, rows: Real, signal: Real
    ) -> tuple[Real, Real]:
        """The same with one step for all."""
        inverse = factors.inverse_powered[self.made]
        largest = float((rows * inverse).sum())
        step = largest ** (2 / ORDER)
        own = self.share * factors.squared[self.made]
        np.add.at(slopes.squared, self.made, self.share * step * signal)
        by_largest = float((own * signal).sum()) * (2 / ORDER) * step / largest
        np.add.at(slopes.inverse_powered, self.made, by_largest * rows)
        return own * step, by_largest * inverse
