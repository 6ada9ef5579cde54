"""What PCam's publishers put on the net: names, sizes and hashes of the archives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from mobileq.data.pcam import PATCH
from mobileq.data.splits import Split
from mobileq.errors import DataError

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Archive:
    """One file of PCam and the gzip archive that it comes in.

    Attributes:
        split: "train", "valid" or "test".
        key: "x" for images, "y" for labels; also the name of the data set inside.
        patches: patches in the split.
        packed_bytes: size of the archive, in bytes.
        packed_md5: MD5 of the archive, 32 hexadecimal digits.
        unpacked_md5: MD5 of the HDF5 file inside.
    """

    split: Split
    key: Literal["x", "y"]
    patches: int
    packed_bytes: int
    packed_md5: str
    unpacked_md5: str

    @property
    def name(self) -> str:
        """File name of the HDF5 file."""
        return f"camelyonpatch_level_2_split_{self.split}_{self.key}.h5"

    @property
    def packed_name(self) -> str:
        """File name of the archive."""
        return f"{self.name}.gz"

    @property
    def unpacked_bytes(self) -> int:
        """Upper estimate of the HDF5 file's size, in bytes."""
        data = self.patches * (PATCH * PATCH * 3 if self.key == "x" else 1)
        return data + data // 100 + 2**16  # HDF5's own tables


@dataclass(frozen=True)
class PcamFiles:
    """Where archives are, and which.

    Attributes:
        base_url: http or https address of the folder that holds the archives.
        archives: each at most once.
        query: what follows each file's name in its address, e.g. "?download=1".

    Raises:
        DataError: `base_url` is no such address, or an archive is listed twice.
    """

    base_url: str
    archives: tuple[Archive, ...]
    query: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise DataError(
                f"base URL is {self.base_url!r}; wanted http://... or https://..., the "
                f"folder that holds the .h5.gz files"
            )
        names = [archive.name for archive in self.archives]
        if len(set(names)) != len(names):
            raise DataError(f"archives {names} are not distinct; list each once")

    def url(self, archive: Archive) -> str:
        """Return the address of an archive."""
        return f"{self.base_url.rstrip('/')}/{archive.packed_name}{self.query}"

    def mirrored(self, base_url: str) -> PcamFiles:
        """Return the same archives at another address, without a query.

        Raises:
            DataError: it is no http or https address.
        """
        return replace(self, base_url=base_url, query="")

    def of(self, splits: Sequence[str]) -> tuple[Archive, ...]:
        """Return the archives of `splits`, labels first: a mistake shows early there.

        Raises:
            DataError: a split has no archive here.
        """
        chosen: list[Archive] = []
        for split in dict.fromkeys(splits):
            found = [archive for archive in self.archives if archive.split == split]
            if not found:
                raise DataError(
                    f"split is {split!r}; wanted one of "
                    f"{', '.join(sorted({a.split for a in self.archives}))}"
                )
            chosen += sorted(found, key=lambda archive: archive.key, reverse=True)
        return tuple(chosen)


# The table in the authors' README has the hashes of valid and test the other way round;
# those below are what the record serves under these names.
OFFICIAL = PcamFiles(
    base_url="https://zenodo.org/records/2546921/files",
    query="?download=1",
    archives=(
        Archive(
            split="train",
            key="x",
            patches=262_144,
            packed_bytes=6_421_353_462,
            packed_md5="1571f514728f59376b705fc836ff4b63",
            unpacked_md5="01844da899645b4d6f84946d417ba453",
        ),
        Archive(
            split="train",
            key="y",
            patches=262_144,
            packed_bytes=21_378,
            packed_md5="35c2d7259d906cfc8143347bb8e05be7",
            unpacked_md5="0781386bf6c2fb62d58ff18891466aca",
        ),
        Archive(
            split="valid",
            key="x",
            patches=32_768,
            packed_bytes=805_965_320,
            packed_md5="d5b63470df7cfa627aeec8b9dc0c066e",
            unpacked_md5="81cf9680f1724c40673f10dc88e909b1",
        ),
        Archive(
            split="valid",
            key="y",
            patches=32_768,
            packed_bytes=3_038,
            packed_md5="2b85f58b927af9964a4c15b8f7e8f179",
            unpacked_md5="94d8aacc249253159ce2a2e78a86e658",
        ),
        Archive(
            split="test",
            key="x",
            patches=32_768,
            packed_bytes=800_875_929,
            packed_md5="d8c2d60d490dbd479f8199bdfa0cf6ec",
            unpacked_md5="2614b2e6717d6356be141d9d6dbfcb7e",
        ),
        Archive(
            split="test",
            key="y",
            patches=32_768,
            packed_bytes=3_040,
            packed_md5="60a7035772fbdb7f34eb86d4420cf66a",
            unpacked_md5="11ed647efe9fe457a4eb45df1dba19ba",
        ),
    ),
)
