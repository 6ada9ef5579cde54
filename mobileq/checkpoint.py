"""Checkpoints: weights and a model spec in one file, and never any code.

A `.pt` file is a dictionary of plain values and tensors, read with
`torch.load(weights_only=True)`. A `.safetensors` file holds the same: weights as
tensors, the rest as JSON in its header. Which one it is shows in its first bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobileq.atomic import write_atomically
from mobileq.checkpoint_files import (
    COLLAPSED,
    FORMAT,
    VERSION,
    read_safetensors,
    read_torch,
)
from mobileq.errors import CheckpointError
from mobileq.models.spec import ModelSpec
from mobileq.reading import read_bounded

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One trained network.

    Attributes:
        spec: Architecture.
        weights: State dictionary, parameters and buffers by name.
        training: How it was trained and what it scored; plain JSON values.
        source: Path or name it was read from.
        sha256: Hash of the file's bytes, in hexadecimal.
    """

    spec: ModelSpec
    weights: Mapping[str, Tensor]
    training: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    sha256: str = ""

    def build(self) -> nn.Module:
        """Build the network with these weights, in evaluation mode.

        Raises:
            CheckpointError: a weight is missing, superfluous, of another shape, or not
                finite.
        """
        from mobileq.models.build import build_model

        model = build_model(self.spec)
        check_weights(model, self.weights, source=self.source)
        model.load_state_dict({k: v.float() for k, v in self.weights.items()})
        return model.eval()


def check_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    wanted_by: str = "the model spec in the file",
) -> None:
    """Check that `weights` fit the state dictionary of `model`.

    Args:
        model: Made by the model spec, or by a function of the user's.
        weights: By name.
        source: File that they are from, for messages.
        wanted_by: What made the model, for messages.

    Raises:
        CheckpointError: the first name, shape or value that does not.
    """
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in weights:
            raise CheckpointError(
                f"{source}: no weights for {name!r}; wanted a tensor of shape "
                f"{tuple(tensor.shape)}, as in {wanted_by}"
            )
        found = weights[name]
        if found.shape != tensor.shape:
            raise CheckpointError(
                f"{source}: {name} has shape {tuple(found.shape)}; wanted "
                f"{tuple(tensor.shape)}, as in {wanted_by}"
            )
        if not bool(found.float().isfinite().all()):
            raise CheckpointError(
                f"{source}: {name} holds NaN or infinity; wanted finite weights "
                f"(take the best checkpoint of the run, not the last)"
            )
    extra = sorted(set(weights) - set(wanted))
    if extra:
        raise CheckpointError(
            f"{source}: unknown weights {extra[0]!r} of shape "
            f"{tuple(weights[extra[0]].shape)}; wanted only those of {wanted_by}"
        )


def load_checkpoint(name: str | Path) -> Checkpoint:
    """Read a checkpoint from a path, or a shipped one by its name.

    Raises:
        CheckpointError: missing, truncated, foreign, pickled, or of a newer format.
    """
    path = resolve(name)
    try:
        data = read_bounded(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); wanted a checkpoint file"
        ) from error
    read = read_torch if data[:2] == b"PK" else read_safetensors
    header, weights = read(path, data)
    _check_header(path, header)
    spec = header.get("spec")
    training = header.get("training", {})
    if not isinstance(spec, dict) or not isinstance(training, dict):
        raise CheckpointError(
            f"{path}: 'spec' and 'training' are {type(spec).__name__} and "
            f"{type(training).__name__}; wanted dictionaries"
        )
    return Checkpoint(
        spec=ModelSpec.from_dict(spec, source=str(path)),
        weights=weights,
        training=training,
        source=str(name),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, whole or not at all; the suffix names the format.

    Raises:
        CheckpointError: the file cannot be written.
    """
    import torch
    from safetensors.torch import save

    header = {
        "format": FORMAT,
        "version": VERSION,
        "spec": checkpoint.spec.to_dict(),
        "training": dict(checkpoint.training),
    }
    weights = {k: v.detach().cpu().contiguous() for k, v in checkpoint.weights.items()}

    def write(temporary: Path) -> None:
        if path.suffix == ".safetensors":
            metadata = {FORMAT: json.dumps(header, sort_keys=True)}
            temporary.write_bytes(save(weights, metadata=metadata))
        else:
            torch.save({**header, "weights": weights}, temporary)

    write_atomically(path, write)


def shipped_checkpoints() -> dict[str, Path]:
    """Names and paths of the checkpoints that come with the package."""
    folder = resources.files("mobileq") / "checkpoints"
    paths = Path(str(folder)).glob("*.safetensors")
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def resolve(name: str | Path) -> Path:
    """Path of a checkpoint given as a path or as the name of a shipped one.

    Raises:
        CheckpointError: there is neither such a file nor such a name.
    """
    path = Path(name)
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise CheckpointError(
            f"{name}: cannot be read ({error.strerror}); wanted a checkpoint file"
        ) from error
    shipped = shipped_checkpoints()
    if str(name) in shipped:
        return shipped[str(name)]
    what = "is a directory" if path.is_dir() else "no such file"
    raise CheckpointError(
        f"{name}: {what}; wanted a checkpoint (.pt, .safetensors) or one of the "
        f"shipped names {', '.join(shipped) or '(none)'}"
    )


def _check_header(path: Path, header: Mapping[str, Any]) -> None:
    """Check format name and version.

    Raises:
        CheckpointError: foreign, or newer than this program.
    """
    if COLLAPSED in header:
        raise CheckpointError(
            f"{path}: a collapsed checkpoint, from which no torch network can be made; "
            f"wanted the checkpoint that it was collapsed from"
        )
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format is {header.get('format')!r}; wanted {FORMAT!r} (for other "
            f"state dictionaries: --factory package.module:function)"
        )
    version = header.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise CheckpointError(
            f"{path}: checkpoint format {version!r}; this mobileq reads up to "
            f"{VERSION} (install a newer mobileq)"
        )


__all__ = [
    "Checkpoint",
    "check_weights",
    "load_checkpoint",
    "resolve",
    "save_checkpoint",
    "shipped_checkpoints",
    "write_atomically",
]
