"""Ctrl-C that waits for the step in progress, so that what is saved is consistent."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """Whether Ctrl-C was pressed since `held_interrupt` was entered."""

    requested: bool = False


@contextmanager
def held_interrupt(same_press: float = 0.0) -> Iterator[Interrupt]:
    """Hold the first Ctrl-C back until the block ends; a second one acts at once.

    Outside the main thread, where Python delivers no signals, nothing is held back.

    Args:
        same_press: Time in seconds for which another signal is the same Ctrl-C. A
            process started by torchrun gets one from the terminal and one from
            torchrun.

    Yields:
        What to look at between two steps.

    Raises:
        KeyboardInterrupt: at the end of the block, if one was held back.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    pressed = -math.inf

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        now = time.monotonic()
        if interrupt.requested and now - pressed >= same_press:
            raise KeyboardInterrupt
        interrupt.requested, pressed = True, now

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupt.requested:
        raise KeyboardInterrupt
