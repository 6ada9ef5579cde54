"""A data set as the command line names it: a directory, an .npz file, or `synthetic`.

directory with camelyonpatch_*.h5       PCam's official files      pcam.py
directory with one folder per class     pictures                   folder.py
file.npz                                arrays of images, labels   npz.py
synthetic                               drawn tissue               synthetic.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobileq.data.folder import is_image_folder, open_folder
from mobileq.data.npz import open_npz
from mobileq.data.patches import Patches
from mobileq.data.pcam import open_pcam
from mobileq.data.pictures import ResizedPatches, check_resize
from mobileq.data.splits import Split
from mobileq.data.synthetic import synthetic_tissue
from mobileq.errors import DataError

SYNTHETIC = "synthetic"

_SYNTHETIC_SPLITS: dict[Split, tuple[int, int]] = {
    "train": (2048, 1),
    "valid": (512, 2),
    "test": (512, 3),
}
"""Number of patches and seed of each split."""


def open_split(
    data: str,
    split: Split,
    *,
    limit: int | None = None,
    labels: Sequence[str] | None = None,
    channels: int = 3,
    resize: int | None = None,
) -> Patches:
    """Open one split.

    Images keep their pixels, and a network sees the middle of each that has its size
    (`mobileq.data.transforms.center_crop`); they must then have one size. With
    `resize`, the largest central square of each is resized instead.

    Args:
        data: Directory with PCam's official HDF5 files; directory of pictures with one
            folder per class; `.npz` file; or `synthetic`.
        split: `train`, `valid` or `test`. Pictures and arrays without splits are a test
            set.
        limit: Use so many images only: the first ones of PCam and of synthetic tissue,
            and evenly spread ones of the others, which are often sorted by class.
        labels: Names of the classes in the order of the network's logits, for data that
            have names of their own.
        channels: What the network takes; pictures are converted to grey (1) or RGB (3).
        resize: Edge to bring images to, in pixels, with antialiasing.

    Raises:
        DataError: it is missing or inconsistent, or has another number of channels.
    """
    check_resize(resize)
    path = Path(data)
    if data == SYNTHETIC:
        count, seed = _SYNTHETIC_SPLITS[split]
        found: Patches = synthetic_tissue(min(count, limit or count), seed=seed)
    elif path.suffix.lower() == ".npz" or path.is_file():
        found = open_npz(path, split, limit=limit, labels=labels)
    elif is_image_folder(path) and not any(path.glob("camelyonpatch_*")):
        return open_folder(
            path, split, limit=limit, labels=labels, channels=channels, resize=resize
        )
    else:
        found = open_pcam(path, split, limit=limit)
    if found.channels != channels:
        raise DataError(
            f"{data}: images of {found.channels} channels; wanted {channels} as the "
            f"network takes (convert them)"
        )
    return found if resize is None else ResizedPatches(found, resize)
