"""Ctrl-C that waits for the step in progress, so that what is saved is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """Whether Ctrl-C was pressed since `held_interrupt` was entered."""

    requested: bool = False


@contextmanager
def held_interrupt() -> Iterator[Interrupt]:
    """Hold the first Ctrl-C back until the block ends; a second one acts at once.

    Outside the main thread, where Python delivers no signals, nothing is held back.

    Yields:
        What to look at between two steps.

    Raises:
        KeyboardInterrupt: at the end of the block, if one was held back.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def hold(number: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupt.requested:
        raise KeyboardInterrupt
