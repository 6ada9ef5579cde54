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
        median_ms: Milliseconds that half of them stay below; None, like the next two,
            where a tool of others timed them that does not say.
        p90_ms: That nine in ten stay below.
        p99_ms: That 99 in 100 stay below; close to the longest if `runs` is small.
        mean_ms: Arithmetic mean.
        runs: Number of inferences.
        threads: Threads that the runtime was allowed.
        p95_ms: That 19 in 20 stay below; where a tool of others says it.
    """

    median_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    mean_ms: float
    runs: int
    threads: int
    p95_ms: float | None = None

    @property
    def typical_ms(self) -> float:
        """The median, or the mean where that is all there is."""
        return self.mean_ms if self.median_ms is None else self.median_ms

    @classmethod
    def of(cls, nanoseconds: Sequence[int], *, threads: int) -> Latency:
        """Summarize times in nanoseconds; percentiles are interpolated linearly."""
        times = np.asarray(nanoseconds, np.float64) / NS_PER_MS
        median, p90, p99 = (float(p) for p in np.percentile(times, (50, 90, 99)))
        return cls(median, p90, p99, float(times.mean()), len(times), threads)
