"""Recipes are read strictly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobileq.errors import RecipeError
from mobileq.recipe import Recipe, load_recipe, shipped_recipes


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_load(name: str) -> None:
    """Every shipped recipe is legal and knows its name."""
    assert load_recipe(name).name == name


def test_the_default_is_the_shipped_dfq() -> None:
    """Whoever names no recipe gets what the file says."""
    assert load_recipe("dfq") == Recipe()
    assert set(shipped_recipes()) == {"dfq", "dfq-per-tensor", "calibrated", "naive"}


def test_shipped_recipes_differ_as_their_names_say() -> None:
    """One scale per layer, images of the user's, or nothing at all."""
    dfq, naive = load_recipe("dfq"), load_recipe("naive")
    assert dfq.per_channel
    assert dfq.corrects_bias
    assert not dfq.needs_images
    tensor = load_recipe("dfq-per-tensor")
    assert replace(tensor, name="dfq", granularity="per-channel") == dfq
    assert load_recipe("calibrated").needs_calibration
    assert (naive.passes, naive.per_channel) == ((), False)


def test_empty_files_are_the_default(tmp_path: Path) -> None:
    """What is left out is as in dfq, and plain values come back from it."""
    path = tmp_path / "empty.toml"
    path.write_text("")
    found = load_recipe(path)
    assert replace(found, name="dfq") == Recipe()
    assert json.loads(json.dumps(found.to_dict()))["passes"] == list(Recipe().passes)


@pytest.mark.parametrize(
    ("changes", "images", "calibration"),
    [
        ({}, False, False),
        ({"range_method": "mse"}, True, False),
        (
            {"statistics_source": "images", "image_source": "calibration"},
            True,
            True,
        ),
        ({"bias_source": "images"}, True, False),
        ({"bias_source": "images", "passes": ("equalize",)}, False, False),
        ({"range_method": "mse", "image_source": "calibration"}, True, True),
        ({"image_source": "calibration"}, False, False),
    ],
)
def test_images_are_asked_for_only_if_used(
    changes: dict[str, Any], images: bool, calibration: bool
) -> None:
    """A choice that rests on images needs them; calibration only if it is named."""
    recipe = replace(Recipe(), **changes)
    assert (recipe.needs_images, recipe.needs_calibration) == (images, calibration)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[statistics]\nsource = 'images'",
            "statistics.source is 'images' and images.source 'synthesised'",
        ),
        ("[ranges]\nsigma = 6", "unknown option 'sigma' in .ranges.; wanted method"),
        ("[range]\nsigmas = 6", "unknown table or key 'range'"),
        ("sigmas = 6", "unknown table or key 'sigmas'"),
        ("[ranges]\nsigmas = 'six'", "ranges.sigmas is 'six'; wanted a number"),
        ("[ranges]\nsigmas = true", "ranges.sigmas is True; wanted a number"),
        ("[ranges]\nsigmas = 0", "ranges.sigmas is 0; wanted 0.5 to 100"),
        ("[ranges]\nsigmas = nan", "ranges.sigmas is nan"),
        ("[weights]\ngranularity = 'per-row'", "granularity is 'per-row'; wanted"),
        ("[weights]\nbits = 9", "weights.bits is 9; wanted 2 to 8"),
        ("[weights]\nbits = 8.0", "weights.bits is 8.0; wanted an integer"),
        ("[images]\ncount = 0", "images.count is 0; wanted 1 to 100000"),
        ("[absorb]\ncentre = 1", "absorb.centre is 1; wanted true or false"),
        ("[equalize]\nactivation_weight = -1", "activation_weight is -1; wanted 0 to"),
        ("[correct-bias]\nsource = 'none'", "wanted statistics or images"),
        ("passes = 'equalize'", "passes is 'equalize'; wanted a list of some of cap"),
        ("passes = ['equalise']", "wanted a list of some of cap-relu6"),
        ("passes = [1]", "wanted a list of some of cap-relu6"),
        ("[passes]\nequalize = 1", "wanted a list of some of cap-relu6"),
        ("passes = ['absorb', 'absorb']", "wanted each name at most once"),
        ("passes = ['correct-bias', 'absorb']", "wanted 'correct-bias' last"),
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
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_lists_the_shipped_ones() -> None:
    """The remedy is in the message."""
    with pytest.raises(RecipeError, match="calibrated, dfq-per-tensor, dfq, naive"):
        load_recipe("nonsense")
