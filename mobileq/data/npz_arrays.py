"""What an `.npz` file says of its arrays, and small ones of them.

numpy.load would take the memory that a header asks for; here the header is read first.
"""

from __future__ import annotations

import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mobileq.errors import DataError

MAX_SMALL = 2**26
"""Most bytes of labels and names."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""Of a zip archive's entry: signature, five numbers, checksum and two sizes, and the
lengths of name and extra field."""


@dataclass(frozen=True)
class Header:
    """What an archive says of one array.

    Attributes:
        key: Its name.
        part: The archive's entry.
        shape: Of the array.
        dtype: Of its elements.
        start: Bytes of the entry before the first element.
    """

    key: str
    part: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int

    @property
    def stored(self) -> bool:
        """Whether it lies in the archive as it is."""
        return self.part.compress_type == zipfile.ZIP_STORED

    def __str__(self) -> str:
        """For messages."""
        return f"'{self.key}' has shape {self.shape} of {self.dtype}"


@dataclass(frozen=True, eq=False)
class Archive:
    """An open `.npz` file.

    Methods raise DataError for arrays of another kind than wanted. On damaged files
    they raise what zipfile, zlib, numpy and tokenize do.

    Attributes:
        path: The file.
        zipped: Its parts.
    """

    path: Path
    zipped: zipfile.ZipFile

    @property
    def keys(self) -> frozenset[str]:
        """Names of the arrays."""
        names = self.zipped.namelist()
        return frozenset(n.removesuffix(".npy") for n in names if n.endswith(".npy"))

    def header(self, key: str) -> Header:
        """Read an array's header and compare it with the size of its entry.

        Raises:
            DataError: the array holds Python objects or is not in C order.
        """
        part = self.zipped.getinfo(f"{key}.npy")
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"'{key}' is compressed in a way that numpy does not use")
        with self.zipped.open(part) as stream:
            version = npy.read_magic(stream)  # type: ignore[no-untyped-call]
            if version == (1, 0):
                found = npy.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
            else:
                found = npy.read_array_header_2_0(stream)  # type: ignore[no-untyped-call]
            shape, fortran, dtype = found
            header = Header(key, part, shape, dtype, stream.tell())
        if dtype.hasobject or (fortran and len(shape) > 1):
            kind = "Python objects" if dtype.hasobject else "Fortran order"
            raise DataError(
                f"{self.path}: {header} in {kind}, and was not opened; wanted plain "
                f"numbers or names in C order (save it with numpy.ascontiguousarray)"
            )
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or part.file_size - header.start != size:
            raise ValueError(
                f"{header}, which is not the {part.file_size:,} bytes that it has"
            )
        return header

    def names(self, key: str, count: int | None = None) -> list[str] | None:
        """A list of names; None if there is none.

        Args:
            key: Name of the array.
            count: How many are wanted, if it matters.

        Raises:
            DataError: it is something else.
        """
        if key not in self.keys:
            return None
        wanted = f"({'K' if count is None else count},) of names"
        found = self._list(key, "US", count, wanted)
        return [str(name) for name in found.astype(str)]

    def integers(self, key: str, count: int) -> NDArray[np.int64]:
        """A list of integers, (count,).

        Raises:
            DataError: it is something else.
        """
        wanted = f"({count},) of integers, one for each image"
        return self._list(key, "iub", count, wanted).astype(np.int64)

    def offset(self, header: Header) -> int:
        """Where the elements of a stored array begin in the file, in bytes."""
        start = header.part.header_offset
        with self.path.open("rb") as file:
            file.seek(start)
            # The central directory may have an extra field of another length.
            *_, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        return start + _LOCAL_HEADER.size + int(name) + int(extra) + header.start

    def wrong(self, header: Header, wanted: str) -> DataError:
        """What to say of an array of another kind."""
        return DataError(f"{self.path}: {header}; wanted {wanted} (save it so)")

    def _list(
        self, key: str, kinds: str, count: int | None, wanted: str
    ) -> NDArray[Any]:
        """A one-dimensional array of some of numpy's kinds of elements."""
        header = self.header(key)
        lengths = (header.shape,) if count is None else ((count,),)
        if header.dtype.kind not in kinds or header.shape not in lengths:
            raise self.wrong(header, wanted)
        if len(header.shape) != 1 or header.part.file_size > MAX_SMALL:
            raise self.wrong(header, f"{wanted}, and at most {MAX_SMALL:,} bytes")
        with self.zipped.open(header.part) as stream:
            return np.frombuffer(stream.read()[header.start :], header.dtype)
