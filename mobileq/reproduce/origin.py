"""Which data were measured on, and what that means for published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mobileq.data.archives import OFFICIAL
from mobileq.data.patches import Patches
from mobileq.data.source import SYNTHETIC

OFFICIAL_PATCHES: Mapping[str, int] = {
    archive.split: archive.patches for archive in OFFICIAL.archives
}
"""Patches of the official PCam by split."""


@dataclass(frozen=True)
class Origin:
    """A data set as the command line named it.

    Attributes:
        source: Directory, or `synthetic`.
        patches: Number of patches by split, of those that were used.
    """

    source: str
    patches: Mapping[str, int]

    @classmethod
    def of(cls, source: str, splits: Mapping[str, Patches]) -> Origin:
        """Count the patches of the splits that are used."""
        return cls(source, {name: len(patches) for name, patches in splits.items()})

    @property
    def official_size(self) -> bool:
        """Whether every split that is used has as many patches as the official one."""
        expected = {name: OFFICIAL_PATCHES.get(name) for name in self.patches}
        return self.source != SYNTHETIC and dict(self.patches) == expected

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": self.source,
            "patches": dict(self.patches),
            "official_size": self.official_size,
            "caveat": self.caveat,
        }

    @property
    def short(self) -> str:
        """A line for a picture."""
        if self.source == SYNTHETIC:
            return "Synthetic tissue, which says nothing about PCam"
        if self.official_size:
            return "PCam of the official size, hashes not checked"
        return "Not the official PCam: not comparable with published figures"

    @property
    def caveat(self) -> str:
        """A line that belongs wherever a figure is shown."""
        if self.source == SYNTHETIC:
            return (
                "Synthetic tissue: these figures say nothing about real tissue and are "
                "not comparable with those of the paper."
            )
        if self.official_size:
            return (
                f"{self.source} has as many patches as the official PCam; the hashes "
                f"were not checked here ('mobileq data pcam {self.source}' does that)."
            )
        wanted = {name: OFFICIAL_PATCHES[name] for name in self.patches}
        return (
            f"{self.source} is not the official PCam: {_counts(self.patches)} patches; "
            f"the official files have {_counts(wanted)}. Figures measured on it are "
            f"not comparable with published ones."
        )


def _counts(patches: Mapping[str, int]) -> str:
    """Such as `train 17,171, test 2,907`."""
    return ", ".join(f"{name} {count:,}" for name, count in patches.items())
