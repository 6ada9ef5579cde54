"""Picture files as pixels: PNG, JPEG, BMP and TIFF, of 8 bits per channel.

Pixels are taken as they are stored: no colour profile is applied and no orientation
tag, an opacity is left out, and of several pages the first one counts. That is what
training pipelines do (torchvision's ImageFolder), and what a network was trained with
is what it must be measured with.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mobileq.data.blocks import one_line
from mobileq.data.patches import Patches, read_in_parts
from mobileq.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
"""Of the files that are read, in lower case."""

MAX_PIXELS = 2**26
"""Largest picture that is decoded: 192 MiB of RGB."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Pillow's modes of 8 bits per channel; it would cut off what exceeds them."""

_TARGETS = {1: "L", 3: "RGB"}


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture in pixels; only its header is read.

    Raises:
        DataError: it is no picture of 8 bits per channel, or too large a one.
    """
    from PIL import Image

    try:
        # A huge picture is refused below, and other warnings are of metadata.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                (width, height), mode = image.size, image.mode
    except Exception as error:
        raise _unreadable(path, error) from error
    if mode not in _MODES:
        raise DataError(
            f"{path}: pixels of Pillow's mode {mode!r}; wanted 8 bits per channel, "
            f"grey or colour (convert the picture)"
        )
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{path}: {height}x{width} px; wanted at most {MAX_PIXELS:,} pixels (make "
            f"the picture smaller, or cut it into patches)"
        )
    return height, width


@dataclass(frozen=True)
class Picture:
    """A picture file whose header has been read.

    Attributes:
        path: The file.
        height: In pixels.
        width: In pixels.
    """

    path: Path
    height: int
    width: int

    @classmethod
    def of(cls, path: Path) -> Picture:
        """Read the header; errors as of `picture_size`."""
        return cls(path, *picture_size(path))

    def pixels(self, channels: int, resize: int | None) -> NDArray[np.uint8]:
        """Decode the file.

        Args:
            channels: 1 for grey (ITU-R 601 luma of a coloured one), 3 for RGB.
            resize: As of `fitted`; None for the pixels as they are.

        Returns:
            (H, W, C).

        Raises:
            DataError: it is damaged, gone, or another one than it was.
        """
        from PIL import Image

        try:
            with Image.open(self.path, formats=_FORMATS) as image:
                found = image.size[::-1]
                if found == (self.height, self.width):
                    return fitted(_converted(image, channels), resize)
        except Exception as error:
            # What Pillow's decoders raise on damaged files has no common base.
            raise _unreadable(self.path, error) from error
        raise DataError(
            f"{self.path}: {found[0]}x{found[1]} px; wanted {self.height}x{self.width} "
            f"as when it was opened: do not write to a data set in use, start again"
        )


def fitted(image: Image, size: int | None) -> NDArray[np.uint8]:
    """Pixels of the largest central square, resized with an antialiased triangle.

    Args:
        image: Grey or RGB.
        size: Height and width of the result; None leaves the whole image as it is.

    Returns:
        (H, W, C).
    """
    from PIL.Image import Resampling

    if size is not None:
        edge = min(image.size)
        left, top = ((extent - edge) // 2 for extent in image.size)
        box = (left, top, left + edge, top + edge)
        image = image.resize((size, size), Resampling.BILINEAR, box=box)
    pixels = np.array(image, np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1)


@dataclass(frozen=True, eq=False)
class ResizedPatches:
    """Patches brought to another size; implements `mobileq.data.patches.Patches`.

    Attributes:
        inner: Patches of any size.
        edge: Height and width, in pixels, as of `fitted`.
    """

    inner: Patches
    edge: int

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Class indices (N,), uint8."""
        return self.inner.labels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.edge, self.edge

    @property
    def channels(self) -> int:
        """Channels C."""
        return self.inner.channels

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.inner)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the patches at `indices`, (B, S, S, C) uint8.

        Raises:
            DataError: an index is out of range, or they cannot be read.
        """
        from PIL import Image

        resized = np.empty((len(indices), *self.size, self.channels), np.uint8)
        every = chain.from_iterable(read_in_parts(self.inner, indices))
        for row, pixels in enumerate(every):
            # Pillow has no images of just any number of channels.
            for channel in range(self.channels):
                plane = Image.fromarray(np.ascontiguousarray(pixels[:, :, channel]))
                resized[row, :, :, channel] = fitted(plane, self.edge)[:, :, 0]
        return resized


def check_resize(resize: int | None) -> None:
    """Check a size to bring images to.

    Raises:
        DataError: it is below 1, or would not be decoded.
    """
    largest = math.isqrt(MAX_PIXELS)
    if resize is not None and not 1 <= resize <= largest:
        raise DataError(
            f"images are to be resized to {resize} px; wanted 1 to {largest}"
        )


def _converted(image: Image, channels: int) -> Image:
    """A grey or RGB image."""
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns about the direct way.
        image = image.convert("RGBA")
    return image.convert(_TARGETS[channels])


def _unreadable(path: Path, error: BaseException) -> DataError:
    """What to say of a file that Pillow does not read."""
    return DataError(
        f"{path}: cannot be read as a picture ({one_line(error)}); wanted a whole PNG, "
        f"JPEG, BMP or TIFF file (copy it again, or take it out)"
    )
