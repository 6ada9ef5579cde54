"""Photographs to verify a network on that was trained on such: natural images."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mobileq.errors import DataError, InputError

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle")
"""Colour photographs that lie inside of scikit-image's wheel."""
SMALLEST = 0.5
"""Smallest crop, as a share of the photograph's shorter edge."""
_SUFFIXES = (".jpg", ".jpeg", ".png")


def natural_images(
    size: int = 224, count: int = 50, *, seed: int = 0
) -> NDArray[np.uint8]:
    """Crops of scikit-image's photographs, at several scales and places.

    They take turns. The first crop of each is its largest central square; others have
    a random scale and place, and every second one is mirrored.

    Args:
        size: Height and width of the results, in pixels.
        count: Number of crops.
        seed: Decides them.

    Returns:
        (count, size, size, 3) uint8.

    Raises:
        InputError: scikit-image is not installed.
    """
    pictures = [photograph(name) for name in PHOTOGRAPHS]
    rng = np.random.default_rng(seed)
    crops = []
    for number in range(count):
        turn, index = divmod(number, len(pictures))
        picture = pictures[index]
        if turn == 0:
            crops.append(square(picture, size))
            continue
        edge = round(min(picture.shape[:2]) * rng.uniform(SMALLEST, 1))
        top, left = (int(rng.integers(0, n - edge + 1)) for n in picture.shape[:2])
        cut = picture[top : top + edge, left : left + edge]
        crops.append(square(cut[:, ::-1] if turn % 2 else cut, size))
    return np.stack(crops)


def photograph(name: str) -> NDArray[np.uint8]:
    """One of `PHOTOGRAPHS`, (H, W, 3) uint8.

    Raises:
        InputError: scikit-image is not installed.
    """
    try:
        data: Any = importlib.import_module("skimage.data")
    except ImportError as error:
        raise InputError(
            "photographs: scikit-image is not installed; wanted it for natural images "
            "(pip install scikit-image, or give images of your own)"
        ) from error
    if name == "motorcycle":
        picture = data.stereo_motorcycle()[0]
    else:
        picture = getattr(data, name)()
    return np.asarray(picture, np.uint8)


def square(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The largest central square of a picture, resized with antialiasing.

    Args:
        picture: (H, W, 3) uint8.
        size: Height and width of the result, in pixels.
    """
    edge = min(picture.shape[:2])
    top, left = ((n - edge) // 2 for n in picture.shape[:2])
    cut = picture[top : top + edge, left : left + edge].transpose(2, 0, 1)
    image = torch.from_numpy(np.ascontiguousarray(cut)).float()[None]
    resized = F.interpolate(image, (size, size), mode="bilinear", antialias=True)
    pixels: NDArray[np.uint8] = resized[0].round().clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def read_images(path: Path, size: int) -> NDArray[np.uint8]:
    """Images of one's own.

    Args:
        path: A .npy file, (N, H, W, 3) uint8, or a folder of JPEG and PNG files.
        size: Height and width of the results, in pixels.

    Returns:
        (N, size, size, 3) uint8: the largest central squares.

    Raises:
        DataError: nothing usable is there.
        InputError: a folder, and Pillow is not installed.
    """
    try:
        pictures = _read_folder(path) if path.is_dir() else np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); wanted a folder of JPEG and PNG files, "
            f"or a .npy file (N, H, W, 3) of uint8"
        ) from error
    if not len(pictures) or any(
        p.dtype != np.uint8 or p.ndim != 3 or p.shape[2] != 3 for p in pictures
    ):
        raise DataError(
            f"{path}: {len(pictures)} images, not all (H, W, 3) of uint8; wanted a "
            f"folder of JPEG and PNG files, or a .npy file (N, H, W, 3) of uint8"
        )
    return np.stack([square(picture, size) for picture in pictures])


def _read_folder(path: Path) -> list[NDArray[np.uint8]]:
    """All pictures of a folder, in the order of their names."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(
            f"{path}: Pillow is not installed; wanted it to read pictures "
            f"(pip install pillow, or give a .npy file)"
        ) from error
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in _SUFFIXES)
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]
