"""What is known of a tensor's values without data: per-channel mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import GraphError
from mobileq.graph.arrays import frozen


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and standard deviation of each channel, taken as a normal distribution.

    Attributes:
        mean: (C,) float64.
        std: (C,) float64, not negative.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Freeze and check.

        Raises:
            GraphError: shapes differ, or a value is negative or not finite.
        """
        object.__setattr__(self, "mean", frozen(self.mean))
        object.__setattr__(self, "std", frozen(self.std))
        if self.mean.shape != self.std.shape or self.mean.ndim != 1:
            raise GraphError(
                f"statistics: mean has shape {self.mean.shape}, std {self.std.shape}; "
                f"wanted (channels,) for both"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            raise GraphError("statistics: NaN or infinity found; wanted finite values")
        if (self.std < 0).any():
            raise GraphError(
                f"statistics: std is {self.std.min()}; wanted no negative value"
            )

    def clipped(
        self, low: float, high: float | NDArray[np.float64] = np.inf
    ) -> Statistics:
        """Statistics after clipping to [low, high].

        Mean and variance of min(max(x, low), high) for normal x: DFQ
        (arXiv:1906.04721), appendix C, equations 38 and 43.

        Args:
            low: Finite.
            high: One bound, or (C,) of them; may be infinite.
        """
        # Imported late: a checkpoint with statistics is read without SciPy.
        from scipy.special import ndtr

        std = np.maximum(self.std, 1e-100)
        alpha = (low - self.mean) / std
        beta = (high - self.mean) / std
        inside = ndtr(beta) - ndtr(alpha)
        density_low, density_high = _density(alpha), _density(beta)
        below, above = ndtr(alpha), ndtr(-beta)
        upper = np.where(np.isinf(high), 0.0, high)
        mean = (
            self.mean * inside
            + std * (density_low - density_high)
            + low * below
            + upper * above
        )
        # E[x^2] over the part that is not clipped; b phi(b) vanishes at infinity.
        edge = np.where(np.isinf(beta), 0.0, beta) * density_high
        second = (
            (self.mean**2 + std**2) * inside
            + 2 * self.mean * std * (density_low - density_high)
            + std**2 * (alpha * density_low - edge)
            + low**2 * below
            + upper**2 * above
        )
        return Statistics(mean, np.sqrt(np.maximum(second - mean**2, 0.0)))


def _density(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density of the standard normal distribution."""
    finite = np.clip(x, -1e3, 1e3)
    return np.asarray(np.exp(-0.5 * finite * finite) / np.sqrt(2 * np.pi))
