"""Recipes are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobileq.errors import RecipeError
from mobileq.recipe import load_recipe, shipped_recipes


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_load(name: str) -> None:
    """Every shipped recipe is legal and knows its name."""
    assert load_recipe(name).name == name


def test_per_tensor_differs_from_the_default() -> None:
    """The two shipped recipes choose different weight scales."""
    assert load_recipe("default").per_channel
    assert not load_recipe("per-tensor").per_channel


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ranges]\nsigma = 6", "unknown option 'sigma' in .ranges.; wanted sigmas"),
        ("[range]\nsigmas = 6", "unknown table or key 'range'"),
        ("sigmas = 6", "unknown table or key 'sigmas'"),
        ("[ranges]\nsigmas = 'six'", "ranges.sigmas is 'six'; wanted a number"),
        ("[ranges]\nsigmas = true", "ranges.sigmas is True; wanted a number"),
        ("[ranges]\nsigmas = 0", "ranges.sigmas is 0; wanted 0.5 to 100"),
        ("[ranges]\nsigmas = nan", "ranges.sigmas is nan"),
        ("[weights]\ngranularity = 'per-row'", "granularity is 'per-row'; wanted"),
        ("[weights", "not TOML"),
    ],
)
def test_anything_unknown_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The file, the key and what is wanted are named."""
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_missing_recipe_lists_the_shipped_ones() -> None:
    """The remedy is in the message."""
    with pytest.raises(RecipeError, match="default, per-tensor"):
        load_recipe("nonsense")
