"""What long work on a data set tells of itself while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Step:
    """How far the work on one file is.

    Attributes:
        name: file that is worked on.
        stage: what happens to it.
        done: bytes done.
        total: bytes to do.
        note: something that a person should read; empty most of the time.
    """

    name: str
    stage: Literal["fetch", "check", "unpack"]
    done: int
    total: int
    note: str = ""


Report = Callable[[Step], None]
"""Called with every step, from the thread that works."""


def silent(step: Step) -> None:
    """Report nothing."""
