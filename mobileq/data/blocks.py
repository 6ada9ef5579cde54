"""Rows of an HDF5 data set in any order, with bounded memory.

HDF5 fetches (and unpacks) a whole chunk to give one row of it, and h5py's selection by
a list of rows wants them sorted and unique and is slow. So rows are read in blocks, one
chunk high, and the blocks used last are kept.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import DataError

CACHE_BYTES = 128 * 2**20
"""Upper limit of what one reader keeps in memory, in bytes."""

CONTIGUOUS_ROWS = 16
"""Block height for a data set without chunks, where a long block saves nothing."""


def block_rows(chunks: tuple[int, ...] | None, row_bytes: int) -> int:
    """Return how many rows are read at once.

    Args:
        chunks: the data set's chunk shape, None where it is contiguous.
        row_bytes: bytes of one row.

    Returns:
        The chunk's height, halved until two such blocks fit into the cache.
    """
    rows = CONTIGUOUS_ROWS if chunks is None else chunks[0]
    while rows > 1 and 2 * rows * row_bytes > CACHE_BYTES:
        rows = -(-rows // 2)
    return rows


@dataclass
class BlockReader:
    """Reads rows of the uint8 data set `key` in `path`; may be pickled or forked.

    The file is opened at the first read of each process. One thread at a time.

    Attributes:
        path: the HDF5 file.
        key: name of the data set.
        shape: its shape, rows first.
        rows: height of a block.
        file_bytes: size of the file when it was checked. HDF5 fills what a file has
            lost since with zeros, without a word.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    rows: int
    file_bytes: int
    _blocks: OrderedDict[int, NDArray[np.uint8]] = field(
        default_factory=OrderedDict, init=False, repr=False
    )
    _open: tuple[int, Any, Any] | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file and the cached blocks behind."""
        return {**self.__dict__, "_blocks": OrderedDict(), "_open": None}

    @property
    def capacity(self) -> int:
        """How many blocks fit into the cache."""
        row_bytes = int(np.prod(self.shape[1:]))
        return max(1, CACHE_BYTES // (self.rows * row_bytes))

    @property
    def cached_bytes(self) -> int:
        """Bytes that the cache holds now."""
        return sum(block.nbytes for block in self._blocks.values())

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the rows at `indices`, shape (B, *shape[1:]).

        Args:
            indices: shape (B,), each from 0 to shape[0] - 1; repeats are allowed.

        Raises:
            DataError: the file is gone, has changed or cannot be read.
        """
        rows = np.empty((len(indices), *self.shape[1:]), np.uint8)
        block_of = indices // self.rows
        # Blocks at hand come first: loading another might push them out.
        wanted = sorted(
            np.unique(block_of).tolist(), key=lambda block: block not in self._blocks
        )
        for block in wanted:
            where = np.flatnonzero(block_of == block)
            rows[where] = self._block(block)[indices[where] - block * self.rows]
        return rows

    def _block(self, block: int) -> NDArray[np.uint8]:
        found = self._blocks.get(block)
        if found is not None:
            self._blocks.move_to_end(block)
            return found
        while len(self._blocks) >= self.capacity:
            self._blocks.popitem(last=False)
        start = block * self.rows
        try:
            self._check_file()
            loaded: NDArray[np.uint8] = self._dataset()[start : start + self.rows]
        except (OSError, RuntimeError, KeyError) as error:
            raise DataError(
                f"{self.path}: rows {start} to {start + self.rows - 1} of "
                f"'{self.key}' cannot be read any more ({one_line(error)}), wanted the "
                "file as it was when opened: restore it and start again"
            ) from error
        self._blocks[block] = loaded
        return loaded

    def _check_file(self) -> None:
        found = self.path.stat().st_size
        if found != self.file_bytes:
            raise DataError(
                f"{self.path}: the file has {found} bytes, wanted {self.file_bytes} as "
                "when it was opened: do not write to a data set in use, start again"
            )

    def _dataset(self) -> Any:
        # A handle inherited through fork shares its parent's state; never use it.
        if self._open is None or self._open[0] != os.getpid():
            import h5py

            self._open = None
            # Chunks are cached here as blocks; a second copy in HDF5 would be waste.
            file = h5py.File(self.path, "r", rdcc_nbytes=0)
            self._open = (os.getpid(), file, file[self.key])
        return self._open[2]


def one_line(error: BaseException) -> str:
    """Return the message of `error` on one line."""
    return " ".join(str(error).split())
