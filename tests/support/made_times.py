"""Timers whose times are made, so that what is done with them can be foretold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.spec import Usage

MS = 1_000_000
"""Nanoseconds."""


@dataclass
class MadeTimer:
    """Gives times of a function of the number of inferences before.

    Attributes:
        time: Nanoseconds of the n-th inference.
        blocks: Lengths of the blocks that were asked for.
    """

    time: Callable[[int], float]
    blocks: list[int] = field(default_factory=list)
    runs: int = 0

    def block(self, repetitions: int) -> list[int]:
        """One untimed inference, then the timed ones."""
        self.blocks.append(repetitions)
        first = self.runs + 1
        self.runs += 1 + repetitions
        return [round(self.time(n)) for n in range(first, self.runs)]


@dataclass
class MadeRunner:
    """A runner of made times, which notes what it is asked for.

    Attributes:
        timer_of: Its timer.
        log: Names of all runners' requests, in order.
        name: Of this one.
        has_run: Whether it ran before it was timed.
    """

    timer_of: MadeTimer
    log: list[str]
    name: str = "made"
    has_run: bool = False
    load_ms: float = 3.0
    imported_bytes: int = 1000

    @property
    def first_ms(self) -> float | None:
        """None after `has_run`."""
        return None if self.has_run else 7.0

    def timer(self, pixels: NDArray[np.uint8]) -> MadeTimer:
        """The timer."""
        self.log.append(f"{self.name}: timer of {len(pixels)}")
        return self.timer_of

    def throughput(self, pixels: NDArray[np.uint8], seconds: float = 1.0) -> float:
        """As many images per second as there are."""
        self.log.append(f"{self.name}: throughput of {len(pixels)}")
        return float(len(pixels))

    def spin(self) -> int:
        """Always the same."""
        self.log.append(f"{self.name}: spin")
        return MS

    def usage(self) -> Usage:
        """1 second, and 500 bytes more than after the imports."""
        return Usage(peak_bytes=self.imported_bytes + 500, cpu_seconds=1.0)


def noisy(median: float, spread: float, seed: int) -> Iterator[float]:
    """Lognormal times, in nanoseconds, without end."""
    rng = np.random.default_rng(seed)
    while True:
        yield from median * np.exp(rng.normal(0, spread, 1000))
