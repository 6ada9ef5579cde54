"""How devices are worked with, what they are given, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mobileq_android.parse import Timing
from mobileq_android.state import State
from mobileq_android.tools import Budget, Setting

PATIENCE = 180.0
"""Seconds for one run of a tool; the tools stop by themselves after 150."""


@dataclass(frozen=True)
class Options:
    """How devices are worked with.

    Attributes:
        binary: Benchmark tool, a file of this machine.
        python: Python with LiteRT on the device, which can do what tools cannot.
        packages: Directory on the device to import LiteRT from.
        budget: How long to time.
        cool_down: Seconds of rest before each run.
        pin: Whether to keep threads on the fastest cores.
        keep: Whether what was pushed stays there.
        patience: Seconds for one run of a tool.
    """

    binary: Path | None = None
    python: str | None = None
    packages: str | None = None
    budget: Budget = field(default_factory=Budget)
    cool_down: float = 5.0
    pin: bool = True
    keep: bool = False
    patience: float = PATIENCE


@dataclass(frozen=True)
class Timed:
    """Times of one file with one setting.

    Attributes:
        setting: With the cores that were used.
        timing: The figures.
        tool: What took them.
        before: How the device was.
        after: How it was afterwards.
        notes: What to know about the figures, a line each.
    """

    setting: Setting
    timing: Timing
    tool: str
    before: State
    after: State
    notes: tuple[str, ...]

    @property
    def throttled(self) -> bool:
        """Whether heat lowered the clocks, before or after."""
        return self.before.throttled or self.after.throttled


@dataclass(frozen=True)
class Inputs:
    """Images as a file takes them.

    Attributes:
        data: Raw, one after the other.
        tensor: Name of the file's input.
        shape: Of one, with the batch, (1, H, W, C).
        count: How many there are.
    """

    data: bytes
    tensor: str
    shape: tuple[int, ...]
    count: int
