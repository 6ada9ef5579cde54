"""The report as one HTML file; `test_html_browser.py` opens it in a browser."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from functools import cache
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from mobileq.bench.equivariance import ExactSymmetry
from mobileq.bench.figures import Label, Row
from mobileq.bench.html import Example, Page, layers_of, render
from mobileq.bench.html.matrices import MOST_CLASSES, MOST_PAIRS, facts
from mobileq.bench.html.plots import circle_plot, latency_plot, tradeoff_plot
from mobileq.bench.html.styles import styles
from mobileq.bench.html.summary import headline, summary
from mobileq.bench.html.text import NOTHING, error, percent, shortened
from mobileq.bench.naming import float_of, row_names, speed_up
from mobileq.deploy.explain.report import FORMAT, VERSION
from mobileq.errors import BundleError
from support.bench_page import examples, layers, page, row, rows, sparse

HOSTILE = "<script>alert(1)</script>"
SECTIONS = (
    "summary", "comparison", "scores", "examples", "layers", "symmetry", "costs",
    "operators", "proof", "machine", "devices", "notes", "commands",
)  # fmt: skip
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Elements(HTMLParser):
    """What a page is made of.

    Attributes:
        tags: Names and attributes, in order.
        text: All text outside of the style sheet.
        balanced: Whether every element that was opened was closed, in order.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.balanced = True
        self._open: list[str] = []
        self.feed(content.decode())
        self.close()
        self.balanced &= not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it; it is closed already."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Compare it with what was opened last."""
        self.balanced &= bool(self._open) and self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect it."""
        if self._open[-1:] != ["style"]:
            self.text += data


def bare(**changes: Any) -> Page:
    """A page with one row of which nothing is known but its file."""
    values: dict[str, Any] = {
        "title": "network",
        "group": "C4",
        "machine": {},
        "noise": None,
        "images": "random",
        "image_count": 1,
        "data": None,
        "rows": (Row(Label("tflite", "xnnpack", "int8", 1, "a.tflite", 1024)),),
    }
    return Page(**{**values, **changes})


@cache
def full() -> bytes:
    """The page with everything."""
    return render(page())


def section_ids(content: bytes) -> tuple[str, ...]:
    """Ids of the page's sections."""
    return tuple(
        attrs["id"] or "" for tag, attrs in Elements(content).tags if tag == "section"
    )


def test_equal_pages_are_equal_bytes() -> None:
    """No date and no random name; another figure is another file."""
    content = full()
    assert content == render(page())
    assert content != render(page(group="C4"))
    with mpl.rc_context({"font.size": 31.0, "svg.hashsalt": "other"}):
        assert content == render(page())
        assert mpl.rcParams["font.size"] == 31.0


def test_a_full_page_has_every_section_and_is_well_formed() -> None:
    """All sections are there, elements close in order, and no id comes twice."""
    content = full()
    found = Elements(content)
    assert section_ids(content) == SECTIONS
    assert found.balanced
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    # Every reference within the file leads somewhere.
    text = content.decode()
    for name in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text):
        assert (name[0] or name[1]) in ids
    for names in re.findall(r'aria-labelledby="([^"]+)"', text):
        assert set(names.split()) <= set(ids)


def test_sections_without_data_are_left_out() -> None:
    """Of a row that has nothing there is a summary and a table, and no empty plot."""
    content = render(bare())
    assert section_ids(content) == ("summary", "comparison")
    assert b"<figure>" not in content
    assert b"None" not in content
    assert section_ids(render(bare(rows=()))) == ("summary", "comparison")
    one = row("tflite", "xnnpack", "float", 1.5, 900)
    kept = section_ids(render(bare(rows=(replace(one, accuracy=None, operators=()),))))
    assert kept == ("summary", "comparison", "costs")


def test_everything_is_text() -> None:
    """A script in any field is shown, and never becomes an element."""
    label = replace(row("a", "b", "int8", 1, 1).label, **_hostile_label())
    first = replace(row("tflite", "xnnpack", "int8", 1.0, 9), label=label)
    first = replace(
        first,
        operators=(replace(rows()[4].operators[0], name=HOSTILE, kind=HOSTILE),),
    )
    missing = Row(label, unavailable=HOSTILE)
    turn = examples()[0].turns[0]._replace(predicted=HOSTILE)
    text = {"name": HOSTILE, "against": HOSTILE, "measure": HOSTILE}
    content = render(
        page(
            title=HOSTILE,
            group=HOSTILE,
            machine={HOSTILE: HOSTILE, "more": {HOSTILE: [HOSTILE]}},
            noise=HOSTILE,
            images=HOSTILE,
            data=HOSTILE,
            rows=(first, missing),
            notes=(HOSTILE,),
            examples=(Example(HOSTILE, (turn,)),),
            ladder=({**text, "value": HOSTILE, "limit": 1, "first_wrong": HOSTILE},),
            certificates={HOSTILE: {"group": HOSTILE, "sha256": HOSTILE}},
            layers=(replace(layers()[0], name=HOSTILE, kind=HOSTILE),),
            commands=(HOSTILE,),
            classes=(HOSTILE, f'" onload="{HOSTILE}'),
        )
    )
    found = Elements(content)
    assert found.balanced
    assert b"<script" not in content
    assert found.text.count(HOSTILE) > 25
    for _, attrs in found.tags:
        assert not [name for name in attrs if name.startswith("on")]


def _hostile_label() -> dict[str, str]:
    """Text fields of a label."""
    return dict.fromkeys(("runtime", "kernel", "file"), HOSTILE)


@pytest.mark.parametrize(
    "name",
    ["$\\frac{1}", "_hidden", "a\x00b\x1b[31m", "\ud800", "組織の画像", "x" * 400],
)
def test_odd_names_are_drawn(name: str) -> None:
    """Formulas, control characters, halves of characters and foreign letters."""
    label = Label(name, name, "int8", 1, name, 1)
    own = replace(rows()[5], label=label)
    content = render(
        page(title=name, rows=(own,), layers=(replace(layers()[0], name=name),))
    )
    assert Elements(content).balanced
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", content.decode())


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    """No script, no address but pictures in the file, one style sheet by its hash."""
    content = full()
    found = Elements(content)
    (policy,) = [
        attrs["content"] or ""
        for tag, attrs in found.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http:" not in policy
    assert {"script", "iframe", "object", "a", "form"}.isdisjoint(
        tag for tag, _ in found.tags
    )
    for tag, attrs in found.tags:
        assert "style" not in attrs, tag
        for key in ("src", "href", "xlink:href"):
            assert (attrs.get(key) or "#").startswith(("#", "data:"))
    assert b"@import" not in content
    assert b"http://" not in content
    assert b"https://" not in content


def test_plots_are_xml_with_a_title_and_a_description() -> None:
    """Each plot says what it shows to who cannot see it, with the figures in it."""
    for plot in (latency_plot, circle_plot, tradeoff_plot):
        root = ElementTree.fromstring(plot(rows()) or "")
        assert root.tag == "svg"
        assert [child.tag for child in root][:2] == ["title", "desc"]
        assert "tflite int8 xnnpack: " in (root[1].text or "")
    assert "p50 1.270, p90 1.384, p99 2.032 ms" in (latency_plot(rows()) or "")
    for plot in (latency_plot, circle_plot, tradeoff_plot):
        assert plot(bare().rows) is None


def test_the_summary_says_what_was_measured() -> None:
    """Time, size, accuracy, turns and what is missing, with the right figures."""
    text = " ".join(summary(page()))
    assert "INT8 is fastest as tflite int8 xnnpack: 1.270 ms" in text
    assert "3.09 times faster than float (3.920 ms)" in text
    assert "858.0 KiB" not in text
    assert "2.77 times as much" in text
    assert "85.23 % (84.84 to 85.61) of 32,768 images of PCam test part" in text
    assert "the images show no difference (McNemar's test, p = 0.148)" in text
    assert "none of 192 outputs changes in any bit" in text
    assert "Turns do change outputs of onnx int8 cpu" in text
    assert "1 row could not be measured" in text
    changed = replace(rows()[5], rotations=ExactSymmetry(192, 12, 0.5, 2))
    text = " ".join(summary(page(rows=(changed,))))
    assert "12 of 192 outputs change (by at most 0.500 of the logits)" in text
    assert "times faster" not in text
    slow = replace(rows()[4], cost=rows()[1].cost), rows()[4]
    slow = (slow[1], replace(slow[0], label=rows()[5].label))
    assert "2.51 times slower than float" in " ".join(summary(page(rows=slow)))


def test_nothing_measured_is_said() -> None:
    """A page of rows that are all missing has no headline, and renders."""
    missing = (rows()[-1],)
    assert headline(missing) is None
    assert summary(page(rows=missing)) == (
        "1 row could not be measured; the table says why.",
    )
    assert b"pip install executorch" in render(bare(rows=missing))


def test_names_of_rows_are_unique() -> None:
    """Threads, then files, then numbers tell rows apart."""
    one = row("tflite", "xnnpack", "int8", 1, 9)
    assert row_names((one,)) == ("tflite int8 xnnpack",)
    two = row("tflite", "xnnpack", "int8", 1, 9, threads=2)
    assert row_names((one, two)) == (
        "tflite int8 xnnpack, 1 thread",
        "tflite int8 xnnpack, 2 threads",
    )
    other = row("tflite", "xnnpack", "int8", 1, 9, file="b.tflite")
    assert row_names((one, other, other)) == (
        "tflite int8 xnnpack, model.int8.tflite",
        "tflite int8 xnnpack, b.tflite (1)",
        "tflite int8 xnnpack, b.tflite (2)",
    )


def test_int8_goes_with_its_own_float_row() -> None:
    """Same runtime, kernel and threads, and of several files the one named alike."""
    a, b = (row("onnx", "cpu", "float", t, 9, file=f"{t}.float.onnx") for t in (4, 6))
    own = row("onnx", "cpu", "int8", 2, 9, file="6.int8.onnx")
    assert float_of(own, (a, own, b)) is b
    assert speed_up(own, (a, own, b)) == pytest.approx(3.0, rel=1e-12)
    assert float_of(a, (a, b)) is None
    assert speed_up(replace(own, cost=None), (a, b)) is None
    many = row("onnx", "cpu", "int8", 2, 9, threads=4)
    assert float_of(many, (a, b)) is None
    first, second = styles((a, own))
    assert (first.color, first.marker) == (second.color, second.marker)
    assert (first.hollow, second.hollow) == (True, False)
    assert len(set(styles((a, b, own)))) == 3


def test_many_classes_are_pairs() -> None:
    """A matrix of hundreds of classes is not drawn; what is confused most is named."""
    count = MOST_CLASSES + 30
    matrix = tuple(
        tuple(10 if j == i else i for j in range(count)) for i in range(count)
    )
    scored = rows()[5].accuracy
    assert scored is not None
    own = replace(rows()[5], accuracy=replace(scored, confusion=matrix))
    text = render(page(rows=(own,), classes=("first",))).decode()
    assert f"confused most often, of {count} classes" in text
    assert text.count(f'<tr><th scope="row">{count - 1}</th>') == MOST_PAIRS
    empty = replace(own, accuracy=replace(scored, confusion=((0, 0), (0, 7))))
    assert "100.0 %" in render(page(rows=(empty,))).decode()


def test_equal_confusion_matrices_stand_once() -> None:
    """Eight rows with two different matrices are two tables."""
    assert full().count(b'<table class="confusion">') == 2


def test_numbers_never_round_to_a_promise() -> None:
    """Almost all is not all, almost none is not none, and no figure is a dash."""
    assert percent(1.0) == "100.00 %"
    assert percent(0.999_99, 1) == "99.9990 %"
    assert percent(0.000_03) == "0.0030 %"
    assert percent(0.0) == "0.00 %"
    assert percent(float("nan")) == NOTHING
    assert (error(0.0), error(1e-7), error(0.25)) == ("0", "1e-07", "0.250")
    assert shortened("abcdefghij", 7) == "abc…hij"


def test_facts_of_any_depth_are_lines() -> None:
    """Dictionaries and lists of the machine become a name and a value each."""
    values = {"a_b": {"c": 1.5, "d": None}, "e": ["x", "y"], "f": True}
    assert facts(values) == (("a b c", "1.5"), ("e", "x y"), ("f", "yes"))


def test_layers_of_an_explanation() -> None:
    """What explain.json holds is read; anything else is refused in one line."""
    plain = []
    for one in layers():
        values = asdict(one)
        values["weights_before"] = values.pop("before")
        values["weights_after"] = values.pop("after")
        plain.append({**values, "shape": [1], "low": 0.0})
    written = {"format": FORMAT, "version": VERSION, "layers": plain}
    assert layers_of(json.loads(json.dumps(written))) == layers()
    with pytest.raises(BundleError, match="format and version are"):
        layers_of({**written, "version": 99})
    without = {key: value for key, value in plain[0].items() if key != "cost_db"}
    with pytest.raises(BundleError, match="KeyError 'cost_db'"):
        layers_of({**written, "layers": [without]})
    bad = {**plain[0], "weights_before": {"low": [1], "high": [1, 2]}}
    with pytest.raises(BundleError, match="1 smallest values and 2 largest"):
        layers_of({**written, "layers": [bad]})


def test_symmetry_of_every_tensor() -> None:
    """What is known stands there; what INT8 breaks is said above the table."""
    text = Elements(render(page())).text
    section = text[text.index("Symmetry, layer by layer") :]
    section = section[: section.index("Loading, throughput")]
    for wanted in ("stem", "31.5", "1.23%", "INT8, 45°", "head", "0.130"):
        assert wanted in section
    assert (
        "INT8: a quarter turn is broken first in head (1.23% of its values" in section
    )


def test_a_row_without_percentiles_is_drawn() -> None:
    """A mark at the mean, and dashes in the tables."""
    found = Elements(render(page(rows=(sparse(rows()[5]),))))
    assert found.balanced
    assert "tflite int8 xnnpack" in found.text
