"""A folder of pictures as a labelled data set: one subfolder for each class.

    DIR/cat/1.png  DIR/dog/2.png              a test set
    DIR/train/cat/1.png  DIR/test/dog/2.png   splits, by the same names everywhere

Classes are numbered in the order of their names, as torchvision's ImageFolder numbers
them, or in that of given labels. Pictures may lie in folders further down. What begins
with a dot, and what is no picture by its suffix, is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import MAX_CLASSES, check_indices
from mobileq.data.pictures import SUFFIXES, Picture
from mobileq.data.splits import NAMES, Split, no_splits, rows_of
from mobileq.errors import DataError


@dataclass(frozen=True, eq=False)
class FolderPatches:
    """Pictures that are decoded when they are read; implements `Patches`.

    Attributes:
        pictures: The files, whose headers have been read, N of them.
        labels: shape (N,), uint8, indices of `classes`.
        classes: Names of the classes.
        channels: 1 for grey, 3 for RGB.
        resize: Edge that the largest central squares are brought to, in pixels; None
            where all pictures have one size, which is kept.
    """

    pictures: tuple[Picture, ...]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    channels: int = 3
    resize: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        if self.resize is not None:
            return self.resize, self.resize
        return self.pictures[0].height, self.pictures[0].width

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pictures)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pictures at `indices`, (B, H, W, C) uint8.

        Raises:
            DataError: an index is out of range; a file is gone, damaged or changed.
        """
        rows = check_indices(indices, len(self))
        pixels = np.empty((len(rows), *self.size, self.channels), np.uint8)
        for place, row in enumerate(rows.tolist()):
            pixels[place] = self.pictures[row].pixels(self.channels, self.resize)
        return pixels


def open_folder(
    directory: Path,
    split: Split,
    *,
    limit: int | None = None,
    labels: Sequence[str] | None = None,
    channels: int = 3,
    resize: int | None = None,
) -> FolderPatches:
    """Open one split of an image folder; the headers of all files are read.

    Args:
        directory: With one subfolder per class, or with those in folders of splits.
        split: "train", "valid" or "test"; a folder without splits is a test set.
        limit: Use so many pictures, evenly spread over all of them.
        labels: Names of the classes in the order of the logits; some may be absent.
        channels: 1 for grey, 3 for RGB; pictures of the other kind are converted.
        resize: Edge to bring the largest central square of each picture to, in pixels.
            Without it, all pictures must have one size.

    Raises:
        DataError: no such layout, neither grey nor RGB wanted, an unknown class, a
            class without a picture that can be read, no pictures, bad ones, or several
            sizes without `resize`.
    """
    if channels not in (1, 3):
        raise DataError(
            f"{directory}: pictures have 1 or 3 channels; wanted {channels} as the "
            f"network takes (give an .npz file)"
        )
    root, every = _root(directory, split)
    classes = _classes(directory, every, labels)
    files = [
        (path, index)
        for index, name in enumerate(classes)
        for path in _pictures(root / name)
    ]
    if not files:
        raise DataError(f"{root}: 0 pictures; wanted at least 1 (fill it)")
    chosen = [files[row] for row in rows_of(np.arange(len(files)), limit, str(root))]
    pictures = tuple(Picture.of(path) for path, _ in chosen)
    if resize is None:
        _check_sizes(pictures)
    numbers = np.asarray([index for _, index in chosen], np.uint8)
    return FolderPatches(pictures, numbers, classes, channels, resize)


def is_image_folder(directory: Path) -> bool:
    """Whether a directory has subfolders, or pictures that should lie in some."""
    if not directory.is_dir():
        return False
    return any(
        entry.is_dir() or entry.suffix.lower() in SUFFIXES
        for entry in directory.iterdir()
        if not entry.name.startswith(".")
    )


def _root(directory: Path, split: Split) -> tuple[Path, list[Path]]:
    """The folder with the split's classes, and all folders that have classes.

    Raises:
        DataError: there is none.
    """
    found = {
        known: directory / name
        for known, names in NAMES.items()
        for name in reversed(names)
        if _subfolders(directory / name)
    }
    if not found:
        no_splits(directory, split, f"put classes into {directory / split}")
        return directory, [directory]
    if split not in found:
        raise DataError(
            f"{directory}: has splits {', '.join(sorted(found))}; wanted {split} (add "
            f"the folder {directory / split}, or use another split)"
        )
    return found[split], list(found.values())


def _classes(
    directory: Path, roots: Sequence[Path], labels: Sequence[str] | None
) -> tuple[str, ...]:
    """Names of the classes of all splits in the order of their indices.

    Raises:
        DataError: there are none or too many, or one has no label.
    """
    # A class that one split lacks keeps its index in it.
    names = sorted({name for root in roots for name in _subfolders(root)})
    if not 1 <= len(names) <= MAX_CLASSES:
        raise DataError(
            f"{directory}: {len(names)} subfolders; wanted one for each of 1 to "
            f"{MAX_CLASSES} classes (sort the pictures into them)"
        )
    if labels is None:
        return tuple(names)
    for name in names:
        if name not in labels:
            raise DataError(
                f"{directory}: a subfolder is called {name!r}; wanted the network's "
                f"labels {_some(labels)} (rename it)"
            )
    return tuple(labels)


def _subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder; none if it is none."""
    if not folder.is_dir():
        return []
    found = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return [entry.name for entry in found if entry.is_dir()]


def _pictures(folder: Path) -> list[Path]:
    """All pictures in a class's folder and below, in the order of their paths.

    Raises:
        DataError: there are files in it, but none that can be read.
    """
    found: list[Path] = []
    others: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place) / name
            if name.startswith(".") or not path.is_file():
                continue
            (found if path.suffix.lower() in SUFFIXES else others).append(path)
    if others and not found:
        raise DataError(
            f"{folder}: no picture among {len(others)} files, such as "
            f"{min(others).name}; wanted {', '.join(sorted(SUFFIXES))} (convert them)"
        )
    return sorted(found)


def _check_sizes(pictures: Sequence[Picture]) -> None:
    """Check that pictures have one size.

    Raises:
        DataError: they have not.
    """
    first = pictures[0]
    for other in pictures[1:]:
        if (other.height, other.width) != (first.height, first.width):
            raise DataError(
                f"{other.path}: {other.height}x{other.width} px, and {first.path.name} "
                f"{first.height}x{first.width}; wanted pictures of one size (crop "
                f"them, or have them resized)"
            )


def _some(labels: Sequence[str]) -> str:
    """The first few of a list."""
    shown = ", ".join(labels[:5])
    return shown if len(labels) <= 5 else f"{shown}, ... ({len(labels)})"
