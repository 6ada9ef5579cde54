"""The report as one HTML file that loads nothing: `render(page)` makes its bytes."""

from mobileq.bench.html.layers import ChannelRanges, Layer, layers_of
from mobileq.bench.html.page import Example, Page, Turn
from mobileq.bench.html.render import render

__all__ = [
    "ChannelRanges",
    "Example",
    "Layer",
    "Page",
    "Turn",
    "layers_of",
    "render",
]
