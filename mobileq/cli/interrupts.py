"""Ctrl-C that a library turns into an error of its own."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupts:
    """Notes Ctrl-C before it becomes an exception, as a context manager.

    Extension modules that are interrupted while they are imported raise ImportError or
    SystemError in place of KeyboardInterrupt, and some of them without a cause.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._watching = False

    def __enter__(self) -> Interrupts:
        """Begin, unless somebody else handles Ctrl-C."""
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)
            self._watching = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the process as it was."""
        if self._watching:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Do as Python does, and remember it."""
        self.pressed = True
        signal.default_int_handler(number, frame)
