"""How far two tensors are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-30


def relative_error(
    found: NDArray[np.floating[Any]], wanted: NDArray[np.floating[Any]]
) -> float:
    """Largest absolute difference divided by the largest absolute wanted value."""
    difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max()
    return float(difference / max(float(np.abs(wanted).max()), _TINY))


def sqnr_db(
    found: NDArray[np.floating[Any]], wanted: NDArray[np.floating[Any]]
) -> float:
    """Signal to quantization noise ratio in dB: 10 log10(sum y^2 / sum (y~ - y)^2)."""
    signal = float(np.square(wanted.astype(np.float64)).sum())
    noise = float(np.square(found.astype(np.float64) - wanted).sum())
    return float(10 * np.log10(max(signal, _TINY) / max(noise, _TINY)))


def largest_step(
    found: NDArray[np.integer[Any]], wanted: NDArray[np.integer[Any]]
) -> int:
    """Largest difference of two integer tensors, in units of the last place."""
    return int(np.abs(found.astype(np.int64) - wanted.astype(np.int64)).max())
