"""What is measured and how, and what decides a figure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.cost import CostPlan
from mobileq.bench.equivariance import ANGLES
from mobileq.bench.machine import Machine
from mobileq.bench.store import Identity, Store
from mobileq.bench.subject import Labelled

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done, and how much there is; 0 and 0 where
that is not known."""

_PACKAGES = {
    "tflite": ("ai-edge-litert",),
    "onnx": ("onnxruntime",),
    "torch": ("torch", "escnn"),
}
"""Whose versions decide what a runtime computes."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        cost: How long to time.
        angles: Degrees besides the exact turns; empty to leave them out.
        profile: Whether to time every operator.
    """

    cost: CostPlan = CostPlan()  # noqa: RUF009  (frozen)
    angles: tuple[float, ...] = ANGLES
    profile: bool = False


@dataclass(frozen=True, eq=False)
class Bench:
    """What all measurements of one run have in common.

    Attributes:
        plan: What to measure.
        images: (N, H, W, C) pixels; the first one is timed, and square ones are turned.
        store: Where figures are kept.
        machine: Where this runs.
        labelled: Images with their classes, where accuracy is wanted.
        progress: Told what is going on.
    """

    plan: Plan
    images: NDArray[np.uint8]
    store: Store
    machine: Machine
    labelled: Labelled | None = None
    progress: Progress = lambda what, done, total: None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) that the network takes."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def square(self) -> bool:
        """Whether the images can be turned."""
        return self.shape[0] == self.shape[1]

    def identity(
        self, runtime: str, *, timed: bool = False, **options: Any
    ) -> Identity:
        """What decides a figure besides the row's label.

        Args:
            runtime: One of `_PACKAGES`.
            timed: Whether the machine does, too.
            options: What else does; plain values.
        """
        versions = self.machine.packages
        return Identity(
            " ".join(f"{n} {versions.get(n)}" for n in _PACKAGES[runtime]),
            str(self.machine) if timed else "",
            options=options,
        )

    def digest(self) -> str:
        """SHA-256 of the images that are turned."""
        return hashlib.sha256(self.images.tobytes()).hexdigest()
