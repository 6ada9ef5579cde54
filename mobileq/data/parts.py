"""The bytes of an unfinished download, and what is known of the file they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobileq.data.archives import Archive


@dataclass(frozen=True)
class Part:
    """`<archive>.part`: its length is all the state that a download has.

    Beside it, `<archive>.part.tag` holds the server's ETag or date of the file, so that
    the parts of two different files are not joined.

    Attributes:
        path: where the bytes lie.
    """

    path: Path

    @classmethod
    def of(cls, directory: Path, archive: Archive) -> Part:
        """Return the part of `archive` in `directory`; neither need exist."""
        return cls(directory / f"{archive.packed_name}.part")

    @property
    def size(self) -> int:
        """Bytes that are here; 0 if there is no part."""
        return size_of(self.path)

    @property
    def tag(self) -> str:
        """The server's ETag or date of the file; empty if it gave none."""
        try:
            return self._tag_path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    @property
    def _tag_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.tag")

    def begin(self, tag: str) -> None:
        """Forget what is here and note the tag of what will come.

        Raises:
            OSError: the directory cannot be written.
        """
        self.discard()
        if tag:
            self._tag_path.write_text(tag, encoding="utf-8")

    def discard(self) -> None:
        """Remove the bytes, then their tag.

        Raises:
            OSError: the directory cannot be written.
        """
        self.path.unlink(missing_ok=True)
        self._tag_path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return a file's size in bytes, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
