"""PCam's HDF5 files: reading, order, memory, processes."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data.pcam_files import COUNT, images_path, labels_path, write_pcam
from mobileq.data import blocks
from mobileq.data.patches import Patches
from mobileq.data.pcam import PcamPatches, open_pcam, shuffled_order
from mobileq.errors import DataError

LAYOUTS: dict[str, tuple[tuple[int, ...] | None, str | None]] = {
    "chunks of 8": ((8, 96, 96, 3), None),
    "compressed tiles": ((16, 12, 48, 3), "gzip"),
    "one row": ((1, 96, 96, 3), None),
    "contiguous": (None, None),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PcamPatches, NDArray[np.uint8]]:
    """A split in each storage layout, and the images that it must give."""
    directory = tmp_path_factory.mktemp("pcam")
    images = write_pcam(directory, COUNT, *LAYOUTS[request.param])
    return open_pcam(directory, "train"), images


@given(indices=st.lists(st.integers(0, COUNT - 1), max_size=60))
@settings(deadline=None, max_examples=15)
def test_reading_equals_indexing(
    stored: tuple[PcamPatches, NDArray[np.uint8]], indices: list[int]
) -> None:
    """Any indices, repeated and unsorted, give the same as the whole array would."""
    patches, images = stored
    wanted = np.array(indices, np.int64)
    np.testing.assert_array_equal(patches.read(wanted), images[wanted])


@given(
    indices=st.lists(st.integers(0, COUNT - 1), max_size=60), capacity=st.integers(1, 3)
)
@settings(deadline=None, max_examples=15)
def test_reading_with_a_tiny_cache_equals_indexing(
    stored: tuple[PcamPatches, NDArray[np.uint8]], indices: list[int], capacity: int
) -> None:
    """Blocks that come and go within one batch change nothing."""
    patches, images = stored
    reader = pickle.loads(pickle.dumps(patches.reader))
    wanted = np.array(indices, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "CACHE_BYTES", capacity * reader.rows * 96 * 96 * 3)
        for part in np.array_split(wanted, 3):
            np.testing.assert_array_equal(reader.read(part), images[part])
            assert reader.cached_bytes <= blocks.CACHE_BYTES


def test_a_split_is_a_patches(tmp_path: Path) -> None:
    """Length, size and labels are those of the files."""
    write_pcam(tmp_path)
    patches: Patches = open_pcam(tmp_path, "train")
    assert len(patches) == COUNT
    assert patches.size == (96, 96)
    assert patches.labels.dtype == np.uint8
    assert patches.labels.tolist() == [index % 2 for index in range(COUNT)]


@pytest.mark.parametrize(("limit", "length"), [(1, 1), (20, 20), (1000, COUNT)])
def test_a_limit_keeps_the_first_patches(
    tmp_path: Path, limit: int, length: int
) -> None:
    """No index beyond the limit is reachable."""
    images = write_pcam(tmp_path)
    patches = open_pcam(tmp_path, "train", limit=limit)
    assert len(patches) == len(patches.labels) == length
    last = np.array([length - 1])
    np.testing.assert_array_equal(patches.read(last), images[last])
    with pytest.raises(DataError, match=rf"index {length} is out of range"):
        patches.read(np.array([length]))


def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch over a file needs the cache and a batch, never the file's size."""
    write_pcam(tmp_path, count=600, chunks=(8, 96, 96, 3))
    block = 8 * 96 * 96 * 3
    monkeypatch.setattr(blocks, "CACHE_BYTES", 4 * block)
    tracemalloc.start()
    try:
        patches = open_pcam(tmp_path, "train")
        order = patches.epoch_order(np.random.default_rng(0))
        for start in range(0, len(order), 16):
            patches.read(order[start : start + 16])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 4 cached blocks, 2 of a batch's rows and picks, 4 for h5py and slack; the file
    # has 75 blocks.
    assert peak < 10 * block


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that gets one entry for each block read from a file."""
    loads: list[None] = []
    check = blocks.BlockReader._check_file

    def counted(reader: blocks.BlockReader) -> None:
        loads.append(None)
        check(reader)

    monkeypatch.setattr(blocks.BlockReader, "_check_file", counted)
    return loads


def test_an_epoch_loads_each_block_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order given for training needs no block twice, also between windows."""
    write_pcam(tmp_path, count=200)
    monkeypatch.setattr(blocks, "CACHE_BYTES", 3 * 8 * 96 * 96 * 3)
    patches = open_pcam(tmp_path, "train")
    loads = count_loads(monkeypatch)
    order = patches.epoch_order(np.random.default_rng(1))
    for start in range(0, len(order), 7):
        patches.read(order[start : start + 7])
    assert len(loads) == 200 // 8


def test_the_block_used_last_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full cache gives up the block that has been idle longest."""
    write_pcam(tmp_path)
    monkeypatch.setattr(blocks, "CACHE_BYTES", 2 * 8 * 96 * 96 * 3)
    patches = open_pcam(tmp_path, "train")
    loads = count_loads(monkeypatch)
    for row in (0, 8, 0, 16, 0):
        patches.read(np.array([row]))
    assert len(loads) == 3


@given(
    st.integers(0, 200), st.integers(1, 40), st.integers(1, 10), st.integers(0, 2**32)
)
@settings(deadline=None, max_examples=15)
def test_shuffled_order_is_a_permutation_by_windows(
    length: int, chunk: int, window: int, seed: int
) -> None:
    """Every index appears once, in runs that touch at most `window` chunks."""
    order = shuffled_order(length, chunk, np.random.default_rng(seed), window)
    again = shuffled_order(length, chunk, np.random.default_rng(seed), window)
    np.testing.assert_array_equal(order, again)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(length))
    # Once a run has ended, its chunks never come back: chunks open at the same time
    # (between first and last use) are therefore at most `window`.
    chunks = order // chunk
    first = {c: int(np.flatnonzero(chunks == c)[0]) for c in np.unique(chunks)}
    last = {c: int(np.flatnonzero(chunks == c)[-1]) for c in np.unique(chunks)}
    for place in range(length):
        assert sum(first[c] <= place <= last[c] for c in first) <= window


def test_shuffled_order_shuffles() -> None:
    """Neighbours in the file are no neighbours in the order, and seeds matter."""
    orders = [
        shuffled_order(4096, 64, np.random.default_rng(seed), window=16)
        for seed in (0, 1)
    ]
    assert not np.array_equal(*orders)
    # A uniform order of 1024 keeps one neighbour in 512; 1 % is five times that.
    assert (np.abs(np.diff(orders[0])) == 1).mean() < 0.01


@pytest.mark.parametrize(
    ("length", "chunk", "window"), [(-1, 1, 1), (1, 0, 1), (1, 1, 0)]
)
def test_shuffled_order_rejects_empty_chunks(
    length: int, chunk: int, window: int
) -> None:
    """The message repeats the values and their bounds."""
    with pytest.raises(DataError, match=rf"length {length}, chunk {chunk}, window"):
        shuffled_order(length, chunk, np.random.default_rng(0), window)


def test_huge_chunks_are_read_in_parts() -> None:
    """A chunk that fills the cache is halved; without chunks blocks are short."""
    row = 96 * 96 * 3
    assert blocks.block_rows((64, 96, 96, 3), row) == 64
    assert blocks.block_rows(None, row) == blocks.CONTIGUOUS_ROWS
    assert 2 * blocks.block_rows((10**6, 96, 96, 3), row) * row <= blocks.CACHE_BYTES
    assert blocks.block_rows((4,), blocks.CACHE_BYTES) == 1


def test_an_opened_split_survives_pickling(tmp_path: Path) -> None:
    """A copy reads the same, and carries neither handle nor cache along."""
    images = write_pcam(tmp_path)
    patches = open_pcam(tmp_path, "train")
    patches.read(np.arange(COUNT))
    packed = pickle.dumps(patches)
    assert len(packed) < 4096  # a cached block alone has 221 kB
    copy = pickle.loads(packed)
    np.testing.assert_array_equal(copy.read(np.arange(COUNT)), images)


def _digest(patches: PcamPatches, indices: NDArray[np.int64]) -> int:
    return int(patches.read(indices).astype(np.int64).sum())


def test_a_forked_process_opens_the_file_itself(tmp_path: Path) -> None:
    """A child reads blocks that its parent had not, and the parent goes on reading."""
    images = write_pcam(tmp_path)
    patches = open_pcam(tmp_path, "train")
    patches.read(np.arange(8))
    rest = np.arange(8, COUNT)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(_digest, (patches, rest)).get(timeout=30)
    assert found == int(images[rest].astype(np.int64).sum())
    np.testing.assert_array_equal(patches.read(rest), images[rest])


def test_real_patches_can_be_read(pcam_dir: Path) -> None:
    """Real files of all three splits open, and reading equals h5py's own."""
    for split in ("train", "valid", "test"):
        patches = open_pcam(pcam_dir, split)
        with h5py.File(images_path(pcam_dir, split)) as file:
            images = file["x"][()]
        with h5py.File(labels_path(pcam_dir, split)) as file:
            labels = file["y"][()].ravel()
        backwards = np.arange(len(patches))[::-1]
        np.testing.assert_array_equal(patches.read(backwards), images[::-1])
        np.testing.assert_array_equal(patches.labels, labels)


def test_importing_the_package_does_not_load_h5py() -> None:
    """Only opening files needs h5py, so that everything else starts quickly."""
    code = (
        "import sys, mobileq.data.pcam, mobileq.data.synthetic\n"
        "raise SystemExit('h5py' in sys.modules)"
    )
    root = Path(blocks.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == 0
