"""Rows of bytes that lie one after the other in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobileq.data.blocks import one_line
from mobileq.errors import DataError


@dataclass(frozen=True)
class StoredRows:
    """Reads rows of a file that stays as it is; only those asked for are in memory.

    Attributes:
        path: The file.
        offset: Bytes before the first row.
        shape: Of a row; its elements are bytes.
        state: Size in bytes and time of change of the file when it was checked.
    """

    path: Path
    offset: int
    shape: tuple[int, int, int]
    state: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", self._state())

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return rows by number, (B, *shape).

        Raises:
            DataError: the file is gone, has changed, or cannot be read.
        """
        size = math.prod(self.shape)
        found = np.empty((len(rows), size), np.uint8)
        try:
            if self._state() != self.state:
                raise OSError("it has changed")
            with self.path.open("rb", buffering=0) as file:
                for place, row in enumerate(rows.tolist()):
                    file.seek(self.offset + row * size)
                    if file.readinto(found[place].data) != size:
                        raise OSError("it is too short")
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read any more ({one_line(error)}), wanted the "
                f"file as it was when opened: do not write to a data set in use, start "
                f"again"
            ) from error
        return found.reshape(-1, *self.shape)

    def _state(self) -> tuple[int, int]:
        """Size in bytes, and time of change in nanoseconds."""
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns
