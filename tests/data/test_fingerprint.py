"""Whether two sets of labelled images are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mobileq.data import fingerprint as module
from mobileq.data.fingerprint import fingerprint
from mobileq.data.patches import ArrayPatches
from mobileq.data.source import open_split
from support.images import random_pixels

IMAGES = random_pixels(6, (3, 8, 8), seed=1)
LABELS = np.array([0, 0, 0, 1, 1, 1], np.uint8)


@given(st.integers(0, IMAGES.size - 1), st.integers(1, 255))
def test_every_pixel_counts(place: int, change: int) -> None:
    """A grey level that differs anywhere is seen."""
    other = IMAGES.copy()
    other.reshape(-1)[place] ^= np.uint8(change)
    assert fingerprint(ArrayPatches(other, LABELS)) != fingerprint(
        ArrayPatches(IMAGES, LABELS)
    )


def test_labels_shape_and_order_count() -> None:
    """So are a label, another cut of the same bytes, and two images exchanged."""
    swapped, other = [1, 0, 2, 3, 4, 5], LABELS.copy()
    other[2] = 1
    sets = [
        ArrayPatches(IMAGES, LABELS),
        ArrayPatches(IMAGES, other),
        ArrayPatches(IMAGES[swapped], LABELS[swapped]),
        ArrayPatches(IMAGES.reshape(6, 4, 16, 3), LABELS),
        ArrayPatches(IMAGES[:5], LABELS[:5]),
    ]
    assert len({fingerprint(patches) for patches in sets}) == len(sets)


def test_the_kind_of_file_does_not_count(tmp_path: Path) -> None:
    """Pictures, arrays in a file and in memory: the same images are the same."""
    for number, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        folder = tmp_path / "folder" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    found = {
        fingerprint(open_split(str(tmp_path / name), "test"))
        for name in ("folder", "a.npz")
    }
    assert found == {fingerprint(ArrayPatches(IMAGES, LABELS))}


def test_progress_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of what is read at once changes nothing; progress rises to the end."""
    patches = ArrayPatches(IMAGES, LABELS)
    whole = fingerprint(patches)
    monkeypatch.setattr(module, "_TOGETHER", 2 * 8 * 8 * 3)
    seen: list[tuple[int, int]] = []
    assert fingerprint(patches, lambda *step: seen.append(step)) == whole
    assert seen == [(2, 6), (4, 6), (6, 6)]
