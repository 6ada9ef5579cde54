"""Whether two sets of labelled images are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import Patches
from mobileq.data.prefetch import prefetch

_TOGETHER = 2**22
"""Bytes of pixels in memory together."""


def fingerprint(
    patches: Patches, progress: Callable[[int, int], None] = lambda done, total: None
) -> str:
    """SHA-256 of all pixels and labels in their order, in hexadecimal.

    It is the same for the same images from any kind of file, and costs one reading of
    them: an image that was exchanged is found, whatever size and time its file has.

    Args:
        patches: Labelled images.
        progress: Called with the images done and all of them.

    Raises:
        DataError: they cannot be read.
    """
    height, width = patches.size
    shape = (len(patches), height, width, patches.channels)
    digest = hashlib.sha256(repr(shape).encode())
    digest.update(patches.labels.tobytes())
    step = max(1, _TOGETHER // (height * width * patches.channels))

    def read(start: int) -> NDArray[np.uint8]:
        rows = np.arange(start, min(start + step, len(patches)))
        return np.ascontiguousarray(patches.read(rows))

    done = 0
    with closing(prefetch(read, range(0, len(patches), step))) as batches:
        for images in batches:
            digest.update(images.data)
            done += len(images)
            progress(done, len(patches))
    return digest.hexdigest()
