"""Patches from .npy files, turned, and as a network takes them: without numpy."""

from __future__ import annotations

import ast
from array import array
from dataclasses import dataclass
from math import prod
from pathlib import Path

from mobileq_android.errors import PhoneError, one_line

MOST_BYTES = 2**30
_MAGIC = b"\x93NUMPY"
_BAD_HEADER = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    SyntaxError,
    MemoryError,
    RecursionError,
)
_BYTES = {"|u1", "<u1", ">u1"}


@dataclass(frozen=True)
class Patches:
    """Images of unsigned bytes.

    Attributes:
        data: (N, H, W, C), in this order.
        shape: (N, H, W, C).
    """

    data: bytes
    shape: tuple[int, int, int, int]

    @property
    def count(self) -> int:
        """N."""
        return self.shape[0]

    @property
    def square(self) -> bool:
        """Whether they can be turned."""
        return self.shape[1] == self.shape[2]

    def images(self) -> list[bytes]:
        """(H, W, C) each."""
        size = prod(self.shape[1:])
        return [self.data[i * size : (i + 1) * size] for i in range(self.count)]

    def turned(self, quarters: int) -> Patches:
        """Turned counter-clockwise by quarter turns, as numpy.rot90 does it."""
        done = self
        for _ in range(quarters % 4):
            data = b"".join(_quarter(one, *self.shape[1:]) for one in done.images())
            done = Patches(data, self.shape)
        return done

    def as_input(self, kind: str, scale: float = 1.0, zero: float = 0.0) -> bytes:
        """As a file takes them.

        Args:
            kind: `uint8` and `int8`: pixels, less 128 for the latter. `float32`:
                (pixel - zero) * scale.
            scale: Of a real input.
            zero: Of a real input.

        Raises:
            PhoneError: another kind.
        """
        if kind == "uint8":
            return self.data
        if kind == "int8":
            return self.data.translate(bytes((b - 128) % 256 for b in range(256)))
        if kind != "float32":
            raise PhoneError(
                f"input type is {one_line(kind)!r}; wanted uint8, int8 or float32"
            )
        values = array("f", [(pixel - zero) * scale for pixel in range(256)])
        words = [values[pixel : pixel + 1].tobytes() for pixel in range(256)]
        return b"".join(map(words.__getitem__, self.data))


def read_patches(path: Path) -> Patches:
    """Read images from what numpy.save writes.

    Raises:
        PhoneError: the file cannot be read, or holds something else than unsigned bytes
            of shape (N, H, W, C).
    """
    wanted = "wanted a .npy file of unsigned bytes, (N, H, W, C)"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PhoneError(f"{path}: has more than {MOST_BYTES:,} bytes; {wanted}")
        data = path.read_bytes()
    except OSError as error:
        raise PhoneError(f"{path}: cannot be read ({error.strerror}); {wanted}") from (
            error
        )
    try:
        if data[:6] != _MAGIC or data[6] not in (1, 2, 3):
            raise ValueError("no .npy file")
        width = 2 if data[6] == 1 else 4
        length = int.from_bytes(data[8 : 8 + width], "little")
        begin = 8 + width + length
        header = ast.literal_eval(data[8 + width : begin].decode("latin-1"))
        shape, kind = tuple(header["shape"]), header["descr"]
        if kind not in _BYTES or header["fortran_order"] or len(shape) != 4:
            raise ValueError(f"{kind!r} of shape {shape}")
        if not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"shape {shape}")
    except _BAD_HEADER as error:
        raise PhoneError(f"{path}: {one_line(str(error))}; {wanted}") from error
    if len(data) - begin != prod(shape):
        raise PhoneError(
            f"{path}: {len(data) - begin:,} bytes of pixels for shape {shape}; {wanted}"
        )
    return Patches(data[begin:], (shape[0], shape[1], shape[2], shape[3]))


def _quarter(image: bytes, height: int, width: int, channels: int) -> bytes:
    """One image, turned counter-clockwise: row i of the result is column W - 1 - i."""
    row = width * channels
    return b"".join(
        image[j * row + i * channels : j * row + (i + 1) * channels]
        for i in range(width - 1, -1, -1)
        for j in range(height)
    )
