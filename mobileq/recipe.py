"""How a network is quantized: a frozen Recipe from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mobileq.errors import RecipeError

GRANULARITIES = ("per-channel", "per-tensor")
DEFAULT = "default"


@dataclass(frozen=True)
class Recipe:
    """Choices of one export.

    Attributes:
        name: Name of the shipped recipe, or the file's path.
        sigmas: Half width of activation ranges in standard deviations (`[ranges]`).
        granularity: `per-channel` or `per-tensor` weight scales (`[weights]`).
    """

    name: str = DEFAULT
    sigmas: float = 6.0
    granularity: str = "per-channel"

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            RecipeError: a value is out of its range.
        """
        if isinstance(self.sigmas, bool) or not isinstance(self.sigmas, int | float):
            raise RecipeError(
                f"{self.name}: ranges.sigmas is {self.sigmas!r}; wanted a number"
            )
        if not 0.5 <= self.sigmas <= 100:
            raise RecipeError(
                f"{self.name}: ranges.sigmas is {self.sigmas}; wanted 0.5 to 100"
            )
        if self.granularity not in GRANULARITIES:
            raise RecipeError(
                f"{self.name}: weights.granularity is {self.granularity!r}; wanted "
                f"{' or '.join(GRANULARITIES)}"
            )

    @property
    def per_channel(self) -> bool:
        """Whether every output channel has a weight scale of its own."""
        return self.granularity == "per-channel"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


_KEYS: Mapping[str, tuple[str, ...]] = {
    "ranges": ("sigmas",),
    "weights": ("granularity",),
}


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe from a path, or a shipped one by its name.

    Raises:
        RecipeError: missing, not TOML, an unknown key, or an illegal value.
    """
    shipped = shipped_recipes()
    path = shipped.get(str(name), Path(name))
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            f"{name}: no such recipe ({error.strerror}); wanted a TOML file or one of "
            f"{', '.join(shipped)}"
        ) from error
    except ValueError as error:
        raise RecipeError(f"{name}: not TOML ({error}); wanted a recipe") from error
    return _parse(str(name), tables)


def shipped_recipes() -> dict[str, Path]:
    """Names and paths of the recipes that come with the package."""
    folder = Path(str(resources.files("mobileq") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _parse(name: str, tables: Mapping[str, Any]) -> Recipe:
    """Build a recipe from the file's tables; every key must be known.

    Raises:
        RecipeError: naming the first key that is not.
    """
    values: dict[str, Any] = {}
    for table, content in tables.items():
        if table not in _KEYS or not isinstance(content, dict):
            raise RecipeError(
                f"{name}: unknown table or key {table!r}; wanted tables "
                f"{', '.join(f'[{key}]' for key in _KEYS)}"
            )
        for key, value in content.items():
            if key not in _KEYS[table]:
                raise RecipeError(
                    f"{name}: unknown option {key!r} in [{table}]; wanted "
                    f"{', '.join(_KEYS[table])}"
                )
            values[key] = value
    return Recipe(name=name, **values)
