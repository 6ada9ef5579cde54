"""How a network is quantized: a frozen Recipe from a TOML file.

    passes = ["cap-relu6", "merge-pointwise", "balance", "correct-bias"]
    # applied in this order; others are "replace-relu6", "equalize" and "absorb"

    [equalize]
    activation_weight = 0.5
    [absorb]
    sigmas = 3.0
    centre = true
    [correct-bias]
    source = "statistics"       # or "images"
    [ranges]
    method = "sigma"            # or "min-max", "percentile", "mse": of images
    sigmas = 6.0
    percentile = 99.99
    [statistics]
    source = "batch-norm"       # or "images"
    [images]
    source = "synthesised"      # or "calibration"
    count = 64
    [weights]
    granularity = "per-channel" # or "per-tensor"
    bits = 8

Every key may be left out; what is left out is as in the shipped recipe `dfq`. Only keys
that are listed here are accepted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mobileq.errors import RecipeError
from mobileq.reading import read_bounded

MOST_BYTES = 2**20
"""Of a recipe's file."""

DEFAULT = "dfq"

PASSES = (
    "cap-relu6",
    "replace-relu6",
    "merge-pointwise",
    "equalize",
    "balance",
    "absorb",
    "correct-bias",
)
"""Passes that a recipe can name."""

BIAS = "correct-bias"
"""The one that needs the rounded weights, and therefore comes last."""


@dataclass(frozen=True)
class Recipe:
    """Choices of one export.

    Attributes:
        name: Name of the shipped recipe, or the file's path.
        passes: Some of `PASSES`, in the order in which they are applied.
        activation_weight: How much activations count in equalization, relative to
            weights (`[equalize]`).
        absorb_sigmas: Deviations below the mean that absorption leaves (`[absorb]`).
        centre: Whether absorption moves linear channels by their mean (`[absorb]`).
        bias_source: Mean inputs from `statistics` or from `images` (`[correct-bias]`).
        range_method: `sigma`, or `min-max`, `percentile`, `mse` of images (`[ranges]`).
        sigmas: Half width of activation ranges in standard deviations (`[ranges]`).
        percentile: Share of values inside the range, in percent (`[ranges]`).
        statistics_source: `batch-norm`, or measured on `images` (`[statistics]`).
        image_source: `synthesised` from BatchNorm statistics, or `calibration`
            (`[images]`).
        image_count: How many images are used (`[images]`).
        granularity: `per-channel` or `per-tensor` weight scales (`[weights]`).
        bits: Of the weights, 2 to 8; they are stored as int8 (`[weights]`).
    """

    name: str = DEFAULT
    passes: tuple[str, ...] = (
        "cap-relu6",
        "merge-pointwise",
        "balance",
        "correct-bias",
    )
    activation_weight: float = 0.5
    absorb_sigmas: float = 3.0
    centre: bool = True
    bias_source: str = "statistics"
    range_method: str = "sigma"
    sigmas: float = 6.0
    percentile: float = 99.99
    statistics_source: str = "batch-norm"
    image_source: str = "synthesised"
    image_count: int = 64
    granularity: str = "per-channel"
    bits: int = 8

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            RecipeError: a value is out of its range or of another type.
        """
        if isinstance(self.passes, list):
            object.__setattr__(self, "passes", tuple(self.passes))
        self._check_passes()
        for table, keys in _OPTIONS.items():
            for key, option in keys.items():
                option.check(f"{self.name}: {table}.{key}", getattr(self, option.field))

        if self.statistics_source == "images" and self.image_source == "synthesised":
            raise RecipeError(
                f"{self.name}: statistics.source is 'images' and images.source "
                f"'synthesised', which are made from BatchNorm statistics; wanted "
                f"images.source = 'calibration'"
            )

    def _check_passes(self) -> None:
        """Check names and order of the passes.

        Raises:
            RecipeError: not a list of known names, or a name twice, or a wrong order.
        """
        found = self.passes
        if not isinstance(found, tuple) or not all(n in PASSES for n in found):
            raise RecipeError(
                f"{self.name}: passes is {found!r}; wanted a list of some of "
                f"{', '.join(PASSES)}"
            )
        if len(set(found)) < len(found):
            raise RecipeError(
                f"{self.name}: passes is {list(found)}; wanted each name at most once"
            )
        if BIAS in found[:-1]:
            raise RecipeError(
                f"{self.name}: passes is {list(found)}; wanted {BIAS!r} last, because "
                f"it corrects the rounding of the final weights"
            )

    @property
    def per_channel(self) -> bool:
        """Whether every output channel has a weight scale of its own."""
        return self.granularity == "per-channel"

    @property
    def corrects_bias(self) -> bool:
        """Whether biases are corrected for rounding."""
        return BIAS in self.passes

    @property
    def needs_images(self) -> bool:
        """Whether any choice rests on images."""
        return (
            self.range_method != "sigma"
            or self.statistics_source == "images"
            or (self.corrects_bias and self.bias_source == "images")
        )

    @property
    def needs_calibration(self) -> bool:
        """Whether images of the user's are wanted."""
        return self.needs_images and self.image_source == "calibration"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {**asdict(self), "passes": list(self.passes)}


@dataclass(frozen=True)
class _Number:
    """A number within bounds.

    Attributes:
        field: Name in `Recipe`.
        low: Smallest value.
        high: Largest value.
        whole: Whether only integers are accepted.
    """

    field: str
    low: float
    high: float
    whole: bool = False

    def check(self, where: str, value: object) -> None:
        """Raise unless `value` is such a number.

        Raises:
            RecipeError: it is not.
        """
        kinds = int if self.whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            kind = "an integer" if self.whole else "a number"
            raise RecipeError(f"{where} is {value!r}; wanted {kind}")
        if not self.low <= value <= self.high:
            raise RecipeError(
                f"{where} is {value}; wanted {self.low:g} to {self.high:g}"
            )


@dataclass(frozen=True)
class _Choice:
    """One of some values.

    Attributes:
        field: Name in `Recipe`.
        values: What is accepted.
    """

    field: str
    values: Sequence[object]

    def check(self, where: str, value: object) -> None:
        """Raise unless `value` is one of them.

        Raises:
            RecipeError: it is not.
        """
        if not any(type(v) is type(value) and v == value for v in self.values):
            wanted = " or ".join(str(v).lower() for v in self.values)
            raise RecipeError(f"{where} is {value!r}; wanted {wanted}")


_OPTIONS: Mapping[str, Mapping[str, _Number | _Choice]] = {
    "equalize": {"activation_weight": _Number("activation_weight", 0, 100)},
    "absorb": {
        "sigmas": _Number("absorb_sigmas", 0, 100),
        "centre": _Choice("centre", (True, False)),
    },
    "correct-bias": {"source": _Choice("bias_source", ("statistics", "images"))},
    "ranges": {
        "method": _Choice("range_method", ("sigma", "min-max", "percentile", "mse")),
        "sigmas": _Number("sigmas", 0.5, 100),
        "percentile": _Number("percentile", 50, 100),
    },
    "statistics": {"source": _Choice("statistics_source", ("batch-norm", "images"))},
    "images": {
        "source": _Choice("image_source", ("synthesised", "calibration")),
        "count": _Number("image_count", 1, 100_000, whole=True),
    },
    "weights": {
        "granularity": _Choice("granularity", ("per-channel", "per-tensor")),
        "bits": _Number("bits", 2, 8, whole=True),
    },
}


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe from a path, or a shipped one by its name.

    Raises:
        RecipeError: missing, not TOML, an unknown key, or an illegal value.
    """
    shipped = shipped_recipes()
    path = shipped.get(str(name), Path(name))
    try:
        tables = tomllib.loads(read_bounded(path, MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise RecipeError(
            f"{name}: no such recipe ({error.strerror}); wanted a TOML file or one of "
            f"{', '.join(shipped)}"
        ) from error
    except (ValueError, RecursionError) as error:
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
        if table == "passes":
            values["passes"] = content
            continue
        if table not in _OPTIONS or not isinstance(content, dict):
            raise RecipeError(
                f"{name}: unknown table or key {table!r}; wanted passes and tables "
                f"{', '.join(f'[{key}]' for key in _OPTIONS)}"
            )
        for key, value in content.items():
            if key not in _OPTIONS[table]:
                raise RecipeError(
                    f"{name}: unknown option {key!r} in [{table}]; wanted "
                    f"{', '.join(_OPTIONS[table])}"
                )
            values[_OPTIONS[table][key].field] = value
    return Recipe(name=name, **values)
