"""Folders of pictures as labelled data."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobileq.data.folder import FolderPatches, open_folder
from mobileq.data.patches import Patches
from mobileq.data.pictures import MAX_PIXELS, ResizedPatches
from mobileq.data.source import open_split
from mobileq.data.splits import rows_of
from mobileq.errors import DataError
from support.images import random_pixels

LOSSLESS = (".png", ".bmp", ".tif", ".TIFF")


def write(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write (H, W, C) pixels as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(plain).save(path)
    return path


def write_set(root: Path, counts: dict[str, int], size: int = 6) -> NDArray[np.uint8]:
    """Write pictures of classes; returns all of them in the order of the names."""
    images = random_pixels(sum(counts.values()), (3, size, size), seed=1)
    index = 0
    for name, count in sorted(counts.items()):
        for number in range(count):
            suffix = LOSSLESS[number % len(LOSSLESS)]
            write(root / name / f"{number:03}{suffix}", images[index])
            index += 1
    return images


def read_all(patches: Patches) -> NDArray[np.uint8]:
    """All images of a set."""
    return patches.read(np.arange(len(patches)))


def test_classes_are_numbered_by_name(tmp_path: Path) -> None:
    """Pixels of lossless files come back, and labels follow the folders' names."""
    images = write_set(tmp_path, {"b": 3, "a": 5, "10": 2})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (tmp_path / "a" / ".x.png").write_text("no picture either")
    found = open_folder(tmp_path, "test")
    assert found.classes == ("10", "a", "b")
    assert found.labels.tolist() == [0] * 2 + [1] * 5 + [2] * 3
    assert (len(found), found.size, found.channels) == (10, (6, 6), 3)
    np.testing.assert_array_equal(read_all(found), images)
    np.testing.assert_array_equal(found.read(np.array([7, 0, 7])), images[[7, 0, 7]])


def test_labels_decide_the_order(tmp_path: Path) -> None:
    """The network's labels number the folders; one of them may have no pictures."""
    write_set(tmp_path, {"cat": 1, "dog": 2})
    found = open_split(str(tmp_path), "test", labels=["dog", "bird", "cat"])
    assert found.labels.tolist() == [0, 0, 2]
    with pytest.raises(DataError, match=r"is called 'cat'; wanted .* dog, emu"):
        open_split(str(tmp_path), "test", labels=["dog", "emu"])


def test_splits_share_their_classes(tmp_path: Path) -> None:
    """A class that a split lacks keeps its index in that split."""
    write_set(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    write_set(tmp_path / "val", {"a": 2, "c": 1})
    assert open_split(str(tmp_path), "train").labels.tolist() == [0, 1, 2]
    assert open_split(str(tmp_path), "valid").labels.tolist() == [0, 0, 2]
    with pytest.raises(DataError, match="has splits train, valid; wanted test"):
        open_split(str(tmp_path), "test")


def test_one_set_is_a_test_set(tmp_path: Path) -> None:
    """Training and testing on the same pictures is refused, not done in silence."""
    write_set(tmp_path, {"a": 1, "b": 1})
    assert len(open_split(str(tmp_path), "test")) == 2
    for split in ("train", "valid"):
        with pytest.raises(DataError, match=f"for a test set.*wanted the {split}"):
            open_split(str(tmp_path), split)


def test_grey_and_rgb(tmp_path: Path) -> None:
    """Grey becomes three equal channels, and colours their luma by ITU-R 601."""
    colour = random_pixels(1, (3, 5, 7), seed=2)[0]
    grey = random_pixels(1, (1, 5, 7), seed=3)[0]
    write(tmp_path / "a" / "colour.png", colour)
    write(tmp_path / "b" / "grey.png", grey)
    rgb = read_all(open_split(str(tmp_path), "test"))
    np.testing.assert_array_equal(rgb[0], colour)
    np.testing.assert_array_equal(rgb[1], np.repeat(grey, 3, axis=2))
    single = open_split(str(tmp_path), "test", channels=1)
    assert (single.channels, read_all(single).shape) == (1, (2, 5, 7, 1))
    np.testing.assert_array_equal(read_all(single)[1], grey)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    # Pillow's weights are integers of 16 bits and its result is truncated or rounded.
    assert np.abs(read_all(single)[0, :, :, 0] - luma).max() <= 1
    with pytest.raises(DataError, match="1 or 3 channels; wanted 2"):
        open_split(str(tmp_path), "test", channels=2)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_modes_of_8_bits_are_read(mode: str, tmp_path: Path) -> None:
    """What Pillow's own conversion says is what the network sees."""
    (tmp_path / "a").mkdir()
    picture = Image.fromarray(random_pixels(1, (3, 8, 8), seed=4)[0]).convert(mode)
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    picture.save(tmp_path / "a" / f"x.{suffix}")
    with Image.open(tmp_path / "a" / f"x.{suffix}") as again:
        wanted = np.asarray(again.convert("RGB"))
    found = read_all(open_split(str(tmp_path), "test"))[0]
    np.testing.assert_array_equal(found, wanted)


def test_a_palette_with_transparency_warns_nobody(tmp_path: Path) -> None:
    """Pillow's advice about such files is not the user's concern (warnings fail)."""
    (tmp_path / "a").mkdir()
    picture = Image.fromarray(random_pixels(1, (3, 8, 8), seed=5)[0]).convert("P")
    picture.save(tmp_path / "a" / "x.png", transparency=bytes(range(256)))
    assert read_all(open_split(str(tmp_path), "test")).shape == (1, 8, 8, 3)


@given(st.integers(1, 300), st.integers(1, 400))
def test_a_limit_is_spread_evenly(count: int, limit: int) -> None:
    """As many rows as asked for, each once, in order, in steps of two sizes at most."""
    rows = rows_of(np.arange(count), limit, "x")
    assert len(rows) == min(count, limit)
    steps = np.diff(rows)
    assert (steps >= 1).all()
    assert rows[0] == 0
    assert len(np.unique(steps)) <= 2


def test_a_limit_takes_all_classes(tmp_path: Path) -> None:
    """A folder is sorted by class, so its first pictures would be of one."""
    write_set(tmp_path, {"a": 6, "b": 6})
    found = open_split(str(tmp_path), "test", limit=4)
    assert found.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match="limit is 0"):
        open_split(str(tmp_path), "test", limit=0)


def test_sizes_that_differ(tmp_path: Path) -> None:
    """They are refused with both sizes, unless they are to be resized."""
    wide, high = random_pixels(1, (3, 8, 12), 1)[0], random_pixels(1, (3, 20, 8), 2)[0]
    write(tmp_path / "a" / "wide.png", wide)
    write(tmp_path / "b" / "high.png", high)
    with pytest.raises(DataError, match=r"high.png: 20x8 px, and wide.png 8x12"):
        open_split(str(tmp_path), "test")
    same = read_all(open_split(str(tmp_path), "test", resize=8))
    # The square has the size that is wanted already: nothing is interpolated.
    np.testing.assert_array_equal(same[0], wide[:, 2:10])
    np.testing.assert_array_equal(same[1], high[6:14])


@pytest.mark.parametrize("size", [3, 5, 8, 17])
def test_resized_arrays_are_resized_pictures(size: int, tmp_path: Path) -> None:
    """The same pixels come from pictures and from any other source, to the last bit."""
    images = write_set(tmp_path, {"a": 2, "b": 2}, size=8)
    pictures = open_split(str(tmp_path), "test", resize=size)
    arrays = ResizedPatches(open_split(str(tmp_path), "test"), size)
    assert pictures.size == arrays.size == (size, size)
    np.testing.assert_array_equal(read_all(pictures), read_all(arrays))
    if size == 8:
        np.testing.assert_array_equal(read_all(pictures), images)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    """Stripes of one pixel become grey, instead of a pattern that is not there."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    write(tmp_path / "a" / "stripes.png", stripes)
    found = read_all(open_split(str(tmp_path), "test", resize=8))
    # 127.5 within two steps of rounding; without antialiasing it would be 0 or 255.
    assert np.abs(found[:, 1:-1, 1:-1].astype(int) - 127).max() <= 2


def png_of(size: tuple[int, int]) -> bytes:
    """A PNG file of one grey level."""
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    return buffer.getvalue()


def sixteen_bits() -> bytes:
    """A grey PNG file of 16 bits."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "cannot be read as a picture"),
    "text": (lambda: b"hello", "cannot be read as a picture"),
    "webp inside": (lambda: b"RIFF\x1a\0\0\0WEBPVP8L", "cannot be read as a picture"),
    "16 bits": (sixteen_bits, "mode 'I;16'; wanted 8 bits"),
    "huge": (lambda: png_of((MAX_PIXELS // 64 + 1, 64)), "px; wanted at most"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_named(kind: str, tmp_path: Path) -> None:
    """One line says which file it is and why, before any inference."""
    make, message = BAD[kind]
    write_set(tmp_path, {"a": 2})
    (tmp_path / "a" / "bad.png").write_bytes(make())
    with pytest.raises(DataError, match=rf"bad.png: .*{message}") as caught:
        open_split(str(tmp_path), "test", resize=8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_damage_after_the_header_is_named(suffix: str, tmp_path: Path) -> None:
    """A file that is cut off fails when it is read, with its name."""
    path = write(tmp_path / "a" / f"x{suffix}", random_pixels(1, (3, 64, 64), 1)[0])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(DataError, match=rf"x{suffix}: cannot be read as a picture"):
        read_all(open_split(str(tmp_path), "test"))


def test_a_picture_that_changes_or_goes(tmp_path: Path) -> None:
    """A file that is exchanged for another size or removed meanwhile is an error."""
    images = write_set(tmp_path, {"a": 2})
    found = open_split(str(tmp_path), "test")
    write(tmp_path / "a" / "000.png", images[0][:3])
    with pytest.raises(DataError, match="3x6 px; wanted 6x6 as when it was opened"):
        read_all(found)
    (tmp_path / "a" / "000.png").unlink()
    with pytest.raises(DataError, match=r"000.png: cannot be read as a picture"):
        read_all(found)


def test_layouts_that_are_none(tmp_path: Path) -> None:
    """Pictures without class folders, empty folders, folders of other files."""
    write(tmp_path / "flat" / "x.png", random_pixels(1, (3, 4, 4), 1)[0])
    (tmp_path / "empty" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a" / "x.webp").write_bytes(b"RIFF")
    wanted = {
        "flat": "0 subfolders; wanted one for each",
        "empty": "0 pictures; wanted at least 1",
        "other": "no picture among 1 files, such as x.webp; wanted .bmp",
        "missing": "no such directory",
    }
    for name, message in wanted.items():
        with pytest.raises(DataError, match=message):
            open_split(str(tmp_path / name), "test")


@pytest.mark.parametrize("resize", [0, -3, 10**6])
def test_sizes_that_make_no_sense(resize: int, tmp_path: Path) -> None:
    """An edge of nothing, or of more than would be decoded, is refused."""
    write_set(tmp_path, {"a": 1})
    with pytest.raises(DataError, match=rf"resized to {resize} px; wanted 1 to"):
        open_split(str(tmp_path), "test", resize=resize)


def test_a_set_that_is_read_by_pieces(tmp_path: Path) -> None:
    """Opening decodes nothing: a set keeps names and sizes, not pixels."""
    write_set(tmp_path, {"a": 8})
    found = open_split(str(tmp_path), "test")
    assert isinstance(found, FolderPatches)
    assert not any(isinstance(p, np.ndarray) for p in vars(found.pictures[0]).values())
    (tmp_path / "a" / "001.bmp").write_bytes(b"BM")
    np.testing.assert_array_equal(found.read(np.array([0])).shape, (1, 6, 6, 3))


def test_real_jpeg_files(tmp_path: Path, shared_data: Path) -> None:
    """Patches of PCam, written out as files, are what Pillow decodes from memory."""
    with np.load(shared_data / "data" / "pcam_ai4all" / "valid_jpeg.npz") as pack:
        ends, labels, stream = pack["offsets"][:41], pack["y"][:40], pack["jpeg"]
        files = [stream[a:b].tobytes() for a, b in pairwise(ends)]
    for number, (file, label) in enumerate(zip(files, labels, strict=True)):
        folder = tmp_path / ("tumour" if label else "normal")
        folder.mkdir(exist_ok=True)
        (folder / f"{number:02}.jpeg").write_bytes(file)
    found = open_split(str(tmp_path), "test", labels=("normal", "tumour"))
    order = np.argsort(labels, kind="stable")
    np.testing.assert_array_equal(found.labels, labels[order])
    wanted = [np.asarray(Image.open(io.BytesIO(files[row]))) for row in order]
    np.testing.assert_array_equal(read_all(found), np.stack(wanted))


def encoded(suffix: str) -> bytes:
    """A small picture in one of the formats."""
    buffer = io.BytesIO()
    picture = Image.fromarray(random_pixels(1, (3, 8, 8), seed=6)[0])
    picture.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    return buffer.getvalue()


WHOLE = {suffix: encoded(suffix) for suffix in ("png", "jpg", "bmp", "tif")}


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=5),
    st.floats(0, 2),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_pictures_never_end_in_a_traceback(
    scratch: Path, suffix: str, changes: list[tuple[float, int]], length: float
) -> None:
    """Any damage is a DataError in one line, or leaves a picture that can be read."""
    data = bytearray(WHOLE[suffix])
    for place, value in changes:
        data[int(place * len(data))] = value
    for left in scratch.iterdir():
        left.unlink()
    (scratch / f"x.{suffix}").write_bytes(data[: int(length * len(data))])
    message = ""
    try:
        found = read_all(open_split(str(scratch.parent), "test", resize=8))
    except DataError as error:
        message = str(error)
    else:
        assert found.shape == (1, 8, 8, 3)
    assert "\n" not in message


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class's folder for all examples of a property."""
    folder = tmp_path_factory.mktemp("pictures") / "a"
    folder.mkdir()
    return folder
