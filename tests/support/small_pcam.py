"""A small PCam to fetch: real gzip archives of real HDF5 files, own hashes."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from mobileq.data.archives import Archive, PcamFiles
from mobileq.data.download import Patience
from mobileq.data.fetch import fetch_pcam
from mobileq.data.steps import Step
from support.http_server import Server

HASTY = Patience(tries=4, wait_seconds=0.001, timeout_seconds=5.0)
"""For tests: as many tries as wanted, hardly any waiting."""


@dataclass(frozen=True)
class SmallPcam:
    """Archives of a small PCam, and what is in them.

    Attributes:
        files: registry with their sizes and hashes; the address leads nowhere.
        packed: the archives by name.
        unpacked: the HDF5 files by name.
    """

    files: PcamFiles
    packed: dict[str, bytes] = field(repr=False)
    unpacked: dict[str, bytes] = field(repr=False)


NOWHERE = "http://127.0.0.1:9/closed"
"""The discard port: nobody listens there."""


def small_pcam(
    directory: Path,
    splits: Sequence[Literal["train", "valid", "test"]],
    count: int,
    labels: int | None = None,
) -> SmallPcam:
    """Make splits of `count` patches of noise, 28 kB each in the archive as well.

    Args:
        directory: scratch.
        splits: which.
        count: images in each split.
        labels: labels in each split, if not as many.
    """
    rng = np.random.default_rng(count)
    archives, packed, unpacked = [], {}, {}
    for split in splits:
        values = {
            "x": rng.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8),
            "y": rng.integers(0, 2, (labels or count, 1, 1, 1), dtype=np.uint8),
        }
        for key in ("x", "y"):
            path = directory / f"{split}_{key}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset(key, data=values[key])
            content = path.read_bytes()
            archive = gzip.compress(content, compresslevel=1, mtime=0)
            entry = Archive(
                split=split,
                key="x" if key == "x" else "y",
                patches=count,
                packed_bytes=len(archive),
                packed_md5=hashlib.md5(archive).hexdigest(),
                unpacked_md5=hashlib.md5(content).hexdigest(),
            )
            archives.append(entry)
            packed[entry.packed_name] = archive
            unpacked[entry.name] = content
    return SmallPcam(PcamFiles(NOWHERE, tuple(archives)), packed, unpacked)


def assert_whole(directory: Path, pcam: SmallPcam, split: str = "train") -> None:
    """Nothing but the split's HDF5 files, byte for byte, and their record is there."""
    wanted = {name: data for name, data in pcam.unpacked.items() if split in name}
    found = {path.name for path in directory.iterdir()}
    assert found == {*wanted, "pcam.json"}
    for name, content in wanted.items():
        assert (directory / name).read_bytes() == content


def fetch_train(
    directory: Path, pcam: SmallPcam, server: Server, patience: Patience = HASTY
) -> list[Step]:
    """Fetch the train split from a server; return the steps."""
    steps: list[Step] = []
    files = pcam.files.mirrored(server.url)
    fetch_pcam(
        directory, files, splits=["train"], patience=patience, report=steps.append
    )
    return steps
