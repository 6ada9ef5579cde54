"""docs/networks.md names what can be collapsed, and what cannot."""

from __future__ import annotations

import re

import pytest

from conftest import ROOT
from mobileq.collapse.modules import LOWER, PASS_THROUGH
from mobileq.collapse.plain import PLAIN
from mobileq.collapse.refused import MODULES

PAGE = ROOT / "docs" / "networks.md"


def _named(start: str, end: str) -> set[str]:
    """Code words between two headings."""
    text = PAGE.read_text(encoding="utf-8")
    return set(re.findall(r"`(\w+)`", text[text.index(start) : text.index(end)]))


@pytest.mark.parametrize(
    ("start", "end", "kinds"),
    [
        ("## escnn", "## torch", set(PLAIN)),
        ("## torch", "## What is refused", {*LOWER, *PASS_THROUGH}),
    ],
)
def test_the_page_names_every_module(start: str, end: str, kinds: set[type]) -> None:
    """All of escnn's and torch's that have a counterpart; ours are not among them."""
    public = {k.__name__ for k in kinds if not k.__module__.startswith("mobileq")}
    assert public - _named(start, end) <= {"Dropout1d"}


def test_the_page_names_every_module_that_is_refused() -> None:
    """And none that is not."""
    named = _named("## What is refused", "Of torch:")
    instead = {"ReLU", "GroupPooling", "PointwiseMaxPool2D", "R2Conv"}
    assert named - instead - {"R2Upsampling", "tensor_directsum"} == set(MODULES)
