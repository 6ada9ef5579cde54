"""What a report shows, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mobileq.bench.figures import Row
from mobileq.bench.html.layers import Layer
from mobileq.bench.layer_report import LayerErrors


class Turn(NamedTuple):
    """A turned patch and what the network makes of it.

    Attributes:
        degrees: Counter-clockwise.
        png: The picture that the network saw, as a PNG file.
        predicted: Name of the class.
        probability: Of that class, 0 to 1.
    """

    degrees: float
    png: bytes
    predicted: str
    probability: float


@dataclass(frozen=True)
class Example:
    """One patch, turned through the circle.

    Attributes:
        name: Of the patch, with its true class where that is known.
        turns: Of which the first is what the others are compared with.
    """

    name: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Page:
    """All that a report shows; what is empty or None leaves its section out.

    Attributes:
        title: Name of what was measured.
        group: Symmetry group of the network.
        machine: Where it was measured: plain values by name, dictionaries and lists
            among them.
        noise: What made the times unsure, in a sentence; None on a quiet machine.
        images: Where the turned images come from.
        image_count: How many they are.
        data: Where the labelled images come from; None if accuracy was not measured.
        rows: One per file, runtime and kernel.
        notes: What else there is to say, a line each.
        examples: Turned patches.
        ladder: Entries of a manifest's `ladder`.
        certificates: Entries of a manifest's `certificates`, by file name.
        layers: What quantization did to each layer, in the order of the network.
        symmetry: Equivariance errors of every tensor.
        commands: What was called, so that it can be called again.
        devices: Phones and boards: what is known of each, as text by name.
        classes: Names of the classes; numbers stand for those that are missing.
    """

    title: str
    group: str
    machine: Mapping[str, Any]
    noise: str | None
    images: str
    image_count: int
    data: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    ladder: Sequence[Mapping[str, Any]] | None = None
    certificates: Mapping[str, Mapping[str, Any]] | None = None
    layers: tuple[Layer, ...] = ()
    symmetry: LayerErrors | None = None
    commands: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
