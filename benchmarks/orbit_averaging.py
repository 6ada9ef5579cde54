"""What averaging the logits over turned and mirrored images gains at test time.

usage: python benchmarks/orbit_averaging.py --data DIR [NAME|FILE ...]

For each network, as trained, in float32, on the test split in DIR (PCam's HDF5 files):
accuracy of one look, of the four quarter turns and of all eight symmetries of the
square, and McNemar's test against one look. Without --data it says so and stops.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobileq.checkpoint import load_checkpoint
from mobileq.data.patches import Patches
from mobileq.data.pcam import open_pcam
from mobileq.data.scores import score
from mobileq.reproduce.statistics import compare
from mobileq.train.evaluate import predict

NAMES = ("pcam-equivariant", "pcam-conventional")


@dataclass(frozen=True, eq=False)
class Moved:
    """Patches turned by quarter turns, mirrored before that if asked.

    Attributes:
        inner: The patches.
        turns: Quarter turns.
        mirrored: Whether left and right are exchanged.
    """

    inner: Patches
    turns: int
    mirrored: bool

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Labels, (N,)."""
        return self.inner.labels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels; patches are square."""
        return self.inner.size

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.inner)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the moved patches at `indices`, (B, H, W, 3)."""
        images = self.inner.read(indices)
        if self.mirrored:
            images = images[:, :, ::-1]
        return np.ascontiguousarray(np.rot90(images, self.turns, (1, 2)))


def measure(name: str, test: Patches) -> None:
    """Print one line for each number of looks."""
    checkpoint = load_checkpoint(name)
    model, size = checkpoint.build(), checkpoint.spec.input_size
    looks = [
        predict(model, Moved(test, turns, mirrored), input_size=size)
        for mirrored in (False, True)
        for turns in range(4)
    ]
    single = looks[0].argmax(1) == test.labels
    print(f"{name}: one look {score(looks[0], test.labels)}")
    for count in (4, 8):
        mean = np.mean(looks[:count], axis=0)
        found = compare(mean.argmax(1) == test.labels, single)
        print(
            f"  mean of {count}: {score(mean, test.labels)}; "
            f"{100 * found.difference.value:+.2f} points, p {found.p_value:.2g}",
            flush=True,
        )


def main() -> None:
    """Measure the named networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if options.data is None:
        print("skipped: --data names no directory with PCam's HDF5 files")
        return
    test = open_pcam(options.data, "test")
    for name in options.names:
        measure(name, test)


if __name__ == "__main__":
    main()
