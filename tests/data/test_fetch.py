"""Fetching PCam: what is there already, interruptions, checks, the record."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.pcam_files import write_pcam
from mobileq.data.archives import PcamFiles
from mobileq.data.fetch import Outcome, fetch_pcam
from mobileq.data.pcam import open_pcam
from mobileq.data.steps import Step
from mobileq.errors import DataError
from support.http_server import Server
from support.small_pcam import HASTY, SmallPcam, small_pcam

X = "camelyonpatch_level_2_split_train_x.h5"
Y = "camelyonpatch_level_2_split_train_y.h5"
FAR_FUTURE = 4_000_000_000  # seconds since 1970
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


def test_everything_is_fetched_into_a_new_directory(
    tmp_path: Path, pcam: SmallPcam, server: Server, files: PcamFiles
) -> None:
    """All splits are there, open, and each archive was sent once."""
    directory = tmp_path / "new" / "data"
    outcomes = fetch_pcam(directory, files, splits=["train", "test"], patience=HASTY)
    assert {outcome.how for outcome in outcomes} == {"fetched"}
    assert sum(outcome.received for outcome in outcomes) == sum(
        map(len, pcam.packed.values())
    )
    assert len(server.requests) == 4
    assert {path.name for path in directory.iterdir()} == {*pcam.unpacked, "pcam.json"}
    for split in ("train", "test"):
        assert open_pcam(directory, split).read(np.arange(3)).shape == (3, 96, 96, 3)


def test_a_second_run_looks_at_no_byte(
    tmp_path: Path, server: Server, files: PcamFiles
) -> None:
    """Size and time are as recorded: no request, no checking, everything kept."""
    fetch(tmp_path, files)
    before = len(server.requests)
    steps: list[Step] = []
    outcomes = fetch_pcam(tmp_path, files, splits=["train"], report=steps.append)
    assert outcomes == (Outcome(Y, "kept"), Outcome(X, "kept"))
    assert steps == []
    assert len(server.requests) == before


def test_only_the_missing_split_is_fetched(
    tmp_path: Path, server: Server, files: PcamFiles
) -> None:
    """What the first run brought is not asked for by the second."""
    fetch(tmp_path, files)
    server.requests.clear()
    outcomes = fetch_pcam(tmp_path, files, splits=["train", "test"], patience=HASTY)
    assert [outcome.how for outcome in outcomes] == ["kept"] * 2 + ["fetched"] * 2
    assert all("_test_" in request.name for request in server.requests)


@pytest.mark.parametrize("record", [None, b"", b"[1]", b'{"format": "mobileq-pcam"}'])
def test_files_without_a_record_are_known_by_their_hash(
    tmp_path: Path, pcam: SmallPcam, server: Server, files: PcamFiles, record: bytes
) -> None:
    """Unpacked by hand, copied, or with a damaged record: they are kept, and noted."""
    put(tmp_path, pcam.unpacked, X, Y)
    if record is not None:
        (tmp_path / "pcam.json").write_bytes(record)
    assert {outcome.how for outcome in fetch(tmp_path, files)} == {"kept"}
    assert server.requests == []
    entries = json.loads((tmp_path / "pcam.json").read_text())["files"]
    assert set(entries) == {X, Y}


def test_a_file_with_a_new_date_is_looked_at_again(
    tmp_path: Path, server: Server, files: PcamFiles
) -> None:
    """Unchanged bytes are kept; changed ones are refused, and never overwritten."""
    fetch(tmp_path, files)
    server.requests.clear()
    os.utime(tmp_path / X, (FAR_FUTURE, FAR_FUTURE))
    assert {outcome.how for outcome in fetch(tmp_path, files)} == {"kept"}
    content = bytearray((tmp_path / X).read_bytes())
    content[-1] ^= 1
    (tmp_path / X).write_bytes(content)
    with pytest.raises(DataError, match=rf"{X}: MD5 is [0-9a-f]+ .*move it away"):
        fetch(tmp_path, files)
    assert (tmp_path / X).read_bytes() == content
    assert server.requests == []


def test_files_of_somebody_else_are_not_touched(
    tmp_path: Path, server: Server, files: PcamFiles
) -> None:
    """Other patches under PCam's names stop the command before it does anything."""
    write_pcam(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=r"PCam's own file: move it away"):
        fetch(tmp_path, files)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert server.requests == []


@pytest.mark.parametrize("keep", [False, True])
def test_archives_that_lie_there_need_no_connection(
    tmp_path: Path, pcam: SmallPcam, keep: bool
) -> None:
    """They are checked and unpacked; they stay if that was asked for."""
    put(tmp_path, pcam.packed, f"{X}.gz", f"{Y}.gz")
    outcomes = fetch_pcam(tmp_path, pcam.files, splits=["train"], keep_archives=keep)
    assert outcomes == (Outcome(Y, "unpacked"), Outcome(X, "unpacked"))
    for name in (X, Y):
        assert (tmp_path / name).read_bytes() == pcam.unpacked[name]
        assert (tmp_path / f"{name}.gz").exists() == keep


def test_a_wrong_archive_that_lies_there_is_replaced(
    tmp_path: Path, pcam: SmallPcam, files: PcamFiles
) -> None:
    """Offline, the message says what is wrong with it; online, it is fetched."""
    (tmp_path / f"{Y}.gz").write_bytes(b"half of it")
    with pytest.raises(DataError, match=rf"the {Y}.gz that lies in .* another MD5"):
        fetch(tmp_path, pcam.files)
    assert (tmp_path / f"{Y}.gz").read_bytes() == b"half of it"
    assert {outcome.how for outcome in fetch(tmp_path, files)} == {"fetched"}
    assert (tmp_path / Y).read_bytes() == pcam.unpacked[Y]


@pytest.mark.parametrize("stage", ["fetch", "check", "unpack"])
def test_an_interrupt_loses_nothing(
    tmp_path: Path, pcam: SmallPcam, server: Server, files: PcamFiles, stage: str
) -> None:
    """Ctrl-C while fetching, checking or unpacking: no byte is fetched twice."""

    def stop(step: Step) -> None:
        if step.stage == stage and "_x" in step.name:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_pcam(tmp_path, files, splits=["train"], patience=HASTY, report=stop)
    assert not (tmp_path / X).exists()
    name = f"{X}.gz"
    here = (tmp_path / (name if stage == "unpack" else f"{name}.part")).stat().st_size
    assert here > 0
    server.requests.clear()
    fetch(tmp_path, files)
    assert sum(r.served for r in server.of(name)) == len(pcam.packed[name]) - here
    assert {path.name for path in tmp_path.iterdir()} == {X, Y, "pcam.json"}


def test_an_interrupt_while_pooch_compares_hashes_loses_nothing(
    tmp_path: Path, server: Server, files: PcamFiles
) -> None:
    """Pooch then removes its file, which must not be the only name of the bytes."""

    def stop(*args: object, **kwargs: object) -> bool:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch(tmp_path, files)
    assert [path.name for path in tmp_path.iterdir()] == [f"{Y}.gz.part"]
    server.requests.clear()
    fetch(tmp_path, files)
    assert server.of(f"{Y}.gz") == []


def test_what_a_killed_run_left_is_removed(
    tmp_path: Path, pcam: SmallPcam, files: PcamFiles
) -> None:
    """Pooch's second name of a part and half an HDF5 file go; other files stay."""
    name = f"{X}.gz"
    (tmp_path / f"{name}.part").write_bytes(pcam.packed[name])
    (tmp_path / "tmpabcd1234").hardlink_to(tmp_path / f"{name}.part")
    (tmp_path / f"{X}.unpacking").write_bytes(b"half")
    (tmp_path / "tmp-notes.txt").write_text("mine")
    fetch(tmp_path, files)
    assert {p.name for p in tmp_path.iterdir()} == {X, Y, "pcam.json", "tmp-notes.txt"}


def test_without_hard_links_a_download_works_too(
    tmp_path: Path, pcam: SmallPcam, files: PcamFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have none."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    fetch(tmp_path, files)
    assert (tmp_path / X).read_bytes() == pcam.unpacked[X]


def test_two_runs_do_not_share_a_directory(
    tmp_path: Path, server: Server, files: PcamFiles
) -> None:
    """The second is told so; the first goes on undisturbed."""
    server.gate_bytes = 1000
    first = threading.Thread(target=fetch, args=(tmp_path, files))
    first.start()
    while not server.requests:
        first.join(0.01)
    with pytest.raises(DataError, match="another run is fetching into it"):
        fetch(tmp_path, files)
    server.gate.set()
    first.join()
    assert {outcome.how for outcome in fetch(tmp_path, files)} == {"kept"}


def test_archives_that_do_not_fit_together_are_found(tmp_path: Path) -> None:
    """Right hashes, yet more labels than images: the split does not open."""
    odd = small_pcam(tmp_path, ["train"], count=2, labels=3)
    put(tmp_path / "data", odd.packed, *odd.packed)
    with pytest.raises(DataError, match="3 labels, wanted 2"):
        fetch(tmp_path / "data", odd.files)


def test_another_number_of_patches_is_found(tmp_path: Path, pcam: SmallPcam) -> None:
    """A split that opens must also be as long as the registry says."""
    put(tmp_path, pcam.packed, *pcam.packed)
    longer = tuple(replace(archive, patches=4) for archive in pcam.files.archives)
    with pytest.raises(DataError, match=r"3 patches; wanted 4"):
        fetch(tmp_path, replace(pcam.files, archives=longer))


def test_an_archive_that_is_no_gzip_file_is_reported(
    tmp_path: Path, pcam: SmallPcam
) -> None:
    """Its MD5 may be right all the same; nothing half-unpacked stays."""
    content = pcam.packed[f"{Y}.gz"][:-9]
    archives = tuple(
        replace(
            a, packed_bytes=len(content), packed_md5=hashlib.md5(content).hexdigest()
        )
        if a.name == Y
        else a
        for a in pcam.files.archives
    )
    (tmp_path / f"{Y}.gz").write_bytes(content)
    with pytest.raises(DataError, match=rf"{Y}.gz: cannot be unpacked .*whole gzip"):
        fetch(tmp_path, replace(pcam.files, archives=archives))
    assert [path.name for path in tmp_path.iterdir()] == [f"{Y}.gz"]


def test_a_directory_that_cannot_be_made(tmp_path: Path, pcam: SmallPcam) -> None:
    """A file in its place is one line of complaint."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot be written .*File exists"):
        fetch(tmp_path / "file", pcam.files)
