"""What a manifest may hold, and the schema that says so to others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conftest import ROOT, Cli
from mobileq.bundle import Bundle
from mobileq.contract import Contract, Head
from mobileq.deploy.export import export_module
from mobileq.errors import BundleError
from mobileq.manifest import read_manifest, schema
from mobileq.recipe import load_recipe
from support.manifests import sound
from support.user_networks import USER_NETWORKS, trained_looking

SCHEMA = ROOT / "docs" / "manifest.schema.json"
Change = Callable[[dict[str, Any]], object]


def _bundle(change: Change = lambda content: None) -> Bundle:
    """A bundle with a manifest that is sound but for one change."""
    content = sound()
    change(content)
    return Bundle(Path("x.mobileq"), content)


def test_a_sound_manifest_is_read() -> None:
    """And what a later version adds to it is let through."""
    found = read_manifest(_bundle(lambda m: m.update(later={"a": 1})))
    assert found.input.shape == [3, 95, 95]
    assert found.exact_symmetry.motions == [(1, False)]
    assert found.recipe is None


DAMAGE: dict[str, tuple[Change, str]] = {
    "no input": (lambda m: m.pop("input"), "input: field required"),
    "negative side": (lambda m: m["input"].update(shape=[3, -1, 95]), r"input\.shape"),
    "absurd side": (lambda m: m["input"].update(shape=[3, 10**12, 95]), "input.shape"),
    "absurd image": (lambda m: m["input"].update(shape=[65536] * 3), "at most"),
    "a side that is text": (lambda m: m["input"].update(shape=[3, "95", 95]), "'95'"),
    "two sides": (lambda m: m["input"].update(shape=[3, 95]), r"input\.shape"),
    "zero scale": (lambda m: m["input"].update(pixel_scale=0), "pixel_scale"),
    "NaN": (lambda m: m["input"].update(pixel_scale=float("nan")), "pixel_scale"),
    "infinity": (lambda m: m["input"].update(pixel_scale=1e999), "pixel_scale"),
    "zero classes": (lambda m: m.update(classes=0), "classes"),
    "a trillion classes": (lambda m: m.update(classes=10**12), "classes"),
    "unknown head": (lambda m: m["contract"].update(head="relu"), r"contract\.head"),
    "odd hash": (lambda m: m["files"].update(a={"sha256": "0", "bytes": 1}), "sha256"),
    "a rung that is text": (lambda m: m["ladder"].append("ok"), r"ladder\.0"),
    "five quarter turns": (
        lambda m: m["exact_symmetry"].update(motions=[[5, False]]),
        r"motions\.0\.0",
    ),
    "long text": (lambda m: m.update(classes="x" * 9999), r"found 'x{56}\.\.\.;"),
}


BEYOND_SCHEMA = {"absurd image", "NaN", "infinity"}
"""No JSON schema says what a product may be, and JSON has neither NaN nor infinity."""


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_manifest_is_refused(kind: str) -> None:
    """One line: the file, the entry, what was found, and the remedy."""
    change, message = DAMAGE[kind]
    with pytest.raises(BundleError, match=message) as caught:
        read_manifest(_bundle(change))
    text = str(caught.value)
    assert text.startswith("x.mobileq/manifest.json: ")
    assert text.endswith("(export again)")
    assert "\n" not in text
    assert len(text) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=9,
)


@given(data=st.data())
def test_anything_in_any_place_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever JSON holds: no other exception, and no long message."""

    def change(content: dict[str, Any]) -> None:
        where: Any = content
        while isinstance(where, dict | list) and where:
            keys = list(where) if isinstance(where, dict) else range(len(where))
            key = data.draw(st.sampled_from(list(keys)))
            if data.draw(st.booleans()) or not isinstance(where[key], dict | list):
                where[key] = data.draw(JSON)
                return
            where = where[key]

    try:
        read_manifest(_bundle(change))
    except BundleError as error:
        said = str(error)
    else:
        said = ""
    assert len(said) < 1000


def _strangers() -> Any:
    """The published schema, as a program of others uses it."""
    published = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(published)
    return Draft202012Validator(published)


@pytest.mark.parametrize("kind", sorted(set(DAMAGE) - BEYOND_SCHEMA))
def test_the_published_schema_refuses_the_same(kind: str) -> None:
    """A program that knows the schema alone sees what we see."""
    content = sound()
    assert not list(_strangers().iter_errors(content))
    DAMAGE[kind][0](content)
    assert list(_strangers().iter_errors(content))


def test_the_published_schema_takes_a_real_manifest(tmp_path: Path) -> None:
    """With everything that an export can say: integers, head, labels, calibration."""
    made = USER_NETWORKS["blurred classifier"]
    bundle = export_module(
        trained_looking(made),
        made.shape,
        out=tmp_path / "x.mobileq",
        recipe=load_recipe("calibrated"),
        contract=Contract(head=Head.SOFTMAX, labels=("a", "b", "c", "d")),
        calibration=np.random.default_rng(0).integers(0, 256, (8, 15, 15, 1), np.uint8),
    )
    written = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
    assert [error.message for error in _strangers().iter_errors(written)] == []


def test_the_published_schema_is_the_one_that_is_used(cli: Cli) -> None:
    """docs/manifest.schema.json is what --schema prints."""
    done = cli(["inspect", "--schema"])
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == schema()
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == printed
