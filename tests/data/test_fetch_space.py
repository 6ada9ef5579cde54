"""Fetching PCam onto a full disk; what the official files need, and where they are."""

from __future__ import annotations

import resource
import shutil
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mobileq.data.archives import OFFICIAL, SPLITS, PcamFiles
from mobileq.data.fetch import Outcome, fetch_pcam, space_needed
from mobileq.errors import DataError
from support.http_server import Server
from support.small_pcam import HASTY, SmallPcam

X = "camelyonpatch_level_2_split_train_x.h5"
Y = "camelyonpatch_level_2_split_train_y.h5"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def files(pcam: SmallPcam, server: Server) -> PcamFiles:
    """The registry with the server's address."""
    return pcam.files.mirrored(server.url)


def fetch(directory: Path, files: PcamFiles) -> tuple[Outcome, ...]:
    """Fetch the train split."""
    return fetch_pcam(directory, files, splits=["train"], patience=HASTY)


def put(directory: Path, contents: dict[str, bytes], *names: str) -> None:
    """Write some of `contents` into the directory."""
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_bytes(contents[name])


@contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond `limit` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_while_fetching(
    tmp_path: Path, pcam: SmallPcam, server: Server, files: PcamFiles
) -> None:
    """One line; what fitted is kept, and the next run asks for the rest only."""
    with largest_file(50_000), pytest.raises(DataError, match="cannot be written"):
        fetch(tmp_path, files)
    assert (tmp_path / f"{X}.gz.part").stat().st_size == 50_000
    server.requests.clear()
    fetch(tmp_path, files)
    assert [r.range for r in server.of(f"{X}.gz")] == ["bytes=50000-"]
    assert (tmp_path / X).read_bytes() == pcam.unpacked[X]


def test_a_full_disk_while_unpacking(
    tmp_path: Path, pcam: SmallPcam, server: Server, files: PcamFiles
) -> None:
    """The archive is kept, half an HDF5 file is not, and nothing is fetched again."""
    put(tmp_path, pcam.packed, f"{X}.gz", f"{Y}.gz")
    with largest_file(50_000), pytest.raises(DataError, match="is kept, run this"):
        fetch(tmp_path, files)
    assert {path.name for path in tmp_path.iterdir()} == {Y, f"{X}.gz", "pcam.json"}
    fetch(tmp_path, files)
    assert server.requests == []


def test_too_little_space_is_said_before_anything_is_fetched(
    tmp_path: Path, server: Server, files: PcamFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte less than needed is too little; as much is enough."""
    needed = space_needed(tmp_path, files.of(["train"]), keep_archives=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed - 1))
    with pytest.raises(DataError, match=r"0\.00 GB are free, wanted 0\.00 GB to fetch"):
        fetch(tmp_path, files)
    assert server.requests == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, needed))
    fetch(tmp_path, files)


def test_space_for_the_official_files(tmp_path: Path) -> None:
    """Archives go once unpacked, so the peak is at the last images, not the sum."""
    todo = OFFICIAL.of(SPLITS)
    packed = sum(archive.packed_bytes for archive in todo)
    unpacked = sum(archive.unpacked_bytes for archive in todo)
    kept = space_needed(tmp_path, todo, keep_archives=True)
    assert kept == packed + unpacked
    largest, last = 6_421_353_462, 800_875_929
    peak = max(largest + 7_320_000_000, unpacked + last)
    # 1 % covers the estimates of HDF5's tables.
    assert space_needed(tmp_path, todo, keep_archives=False) == pytest.approx(
        peak, rel=0.01
    )
    with (tmp_path / f"{X}.gz.part").open("wb") as part:
        part.truncate(10**9)  # a hole, not a gigabyte
    assert space_needed(tmp_path, todo, keep_archives=True) == kept - 10**9


@pytest.mark.parametrize("url", ["", "zenodo.org/files", "ftp://host/x", "http://"])
def test_an_address_must_be_one(url: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(DataError, match="wanted http://"):
        OFFICIAL.mirrored(url)


def test_the_official_addresses() -> None:
    """Six files at the record; a mirror has them under the same names, plainly."""
    urls = [OFFICIAL.url(archive) for archive in OFFICIAL.archives]
    assert urls[0] == (
        "https://zenodo.org/records/2546921/files/"
        "camelyonpatch_level_2_split_train_x.h5.gz?download=1"
    )
    assert len(set(urls)) == 6
    mirror = OFFICIAL.mirrored("http://host/pcam/")
    assert mirror.url(mirror.archives[0]) == f"http://host/pcam/{X}.gz"
    hashes = {a.packed_md5 for a in OFFICIAL.archives}
    hashes |= {a.unpacked_md5 for a in OFFICIAL.archives}
    assert len(hashes) == 12
    assert all(len(digest) == 32 and int(digest, 16) for digest in hashes)
