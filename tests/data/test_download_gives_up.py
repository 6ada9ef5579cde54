"""When fetching is given up, at once or after some tries, and what it says then."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobileq.data import download
from mobileq.data.download import Patience
from mobileq.data.fetch import fetch_pcam
from mobileq.errors import DataError
from support.http_server import Answer, Server
from support.small_pcam import HASTY, NOWHERE, SmallPcam, assert_whole, fetch_train

X = "camelyonpatch_level_2_split_train_x.h5.gz"
HALF = 40_000  # about half of the archive's 83 kB


def test_a_connection_that_never_holds_is_given_up(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """After so many tries the message says how far it came; the part stays."""
    server.answers.extend([Answer(cut=1000)] * 9)
    with pytest.raises(DataError, match=r"4 times in a row, 4,000 of 83,\d+ bytes"):
        fetch_train(tmp_path, pcam, server)
    assert len(server.of(X)) == HASTY.tries
    assert (tmp_path / f"{X}.part").read_bytes() == pcam.packed[X][:4000]


def test_a_connection_that_brings_enough_is_not_counted(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """A long download over a bad line may break off as often as it likes."""
    server.answers.extend([Answer(cut=8000)] * 9)
    fetch_train(
        tmp_path, pcam, server, Patience(2, enough_bytes=8000, wait_seconds=0.001)
    )
    assert_whole(tmp_path, pcam)
    assert len(server.of(X)) == 10


FINAL: dict[str, tuple[Answer, str]] = {
    "not found": (Answer(status=404), r"_x\.h5\.gz: the server answered 404 Not Found"),
    "forbidden": (Answer(status=403), r"answered 403 .*--base-url"),
    "no content": (Answer(status=204), r"answered 204 "),
    "login page": (
        Answer(body=b"<!DOCTYPE html>", headers=(("Content-Type", "text/html"),)),
        r"begins with b'<!DOCTYPE html>' \(text/html\).*login page",
    ),
    "another size": (Answer(total_error=7), r"file has [\d,]+ bytes; wanted [\d,]+:"),
}


@pytest.mark.parametrize(("answer", "message"), FINAL.values(), ids=FINAL)
def test_an_answer_that_will_not_change_is_final(
    tmp_path: Path, pcam: SmallPcam, server: Server, answer: Answer, message: str
) -> None:
    """It is not asked for again, and what was fetched before is kept."""
    part = tmp_path / f"{X}.part"
    part.write_bytes(pcam.packed[X][:HALF])
    server.answers.append(answer)
    with pytest.raises(DataError, match=message) as caught:
        fetch_train(tmp_path, pcam, server)
    assert "\n" not in str(caught.value)
    assert len(server.of(X)) == 1
    assert part.read_bytes() == pcam.packed[X][:HALF]


def test_waits_double_and_a_server_may_ask_for_longer(
    tmp_path: Path, pcam: SmallPcam, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retry-After is obeyed up to the limit; each pause is announced."""
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    later, never = (("Retry-After", "7"),), (("Retry-After", "86400"),)
    server.answers.extend(
        [
            Answer(status=503),
            Answer(status=503),
            Answer(status=429, headers=later),
            Answer(status=429, headers=never),
        ]
    )
    steps = fetch_train(tmp_path, pcam, server, Patience(6, longest_wait_seconds=30.0))
    assert waits == [1.0, 2.0, 7.0, 30.0]
    assert [step.note for step in steps if step.note][2].endswith("try 4 of 6 in 7 s")


def test_without_a_connection_the_way_by_hand_is_told(
    tmp_path: Path, pcam: SmallPcam
) -> None:
    """Address, cause, file and directory are named, at once and on one line."""
    with pytest.raises(DataError) as caught:
        fetch_pcam(tmp_path, pcam.files, splits=["train"])
    message = str(caught.value)
    assert message.startswith(f"{NOWHERE}/camelyonpatch_level_2_split_train_y.h5.gz")
    assert "Connection refused" in message
    assert f"put it into {tmp_path}" in message
    assert "\n" not in message


def test_the_server_learns_who_asks(
    tmp_path: Path, pcam: SmallPcam, server: Server
) -> None:
    """The name of the program is sent, and no encoding is asked for."""
    fetch_train(tmp_path, pcam, server)
    headers = server.of(X)[0].headers
    assert headers["User-Agent"].startswith("mobileq/")
    assert headers["Accept-Encoding"] == "identity"
