"""Fixtures for the tests that fetch: a small PCam and a server of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.http_server import Server, serve
from support.small_pcam import SmallPcam, small_pcam


@pytest.fixture(scope="module", autouse=True)
def no_proxy() -> Iterator[None]:
    """Reach this machine directly, whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture(scope="session")
def pcam(tmp_path_factory: pytest.TempPathFactory) -> SmallPcam:
    """Archives of two splits of three patches; 83 kB of images in each."""
    return small_pcam(tmp_path_factory.mktemp("small"), ["train", "test"], 3)


@pytest.fixture
def server(pcam: SmallPcam) -> Iterator[Server]:
    """A server of these archives."""
    with serve(dict(pcam.packed)) as state:
        yield state
