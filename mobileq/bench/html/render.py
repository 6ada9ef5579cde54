"""The report as one HTML file.

All text is escaped by jinja2. The file's own policy (Content-Security-Policy) forbids
scripts and everything that lies elsewhere; pictures are part of the file, and the one
style sheet is named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from mobileq import __version__
from mobileq.bench.html import tables
from mobileq.bench.html.layer_plots import ranges_plot, sqnr_plot, widest
from mobileq.bench.html.matrices import confusions, facts, profiles
from mobileq.bench.html.page import Example, Page
from mobileq.bench.html.plots import circle_plot, latency_plot, tradeoff_plot
from mobileq.bench.html.summary import summary
from mobileq.bench.html.text import clean, counted, percent

TEMPLATE, STYLE = "report.html.j2", "report.css"


def render(page: Page) -> bytes:
    """The report; equal pages give equal bytes.

    Args:
        page: What was measured.

    Returns:
        An HTML file in UTF-8 that loads nothing and runs no script.
    """
    style = _resource(STYLE)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        f"base-uri 'none'; form-action 'none'"
    )
    text = _template().render(
        page=page,
        style=style,
        policy=policy,
        version=__version__,
        summary=summary(page),
        comparison=tables.comparison(page.rows),
        scores=tables.scores(page.rows),
        costs=tables.costs(page.rows),
        latency=latency_plot(page.rows),
        circle=circle_plot(page.rows),
        tradeoff=tradeoff_plot(page.rows),
        ranges=ranges_plot(page.layers),
        sqnr=sqnr_plot(page.layers),
        widest=widest(page.layers),
        layers=tables.layer_table(page.layers) if page.layers else None,
        symmetry=tables.symmetry_table(page.symmetry) if page.symmetry else None,
        symmetry_lines=page.symmetry.lines() if page.symmetry else (),
        confusions=confusions(page.rows, page.classes),
        profiles=profiles(page.rows),
        examples=[_example(example) for example in page.examples],
        rungs=_rungs(page.ladder or ()),
        certificates=_certificates(page.certificates or {}),
        machine=facts(page.machine),
        turned=f"{counted(page.image_count, 'image')}, {page.images}",
    )
    return f"{text}\n".encode()


@lru_cache(maxsize=1)
def _template() -> Template:
    """The template, with escaping on and no silence about names that do not exist."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    return environment.from_string(_resource(TEMPLATE))


def _resource(name: str) -> str:
    """A file that lies beside this one."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _finalized(value: Any) -> Any:
    """Text without what no file can hold; it is escaped after this."""
    # What a filter or macro has made safe has escapes in it already.
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return clean(value)
    return value


def _example(example: Example) -> dict[str, Any]:
    """An example with its pictures as addresses."""
    first = example.turns[0][2] if example.turns else ""
    turns = [
        {
            "degrees": f"{degrees:g}°",
            "source": f"data:image/png;base64,{base64.b64encode(png).decode()}",
            "predicted": predicted,
            "probability": percent(probability, 1),
            "changed": predicted != first,
        }
        for degrees, png, predicted, probability in example.turns
    ]
    changed = sum(turn["changed"] is True for turn in turns)
    return {"name": example.name, "turns": turns, "changed": changed}


def _rungs(ladder: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons, with numbers as text."""
    return [
        {
            "name": rung.get("name", ""),
            "against": rung.get("against", ""),
            "measure": rung.get("measure", ""),
            "value": _short(rung.get("value")),
            "limit": _short(rung.get("limit")),
            "passed": bool(rung.get("passed")),
            "first_wrong": rung.get("first_wrong") or "",
        }
        for rung in ladder
    ]


def _certificates(
    certificates: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, str]]:
    """What is proven of each file, the motions in words."""
    return [
        {
            "file": file,
            "group": str(entry.get("group", "")),
            "motions": ", ".join(map(_motion, _with_inverses(entry))),
            "sha256": str(entry.get("sha256", "")),
        }
        for file, entry in certificates.items()
    ]


def _with_inverses(entry: Mapping[str, Any]) -> list[tuple[int, bool]]:
    """All motions that are proven: a manifest leaves inverses out."""
    found = {
        (int(turns), bool(mirrored)) for turns, mirrored in entry.get("motions", ())
    }
    # Mirror images are their own inverses.
    found |= {(-turns % 4, False) for turns, mirrored in found if not mirrored}
    return sorted(found, key=lambda motion: (motion[1], motion[0]))


def _motion(motion: Sequence[Any]) -> str:
    """Quarter turns and whether it is mirrored, in words."""
    turns, mirrored = motion
    words = f"{90 * int(turns)}°"
    if not mirrored:
        return words
    return f"mirrored and {words}" if turns else "mirrored"


def _short(value: Any) -> str:
    """A number of any magnitude."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)
