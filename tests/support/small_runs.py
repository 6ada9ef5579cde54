"""Training runs that take a second, and ways to end them early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobileq.data.patches import ArrayPatches
from mobileq.models.spec import CONVENTIONAL, ModelSpec
from mobileq.train.config import TrainConfig
from mobileq.train.loop import Progress

SPEC = ModelSpec(group="C4", width=0.05, input_size=15, reduced_strides=2)
# The conventional twin trains faster; what is kept on disk is of the same kind.
TWIN = replace(SPEC, group=CONVENTIONAL)
CONFIG = TrainConfig(epochs=2, batch_size=8, average=0.9, precision="fp32")
STEPS = 3


class Killed(BaseException):
    """Ends a process at once, as far as the code under test can tell."""


def noise(count: int, seed: int, size: int = 17) -> ArrayPatches:
    """Random patches (count, size, size, 3) with labels 0 and 1 in turn."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return ArrayPatches(images, (np.arange(count) % 2).astype(np.uint8))


TRAINING = noise(8 * STEPS + 1, seed=1)
VALIDATION = noise(16, seed=2)


def at(epoch: int, step: int, act: Callable[[], None]) -> Callable[[Progress], None]:
    """Report that acts after a step; both are counted from 0 and 1."""

    def report(progress: Progress) -> None:
        place = (progress.epoch, progress.step)
        if place == (epoch, step) and progress.validation is None:
            act()

    return report


def after_validation(epoch: int, act: Callable[[], None]) -> Callable[[Progress], None]:
    """Report that acts when an epoch, counted from 0, was validated and saved."""

    def report(progress: Progress) -> None:
        if progress.epoch == epoch and progress.validation is not None:
            act()

    return report


def die() -> None:
    """Raise what nothing catches."""
    raise Killed


@dataclass(frozen=True, eq=False)
class ActingPatches:
    """Patches that act whenever they are read."""

    inner: ArrayPatches
    act: Callable[[], None]

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Labels (N,)."""
        return self.inner.labels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.inner.size

    @property
    def channels(self) -> int:
        """Channels C."""
        return self.inner.channels

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.inner)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Act, then read."""
        self.act()
        return self.inner.read(indices)


def read_state(run_dir: Path) -> dict[str, Any]:
    """Content of a run's state file."""
    content: dict[str, Any] = torch.load(run_dir / "state.pt", weights_only=True)
    return content


def differences(left: Any, right: Any, name: str = "") -> list[str]:
    """Names of all values in which two nested structures differ by a bit or more."""
    if isinstance(left, torch.Tensor):
        same = left.dtype == right.dtype and torch.equal(left, right)
        return [] if same else [name]
    if isinstance(left, dict):
        if left.keys() != right.keys():
            return [f"{name} keys"]
        return [d for k in left for d in differences(left[k], right[k], f"{name}.{k}")]
    if isinstance(left, (list, tuple)):
        if len(left) != len(right):
            return [f"{name} length"]
        pairs = enumerate(zip(left, right, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{name}.{i}")]
    return [] if left == right else [name]
