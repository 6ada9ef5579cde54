"""What a tensor's values are, kept exactly enough to choose how to clip them.

Clipping to [low, high] and rounding to 8 bit turns a value x into Q(x). The range with
the smallest mean squared error,

    argmin over low, high of  E[(x - Q(x))^2],

weighs clipping error against rounding error: Banner et al. 2019 (arXiv:1810.05723),
section 3; white paper (arXiv:2106.08295), section 3.1, equation 16. The paper's
distributions are assumed; here the error is summed over a histogram.

The bins are an eighth of a step of the affine map that holds everything, and aligned
with its rounding thresholds. A bin keeps the number, sum and sum of squares of its
values, so its error is exact wherever all its values round alike. For the map that
clips nothing that is every bin; for another one a bin may straddle a threshold, and
then the sum is above the true error. So the range that is found is never worse than the
one that clips nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.quant.affine import QMAX, QMIN, Affine

_LEVELS = QMAX - QMIN + 1
_PER_LEVEL = 8
_BINS = _LEVELS * _PER_LEVEL

_FRACTIONS = np.geomspace(1.0, 1 / 32, 81)
"""Parts of an end that are tried; 4 % apart, where the error hardly changes."""


def _no_counts() -> NDArray[np.float64]:
    """One zero for each bin."""
    return np.zeros(_BINS)


@dataclass(eq=False)
class Histogram:
    """Counts and moments of the values of one tensor, batch after batch.

    Attributes:
        low: Smallest value that will come.
        high: Largest one.
    """

    low: float
    high: float
    _count: NDArray[np.float64] = field(init=False, default_factory=_no_counts)
    _sum: NDArray[np.float64] = field(init=False, default_factory=_no_counts)
    _squares: NDArray[np.float64] = field(init=False, default_factory=_no_counts)

    @property
    def _grid(self) -> Affine:
        """The affine map that clips nothing."""
        return Affine.from_range(self.low, self.high)

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Count more values, of any shape."""
        grid = self._grid
        steps = values.ravel().astype(np.float64) / grid.scale
        # In bins from the lower threshold of the lowest level, which takes all below.
        first = QMIN - grid.zero_point - 0.5
        bins = np.clip(((steps - first) * _PER_LEVEL).astype(np.int64), 0, _BINS - 1)
        # Moments about the middle of the bin: no digits are lost by cancellation.
        offset = steps - (first + (bins + 0.5) / _PER_LEVEL)
        self._count += np.bincount(bins, minlength=_BINS)
        self._sum += np.bincount(bins, offset, _BINS)
        self._squares += np.bincount(bins, offset * offset, _BINS)

    def _edges(self) -> NDArray[np.float64]:
        """(bins + 1,) real values."""
        grid = self._grid
        first = QMIN - grid.zero_point - 0.5
        return (first + np.arange(_BINS + 1) / _PER_LEVEL) * grid.scale

    def percentile(self, percentile: float) -> tuple[float, float]:
        """Ends that leave (100 - percentile) % of the values outside on either side.

        Rounded outwards to the edge of a bin, but never beyond the values.

        Args:
            percentile: Above 50, to 100.
        """
        edges, total = self._edges(), self._count.sum()
        outside = total * (1 - percentile / 100)
        from_below = np.cumsum(self._count)
        from_above = np.cumsum(self._count[::-1])
        lowest = int(np.argmax(from_below > outside))
        highest = _BINS - 1 - int(np.argmax(from_above > outside))
        return max(self.low, edges[lowest]), min(self.high, edges[highest + 1])

    def error(self, low: float, high: float) -> float:
        """Mean squared error of 8-bit quantization to [low, high]; never too small.

        Args:
            low: As of `Affine.from_range`.
            high: As of `Affine.from_range`.
        """
        used = np.flatnonzero(self._count)
        count, total = self._count[used], self._sum[used]
        scale, edges = self._grid.scale, self._edges()
        middle = (edges[used] + edges[used + 1]) / 2
        affine = Affine.from_range(low, high)
        rounded = affine.dequantize(affine.quantize(middle + total / count * scale))
        away = (middle - rounded) / scale
        squares = self._squares[used] + 2 * away * total + count * away * away
        return float(squares.sum() / count.sum()) * scale**2

    def smallest_error(self) -> tuple[float, float]:
        """Ends of the range with the smallest mean squared error among many.

        Both ends are drawn in alike, then one after the other, twice. An end that lies
        on the other side of zero stays: the affine map holds zero in any case.
        """
        lows = _FRACTIONS * self.low if self.low < 0 else np.array([self.low])
        highs = _FRACTIONS * self.high if self.high > 0 else np.array([self.high])
        best = self._better((self.low, self.high), np.broadcast(lows, highs))
        for _ in range(2):
            best = self._better(best, [(best[0], high) for high in highs])
            best = self._better(best, [(low, best[1]) for low in lows])
        return best

    def _better(
        self, best: tuple[float, float], others: Iterable[tuple[float, float]]
    ) -> tuple[float, float]:
        """The ends with the smallest error; `best` if none is better."""
        candidates = [best, *((float(low), float(high)) for low, high in others)]
        return min(candidates, key=lambda ends: self.error(*ends))
