"""What a manifest may hold, and the schema that says so to others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT, Cli
from mobileq.bundle import Bundle
from mobileq.errors import BundleError
from mobileq.manifest import read_manifest, schema
from support.manifests import sound

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


def test_the_published_schema_is_the_one_that_is_used(cli: Cli) -> None:
    """docs/manifest.schema.json is what --schema prints."""
    done = cli(["inspect", "--schema"])
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == schema()
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == printed
