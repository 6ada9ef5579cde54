"""Times of single inferences, in a few figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobileq.bench.timing import NS_PER_MS


@dataclass(frozen=True)
class Latency:
    """Times of single inferences of one image.

    Attributes:
        median_ms: Milliseconds that half of them stay below.
        p90_ms: That nine in ten stay below.
        p99_ms: That 99 in 100 stay below; close to the longest if `runs` is small.
        mean_ms: Arithmetic mean.
        runs: Number of inferences.
        threads: Threads that the runtime was allowed.
    """

    median_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    runs: int
    threads: int

    @classmethod
    def of(cls, nanoseconds: Sequence[int], *, threads: int) -> Latency:
        """Summarize times in nanoseconds; percentiles are interpolated linearly."""
        times = np.asarray(nanoseconds, np.float64) / NS_PER_MS
        median, p90, p99 = (float(p) for p in np.percentile(times, (50, 90, 99)))
        return cls(median, p90, p99, float(times.mean()), len(times), threads)
