"""Synthetic tissue in PCam's official layout: small, both classes in each split."""

from __future__ import annotations

from pathlib import Path

from data.pcam_files import images_path, labels_path, write_array
from mobileq.data.synthetic import synthetic_tissue

COUNTS = {"train": 96, "valid": 48, "test": 64}


def write_tissue(directory: Path) -> Path:
    """Write the six files of the three splits; returns the directory."""
    directory.mkdir(exist_ok=True)
    for seed, (split, count) in enumerate(COUNTS.items()):
        tissue = synthetic_tissue(count, seed=seed)
        write_array(images_path(directory, split), "x", tissue.images)
        labels = tissue.labels.reshape(-1, 1, 1, 1)
        write_array(labels_path(directory, split), "y", labels)
    return directory
