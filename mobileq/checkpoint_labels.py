"""Names of the classes that a checkpoint was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mobileq.errors import CheckpointError

TISSUE = ("normal", "tumour")
"""What PCam's labels 0 and 1 mean, and those of synthetic tissue."""


def labels_of(
    source: str, training: Mapping[str, Any], classes: int
) -> tuple[str, ...]:
    """Labels of a checkpoint.

    They are `labels` among its training notes. A checkpoint without them that `mobileq
    train` wrote was trained on tissue: its two classes are PCam's.

    Args:
        source: Path of the checkpoint, for messages.
        training: Its training notes.
        classes: That it tells apart.

    Returns:
        A name for each class; none where they are not known.

    Raises:
        CheckpointError: the notes hold something else under this name.
    """
    found = training.get("labels")
    if found is None:
        trained = "config" in training
        return TISSUE if trained and classes == len(TISSUE) else ()
    whole = isinstance(found, list) and len(found) == classes
    if not whole or not all(isinstance(label, str) for label in found):
        raise CheckpointError(
            f"{source}: labels in the training notes are {found!r}; wanted "
            f"a list of {classes} names, one for each class"
        )
    return tuple(found)
