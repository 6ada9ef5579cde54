"""Splits of data sets that were not made for this program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import DataError

Split = Literal["train", "valid", "test"]

NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "val", "validation"),
    "test": ("test",),
}
"""What a split is called; the first name counts where a data set has several."""


def no_splits(path: Path, split: Split, remedy: str) -> None:
    """Let a data set without splits be a test set and nothing else.

    Raises:
        DataError: another split is wanted. A network that is trained and tested on the
            same images would look better than it is.
    """
    if split != "test":
        raise DataError(
            f"{path}: one set without splits, which is taken for a test set; wanted "
            f"the {split} split ({remedy})"
        )


def rows_of(
    rows: NDArray[np.integer[Any]], limit: int | None, name: str
) -> NDArray[np.int64]:
    """The rows that are used, evenly spread: such data sets are sorted by class.

    Args:
        rows: (N,) all of them.
        limit: How many at most; None for all.
        name: For messages.

    Raises:
        DataError: `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise DataError(f"{name}: limit is {limit}, wanted at least 1 image")
    count = len(rows) if limit is None else min(limit, len(rows))
    places = np.arange(count) * len(rows) // max(count, 1)
    return np.asarray(rows[places], np.int64)
