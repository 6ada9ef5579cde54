"""A runner that is a plain function, so that what it does to images is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.models.masks import circular_mask

Function = Callable[[NDArray[np.uint8]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class FunctionRunner:
    """Logits (B, F) from pixels (B, H, W, C) by any function."""

    function: Function
    name: str = "function"
    integer: bool = False

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Call the function."""
        return self.function(pixels)

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """The logits."""
        return {"logits": self.function(pixels)}

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """One call."""
        return lambda: np.testing.assert_array_less(-1, self.function(pixels).shape)


def disc_sums(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sums of red and of green over the disc, (B, 2): integers, so no order matters."""
    mask = circular_mask(pixels.shape[1])
    return (pixels[..., :2] * mask[:, :, None].astype(np.int64)).sum((1, 2))


def disc_means(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Invariant under every turn and mirror image, bit for bit: (B, 2) float32."""
    return (disc_sums(pixels) / (pixels.shape[1] ** 2)).astype(np.float32)


def corner(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Not invariant at all: the mean of one quadrant and of the other three, (B, 2)."""
    half = pixels.shape[1] // 2
    quadrant = pixels[:, :half, :half].astype(np.float32).mean((1, 2, 3))
    rest = pixels[:, half:].astype(np.float32).mean((1, 2, 3))
    return np.stack([quadrant, rest], axis=1).astype(np.float32)
