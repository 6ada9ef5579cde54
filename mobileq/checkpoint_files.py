"""The two kinds of file that hold a checkpoint, opened without running their code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mobileq.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "mobileq-checkpoint"
VERSION = 1

COLLAPSED = "mobileq-collapsed"
"""What `mobileq.collapsed` writes into the header of its files."""


def read_torch(path: Path, data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and weights of a `.pt` file; unpickles tensors and plain values only."""
    import io

    import torch

    refuse_compressed(path, data)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds Python objects, not only weights, and was not opened; "
            f"wanted a mobileq checkpoint, a state dictionary with --factory, or "
            f"--trust-pickle, which runs whatever code the file names"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged, truncated ({len(data):,} bytes) or not a torch file; "
            f"wanted a whole mobileq checkpoint (copy it again)"
        ) from error
    weights = content.get("weights") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in weights.items()
    ):
        raise CheckpointError(
            f"{path}: a torch file without a model spec; wanted a mobileq checkpoint, "
            f"or the function that builds the network (--factory "
            f"package.module:function)"
        )
    return {k: v for k, v in content.items() if k != "weights"}, weights


def refuse_compressed(path: Path, data: bytes) -> None:
    """Check that a `.pt` file holds no more than its size.

    torch stores its parts as they are. A part that is compressed can stand for a
    thousand times the memory.

    Args:
        path: For messages.
        data: The file; what is no zip archive is let through.

    Raises:
        CheckpointError: it holds compressed parts, or parts that overlap.
    """
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # damaged: torch says so
    total = sum(part.file_size for part in parts)
    stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    if not stored or total > len(data):
        raise CheckpointError(
            f"{path}: its parts are compressed ({len(data):,} bytes stand for "
            f"{total:,}); wanted a file as torch.save writes it (save it again)"
        )


def read_safetensors(
    path: Path, data: bytes
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and weights of a `.safetensors` file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        if COLLAPSED in metadata:
            return {COLLAPSED: True}, {}
        header = json.loads(metadata.get(FORMAT, "{}"))
        if not isinstance(header, dict):
            raise ValueError("the header is not a dictionary")
    except (
        *(SafetensorError, ValueError, AttributeError, TypeError),
        RecursionError,
    ) as error:
        raise CheckpointError(
            f"{path}: neither a torch nor a safetensors file, or truncated "
            f"({len(data):,} bytes); wanted a mobileq checkpoint"
        ) from error
    return cast("dict[str, Any]", header), weights
