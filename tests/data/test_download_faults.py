"""Fetching from servers that break off, lie or change their mind."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.data import download
from mobileq.data.download import Patience
from mobileq.data.fetch import fetch_pcam
from mobileq.data.steps import Step
from mobileq.errors import DataError
from support.http_server import Answer, Server, serve
from support.small_pcam import HASTY, SmallPcam, assert_whole, fetch_train

X = "camelyonpatch_level_2_split_train_x.h5.gz"
HALF = 40_000  # about half of the archive's 83 kB


MENDED: dict[str, tuple[list[Answer], list[str]]] = {
    # What goes wrong, and the ranges that must be asked for one after the other.
    "breaks off": ([Answer(cut=HALF)], ["", f"bytes={HALF}-"]),
    "breaks off twice": (
        [Answer(cut=HALF), Answer(cut=1000)],
        ["", f"bytes={HALF}-", f"bytes={HALF + 1000}-"],
    ),
    "breaks off before the first byte": ([Answer(cut=0)], ["", ""]),
    "falls silent": ([Answer(cut=HALF, pause=2.0)], ["", f"bytes={HALF}-"]),
    "ignores the range": (
        [Answer(cut=HALF), Answer(ignore_range=True)],
        ["", f"bytes={HALF}-"],
    ),
    "announces too much": ([Answer(length_error=5000)], [""]),
    "announces too little": ([Answer(length_error=-5000)], None),
    "announces too much of a range": (
        [Answer(cut=HALF), Answer(length_error=10**9)],
        ["", f"bytes={HALF}-"],
    ),
    "sends another range": (
        [Answer(cut=HALF), Answer(shift=3)],
        ["", f"bytes={HALF}-", ""],
    ),
    "does not know the range": (
        [Answer(cut=HALF), Answer(status=416)],
        ["", f"bytes={HALF}-", ""],
    ),
    "500": ([Answer(status=500)], ["", ""]),
    "503 twice": ([Answer(status=503), Answer(status=503)], ["", "", ""]),
    "429 in the middle": (
        [Answer(cut=HALF), Answer(status=429)],
        ["", f"bytes={HALF}-", f"bytes={HALF}-"],
    ),
    "calls the archive encoded": (
        [Answer(headers=(("Content-Encoding", "gzip"),))],
        [""],
    ),
}


@pytest.mark.parametrize(("answers", "ranges"), MENDED.values(), ids=MENDED)
def test_a_bad_server_is_put_up_with(
    tmp_path: Path,
    pcam: SmallPcam,
    server: Server,
    answers: list[Answer],
    ranges: list[str] | None,
) -> None:
    """The files are right in the end, and no byte is asked for twice without need."""
    server.answers.extend(answers)
    # A silence of 2 s is longer than this; everything else answers within 1 ms.
    fetch_train(
        tmp_path, pcam, server, Patience(4, wait_seconds=0.001, timeout_seconds=0.7)
    )
    assert_whole(tmp_path, pcam)
    if ranges is None:
        ranges = ["", f"bytes={len(pcam.packed[X]) - 5000}-"]
    assert [request.range for request in server.of(X)] == ranges


FAULTS = st.one_of(
    st.builds(
        Answer,
        cut=st.integers(0, 90_000),
        ignore_range=st.booleans(),
        length_error=st.sampled_from([0, 0, 1, -1, -2000, 10**6]),
        shift=st.sampled_from([0, 0, 1]),
    ),
    st.builds(Answer, status=st.sampled_from([408, 416, 429, 500, 502, 503, 504])),
)


@given(faults=st.lists(FAULTS, max_size=8), interrupts=st.lists(st.integers(0, 9)))
@settings(deadline=None, max_examples=15)
def test_any_mixture_of_faults_and_interrupts_ends_well(
    pcam: SmallPcam, faults: list[Answer], interrupts: list[int]
) -> None:
    """Runs that are interrupted or give up leave a directory that the next can use."""
    with tempfile.TemporaryDirectory() as name, serve(dict(pcam.packed)) as server:
        directory = Path(name)
        server.answers.extend(faults)
        files = pcam.files.mirrored(server.url)
        for left in interrupts[:4]:
            count = iter(range(left))

            def stop(step: Step, count: Iterator[int] = count) -> None:
                if next(count, None) is None:
                    raise KeyboardInterrupt

            try:
                fetch_pcam(
                    directory, files, splits=["train"], patience=HASTY, report=stop
                )
            except (KeyboardInterrupt, DataError):
                finals = {path.name for path in directory.glob("*.h5")}
                for final in finals:
                    assert (directory / final).read_bytes() == pcam.unpacked[final]
        for _ in faults:  # each run that gives up has used up one at least
            with suppress(DataError):
                fetch_train(directory, pcam, server)
        fetch_train(directory, pcam, server)
        assert_whole(directory, pcam)


@pytest.mark.parametrize("honest", [True, False])
def test_parts_of_two_versions_are_not_joined(
    tmp_path: Path, pcam: SmallPcam, server: Server, honest: bool
) -> None:
    """A file that changes on the server is fetched anew, whatever If-Range does."""
    server.tags[X] = '"one"'
    server.files[X] = pcam.packed[X][:HALF] + bytes(50_000)
    server.answers.extend([Answer(cut=HALF - 1), Answer(status=404)])
    with pytest.raises(DataError, match="404"):
        fetch_train(tmp_path, pcam, server)
    server.tags[X] = '"two"'
    server.files[X] = pcam.packed[X]
    if not honest:
        server.answers.append(Answer(ignore_if_range=True))
    fetch_train(tmp_path, pcam, server)
    assert_whole(tmp_path, pcam)
    after = server.of(X)[2:]
    assert after[0].headers["If-Range"] == '"one"'
    assert len(after) == (1 if honest else 2)
    assert after[-1].served == len(pcam.packed[X])


def test_a_server_that_goes_away_is_waited_for(
    tmp_path: Path, pcam: SmallPcam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has answered, a refused connection is a break like any other."""
    with ExitStack() as stack:
        server = stack.enter_context(serve(dict(pcam.packed)))
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        server.answers.append(Answer(cut=HALF))
        again: list[Server] = []

        def pause(seconds: float) -> None:
            if seconds < 2 * HASTY.wait_seconds:  # the first one
                stack.close()
            else:
                again.append(stack.enter_context(serve(dict(pcam.packed), port)))

        monkeypatch.setattr(download.time, "sleep", pause)
        steps = fetch_train(tmp_path, pcam, server)
        assert_whole(tmp_path, pcam)
        assert [request.range for request in again[0].of(X)] == [f"bytes={HALF}-"]
        assert any("Connection refused" in step.note for step in steps)


def flipped(content: bytes) -> bytes:
    """Return `content` with one bit of its middle changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_wrong_bytes_are_removed_and_both_hashes_named(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """Bytes that came in one go are not asked for again; nothing of them stays."""
    server.files[X] = flipped(pcam.packed[X])
    found = hashlib.md5(server.files[X]).hexdigest()
    wanted = hashlib.md5(pcam.packed[X]).hexdigest()
    with pytest.raises(DataError, match=f"{X}: MD5 is {found}, wanted {wanted}"):
        fetch_train(tmp_path, pcam, server)
    assert len(server.of(X)) == 1
    assert not list(tmp_path.glob("*_x*"))
    assert not list(tmp_path.glob("tmp*"))


def test_a_damaged_part_costs_one_more_download(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """What was put together wrongly is fetched once more from the start."""
    part = tmp_path / f"{X}.part"
    part.write_bytes(flipped(pcam.packed[X][:HALF]))
    steps = fetch_train(tmp_path, pcam, server)
    assert_whole(tmp_path, pcam)
    assert [request.range for request in server.of(X)] == [f"bytes={HALF}-", ""]
    assert any("put together from parts" in step.note for step in steps)


def test_wrong_bytes_in_pieces_are_refused_the_second_time(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """A server that breaks off and has wrong bytes does not keep us for ever."""
    server.files[X] = flipped(pcam.packed[X])
    server.answers.extend([Answer(cut=HALF), Answer()] * 5)
    with pytest.raises(DataError, match="MD5 is"):
        fetch_train(tmp_path, pcam, server)
    assert len(server.of(X)) == 4


def test_a_part_longer_than_the_archive_is_dropped(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """It cannot be a part of it."""
    (tmp_path / f"{X}.part").write_bytes(pcam.packed[X] + b"more")
    fetch_train(tmp_path, pcam, server)
    assert_whole(tmp_path, pcam)
    assert [request.range for request in server.of(X)] == [""]
