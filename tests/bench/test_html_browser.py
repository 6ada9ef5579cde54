"""The report in a real headless Chromium."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mobileq.bench.figures import Row
from mobileq.bench.html import render
from support.bench_page import page, rows
from support.chromium import asked_for, chromium, console, in_chromium, written


@cache
def full() -> bytes:
    """The page with everything."""
    return render(page())


@in_chromium
def test_the_browser_has_no_complaint_and_asks_for_nothing(tmp_path: Path) -> None:
    """Nothing in the console; the page is asked for, and nothing else."""
    paths, own, errors = asked_for(tmp_path, full())
    assert console(errors) == []
    assert paths == ["/report.html"]
    assert own == []


@in_chromium
def test_a_page_that_asks_is_found_out(tmp_path: Path) -> None:
    """A picture of its own server and one of another: the test above can fail."""
    content = (
        b"<!doctype html><link rel=icon href=data:,><img src=x.png>"
        b"<img src=http://127.0.0.2:9/y.png>"
    )
    paths, own, _ = asked_for(tmp_path, content)
    assert sorted(paths) == ["/report.html", "/x.png"]
    assert {url.rpartition("/")[2] for url in own} >= {"x.png", "y.png"}


@in_chromium
def test_the_policy_is_enforced(tmp_path: Path) -> None:
    """What the policy forbids is refused: the check above can fail."""
    content = full().replace(
        b"</main>", b"<img src='file:///x.png'><p style='color:red'>x</p></main>"
    )
    _, errors = chromium(tmp_path, written(tmp_path, content), "--dump-dom")
    assert len(console(errors)) >= 2


@in_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_does_not_scroll_sideways(tmp_path: Path, width: int) -> None:
    """Tables scroll inside themselves, also with names of a hundred letters."""
    long = "network-" + "x" * 100
    own = page(title=long, notes=(long,), commands=(long,), rows=_long_rows(long))
    # In the copy a script may run; a frame has its exact width in any browser.
    script = (
        "<script>addEventListener('load', () => { const d = document.documentElement;"
        "parent.document.title = [innerWidth, d.scrollWidth,"
        "document.body.scrollWidth].join(' '); });</script></body>"
    )
    copy = re.sub(r"<meta http-equiv=[^>]*>", "", render(own).decode())
    copy = copy.replace("</body>", script)
    frame = copy.replace("&", "&amp;").replace('"', "&quot;")
    outer = f'<title>-</title><iframe width="{width}" height="900" srcdoc="{frame}">'
    target = written(tmp_path, f"<!doctype html><meta charset=utf-8>{outer}".encode())
    dom, _ = chromium(tmp_path, target, "--dump-dom")
    found = re.search(r"<title>(\d+) (\d+) (\d+)</title>", dom)
    assert found is not None, dom[:300]
    inner, whole, body = map(int, found.groups())
    # The frame's border is not part of its width; a scroll bar takes up to 17.
    assert width - 20 <= inner <= width
    assert max(whole, body) <= inner


def _long_rows(name: str) -> tuple[Row, ...]:
    """All rows, the first with long names, the last with a long reason."""
    label = replace(rows()[0].label, runtime=name, file=name)
    missing = replace(rows()[-1], unavailable=name)
    return (replace(rows()[0], label=label), *rows()[1:-1], missing)


@in_chromium
def test_the_page_prints(tmp_path: Path) -> None:
    """A PDF of several pages is made."""
    made = tmp_path / "report.pdf"
    chromium(tmp_path, written(tmp_path, full()), f"--print-to-pdf={made}")
    content = made.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3


@in_chromium
def test_a_script_in_a_name_does_not_run(tmp_path: Path) -> None:
    """A hostile title is the title; it changes nothing."""
    name = "<script>document.title='taken'</script>"
    content = render(page(title=name))
    dom, errors = chromium(tmp_path, written(tmp_path, content), "--dump-dom")
    assert "taken'&lt;/script&gt; - mobileq bench</title>" in dom
    assert console(errors) == []
