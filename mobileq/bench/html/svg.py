"""Figures of matplotlib as SVG that may stand inside a page.

The page's policy forbids styles that it does not know, so that style attributes become
plain attributes. Text takes the page's colour and font, in light and dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

from mobileq.bench.html.text import clean

INK = "#010203"
"""Stands for the colour of the page's text."""

_XLINK = "{http://www.w3.org/1999/xlink}href"
_FONT = re.compile(r"(?:(?P<weight>bold|\d{3}) )?(?P<size>[\d.]+)px")

# matplotlib types its settings by their names, which a plain dictionary has not.
_SETTINGS: Any = {
    "svg.hashsalt": "mobileq",
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.16,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
}


def inline_svg(
    draw: Callable[[], Figure], *, name: str, title: str, description: str
) -> str:
    """Draw a figure; equal ones give equal text.

    Args:
        draw: Makes the figure, with `INK` for what has the colour of text.
        name: Of letters; begins every id, so that figures of one page do not mix.
        title: What it shows, for who cannot see it.
        description: What can be read from it.

    Returns:
        An `<svg>` element without namespaces, styles, scripts and fixed size.
    """
    # The user's own settings of matplotlib are left out, and are as before afterwards.
    with mpl.rc_context(), warnings.catch_warnings():
        # Names may hold what matplotlib's font lacks; the browser has other fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        file = io.BytesIO()
        draw().savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(file.getvalue())
    _strip(root)
    for element in root.iter():
        _attributes(element, name)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": box,
            "class": "plot",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
            "stroke-linejoin": "round",
            "stroke-linecap": "butt",
        }
    )
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{name}-{tag}"})
        element.text = clean(text)
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _strip(element: ElementTree.Element) -> None:
    """Remove namespaces, metadata and style sheets."""
    element.tag = element.tag.rpartition("}")[2]
    element.text = (element.text or "").strip("\n ") or None
    element.tail = None
    for child in list(element):
        _strip(child)
        empty = child.tag == "defs" and not len(child)
        if child.tag in ("metadata", "style") or empty:
            element.remove(child)


def _attributes(element: ElementTree.Element, name: str) -> None:
    """Plain attributes, and ids that begin with the figure's name."""
    own = dict(element.attrib)
    link = own.pop(_XLINK, None)
    if link is not None:
        own["href"] = f"#{name}-{link.removeprefix('#')}"
    if "id" in own:
        own["id"] = f"{name}-{own['id']}"
    if "clip-path" in own:
        own["clip-path"] = own["clip-path"].replace("url(#", f"url(#{name}-")
    for part in own.pop("style", "").split(";"):
        key, _, value = part.partition(":")
        own.update(_attribute(key.strip(), value.strip()))
    element.attrib.clear()
    element.attrib.update(
        {k: "currentColor" if v.lower() == INK else v for k, v in own.items()}
    )


def _attribute(key: str, value: str) -> dict[str, str]:
    """One property of a style as attributes; the page decides on the font's family."""
    if not key or key == "font-family":
        return {}
    if key != "font":
        return {key: value}
    found = _FONT.match(value)
    if found is None:
        raise AssertionError(f"matplotlib writes a font as {value!r}")
    weight = found["weight"]
    return {"font-size": found["size"]} | ({"font-weight": weight} if weight else {})
