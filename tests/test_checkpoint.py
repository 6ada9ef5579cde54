"""Checkpoints that are written and read, and every bad input."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mobileq.checkpoint import (
    FORMAT,
    VERSION,
    Checkpoint,
    load_checkpoint,
    resolve,
    save_checkpoint,
    shipped_checkpoints,
    write_atomically,
)
from mobileq.errors import CheckpointError
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec

SPEC = ModelSpec(group="C4", width=0.05, input_size=17)
SUFFIXES = (".pt", ".safetensors")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A small network with random weights."""
    torch.manual_seed(0)
    weights = build_model(SPEC).state_dict()
    return Checkpoint(SPEC, weights, {"epochs": 3, "test": {"auc": 0.9}})


def _message(path: Path) -> str:
    """The one line that a user sees for a bad file; it names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path).build()
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert "wanted" in text or "install a newer mobileq" in text
    assert caught.value.exit_code == 2
    return text


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path: Path, checkpoint: Checkpoint, suffix: str) -> None:
    """Spec, weights and training record come back; the network computes the same."""
    path = tmp_path / f"model{suffix}"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert (loaded.spec, loaded.training) == (SPEC, checkpoint.training)
    assert (loaded.source, len(loaded.sha256)) == (str(path), 64)
    for name, tensor in checkpoint.weights.items():
        assert torch.equal(loaded.weights[name], tensor), name
    model = loaded.build()
    assert not model.training
    images = torch.randn(2, 3, 17, 17)
    reference = checkpoint.build()
    with torch.no_grad():
        assert torch.equal(model(images), reference(images))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_format_shows_in_the_content_not_the_name(
    tmp_path: Path, checkpoint: Checkpoint, suffix: str
) -> None:
    """A renamed file is read all the same."""
    path = tmp_path / f"model{suffix}"
    save_checkpoint(path, checkpoint)
    renamed = path.rename(tmp_path / "weights.bin")
    assert load_checkpoint(renamed).spec == SPEC


def test_missing_file_and_directory(tmp_path: Path) -> None:
    """Each message says what is there, and names the shipped checkpoints."""
    assert "no such file" in _message(tmp_path / "absent.pt")
    assert "is a directory" in _message(tmp_path)
    assert "shipped names" in _message(tmp_path / "absent.pt")
    _message(tmp_path / ("long" * 100))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 1, 2, 7, 100, 0.5, 0.99, -1])
def test_truncated_files(
    tmp_path: Path, checkpoint: Checkpoint, suffix: str, kept: float
) -> None:
    """Wherever the file was cut, it is refused, and its size is told."""
    path = tmp_path / f"model{suffix}"
    save_checkpoint(path, checkpoint)
    data = path.read_bytes()
    length = int(kept * len(data)) if isinstance(kept, float) else kept
    path.write_bytes(data[:length])
    assert "truncated" in _message(path)


def test_foreign_files(tmp_path: Path) -> None:
    """A zip archive, a picture, text, and other programs' weights."""
    archive = tmp_path / "archive.pt"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "not weights")
    assert "not a torch file" in _message(archive)
    for name, data in {
        "picture.pt": b"\x89PNG\r\n\x1a\n" + bytes(1000),
        "text.pt": b"learning rate\n" * 50,
        "zeros.safetensors": bytes(64),
        "huge.safetensors": b"\xff" * 64,
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert "neither a torch nor a safetensors file" in _message(path)
    weights = {"weight": torch.zeros(2)}
    torch.save(weights, tmp_path / "other.pt")
    assert "a torch file without a model spec" in _message(tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "a torch file without a model spec" in _message(tmp_path / "list.pt")
    save_file(weights, tmp_path / "other.safetensors")
    assert "format is None" in _message(tmp_path / "other.safetensors")


@pytest.mark.parametrize("header", ["[]", "null", "3", "{", '"text"'])
def test_safetensors_with_a_header_of_another_kind(tmp_path: Path, header: str) -> None:
    """Only a dictionary is a header."""
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={FORMAT: header})
    assert "neither a torch nor a safetensors file" in _message(path)


class _Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("kind", ["torch", "old torch", "pickle", "module"])
def test_code_in_a_file_is_not_executed(tmp_path: Path, kind: str) -> None:
    """A pickled object is refused before it can do anything."""
    target = tmp_path / "executed"
    path = tmp_path / "model.pt"
    payload = {"format": FORMAT, "version": VERSION, "weights": _Payload(target)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(payload))
    elif kind == "module":
        torch.save(torch.nn.Linear(2, 2), path)
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=kind == "torch")
    text = _message(path)
    if kind in ("torch", "module"):
        assert "holds Python objects, not only weights, and was not opened" in text
    assert not target.exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    """The test above tests something: unpickling does create the file."""
    target = tmp_path / "executed"
    pickle.loads(pickle.dumps(_Payload(target)))
    assert target.exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": VERSION + 1}, f"checkpoint format {VERSION + 1}; this mobileq"),
        ({"version": 0}, "checkpoint format 0; this mobileq reads up to"),
        ({"version": "1"}, "checkpoint format '1'; this mobileq reads up to"),
        ({"format": "other"}, "format is 'other'; wanted 'mobileq-checkpoint'"),
        ({"spec": None}, "'spec' and 'training' are NoneType and dict; wanted"),
        ({"training": [1]}, "'spec' and 'training' are dict and list; wanted"),
        ({"spec": {"depth": 3}}, "unknown key 'depth' in the model spec"),
        ({"spec": {"width": -1.0}}, "width is -1.0; wanted 0.01 to 8"),
    ],
)
def test_headers_that_are_not_ours(
    tmp_path: Path,
    checkpoint: Checkpoint,
    suffix: str,
    change: dict[str, Any],
    message: str,
) -> None:
    """Newer versions, other formats and broken specs name what was found."""
    path = tmp_path / f"model{suffix}"
    header = {
        "format": FORMAT,
        "version": VERSION,
        "spec": SPEC.to_dict(),
        "training": {},
        **change,
    }
    weights = dict(checkpoint.weights)
    if suffix == ".pt":
        torch.save({**header, "weights": weights}, path)
    else:
        save_file(weights, path, metadata={FORMAT: json.dumps(header)})
    assert message in _message(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["missing", "shape", "nan", "infinity", "extra"])
def test_weights_that_do_not_fit(
    tmp_path: Path, checkpoint: Checkpoint, suffix: str, kind: str
) -> None:
    """The first wrong tensor is named."""
    weights = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
    name = "classifier.weight"
    shape = tuple(weights[name].shape)
    message = {
        "missing": f"no weights for '{name}'; wanted a tensor of shape {shape}",
        "shape": f"{name} has shape (7,); wanted {shape}",
        "nan": f"{name} holds NaN or infinity; wanted finite weights",
        "infinity": f"{name} holds NaN or infinity; wanted finite weights",
        "extra": "unknown weights 'more' of shape (1,); wanted only those of the model",
    }[kind]
    if kind == "missing":
        del weights[name]
    elif kind == "shape":
        weights[name] = torch.zeros(7)
    elif kind == "extra":
        weights["more"] = torch.zeros(1)
    else:
        weights[name][0, 0] = np.nan if kind == "nan" else np.inf
    path = tmp_path / f"model{suffix}"
    save_checkpoint(path, replace(checkpoint, weights=weights))
    assert message in _message(path)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """A full disk, reported by Python or by torch, leaves nothing half-written."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")
    for error in (OSError(errno.ENOSPC, "No space left"), RuntimeError("write failed")):

        def write(temporary: Path, error: Exception = error) -> None:
            temporary.write_bytes(b"half")
            raise error

        with pytest.raises(CheckpointError, match=r"cannot be written .* is unchanged"):
            write_atomically(path, write)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_keeps_the_old_file(tmp_path: Path) -> None:
    """Control-C passes through, and the temporary file is gone."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["file/model.pt", "."])
def test_a_target_that_cannot_be_written(
    tmp_path: Path, checkpoint: Checkpoint, where: str
) -> None:
    """A file where a directory should be, and a directory where a file should be."""
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / where, checkpoint)
    assert (tmp_path / "file").read_bytes() == b"in the way"


def test_shipped_names_are_accepted_where_a_path_is() -> None:
    """Every shipped checkpoint resolves by its name and loads."""
    for name, path in shipped_checkpoints().items():
        assert resolve(name) == path
        assert load_checkpoint(name).source == name


def test_a_zip_bomb_is_refused_before_it_is_opened(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """A megabyte that stands for a gigabyte of zeros; nothing of it is unpacked."""
    path = tmp_path / "bomb.pt"
    save_checkpoint(tmp_path / "sound.pt", checkpoint)
    with (
        zipfile.ZipFile(tmp_path / "sound.pt") as sound,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for part in sound.infolist():
            data = sound.read(part)
            zeros = part.filename.endswith("data/0")
            with bomb.open(part.filename, "w", force_zip64=True) as file:
                for _ in range(64 if zeros else 1):
                    file.write(bytes(2**24) if zeros else data)
    assert path.stat().st_size < 2**21
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"its parts are compressed .* stand for"):
        load_checkpoint(path)
    # In KiB; a gigabyte would be seen.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18
