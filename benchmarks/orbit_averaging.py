"""What averaging the logits over turned and mirrored images gains at test time.

usage: python benchmarks/orbit_averaging.py --data DIR [NAME|FILE ...]

For each network, as trained, in float32, on the test split in DIR (PCam's HDF5 files):
accuracy of one look, of the four quarter turns and of all eight symmetries of the
square, and McNemar's test against one look. Without --data it says so and stops.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mobileq.bench.statistics import compare
from mobileq.checkpoint import load_checkpoint
from mobileq.data.patches import ArrayPatches, Patches
from mobileq.data.pcam import open_pcam
from mobileq.data.scores import score
from mobileq.data.transforms import center_crop
from mobileq.train.evaluate import predict

NAMES = ("pcam-equivariant", "pcam-conventional")


def measure(name: str, test: Patches) -> None:
    """Print one line for each number of looks."""
    checkpoint = load_checkpoint(name)
    model, size, labels = checkpoint.build(), checkpoint.spec.input_size, test.labels
    # Cropped before it is turned: the crop of an even patch is off its centre.
    images = center_crop(test.read(np.arange(len(test))), size)
    looks = [
        predict(
            model,
            ArrayPatches(np.ascontiguousarray(np.rot90(side, turns, (1, 2))), labels),
            input_size=size,
        )
        for side in (images, images[:, :, ::-1])
        for turns in range(4)
    ]
    single = looks[0].argmax(1) == labels
    print(f"{name}: one look {score(looks[0], labels)}")
    for count in (4, 8):
        mean = np.mean(looks[:count], axis=0)
        found = compare(mean.argmax(1) == labels, single)
        print(
            f"  mean of {count}: {score(mean, labels)}; "
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
