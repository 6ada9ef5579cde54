"""A data set as the command line names it: a directory, or `synthetic`."""

from __future__ import annotations

from pathlib import Path

from mobileq.data.patches import Patches
from mobileq.data.pcam import Split, open_pcam
from mobileq.data.synthetic import synthetic_tissue

SYNTHETIC = "synthetic"

_SYNTHETIC_SPLITS: dict[Split, tuple[int, int]] = {
    "train": (2048, 1),
    "valid": (512, 2),
    "test": (512, 3),
}
"""Number of patches and seed of each split."""


def open_split(data: str, split: Split, *, limit: int | None = None) -> Patches:
    """Open one split.

    Args:
        data: Directory with PCam's official HDF5 files, or `synthetic`.
        split: `train`, `valid` or `test`.
        limit: Use the first patches only.

    Raises:
        DataError: it is missing or inconsistent.
    """
    if data == SYNTHETIC:
        count, seed = _SYNTHETIC_SPLITS[split]
        return synthetic_tissue(min(count, limit or count), seed=seed)
    return open_pcam(Path(data), split, limit=limit)
