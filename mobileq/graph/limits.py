"""How large a graph may be that comes from a file which nobody vouches for.

A few bytes can claim a tensor of terabytes. What these limits allow is more than a
phone has memory for, and less than the machine that reads the file has.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from mobileq.errors import GraphError
from mobileq.graph.base import Node
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Input
from mobileq.graph.spec import Stage, check

MOST_NODES = 4096
MOST_NUMBERS = 2**26
"""Weights, and everything else that nodes hold: half a gigabyte in float64."""

MOST_ELEMENTS = 2**27
"""Of the tensor that one node makes of one image: half a gigabyte in float32."""

LARGEST_INTEGER = 2**31 - 1
LONGEST_NAME = 512
LONGEST_GROUP = 16

SMALLEST_PIXEL, LARGEST_PIXEL = 2.0**-60, 2.0**60
"""Real size of a grey level; float32 holds its square."""


def require_bounded(graph: Graph) -> Graph:
    """Return a collapsed graph if everything that is made of it stays bounded.

    Raises:
        GraphError: a tensor or a window is too large, fields or pixels are impossible,
            or the graph is not legal as collapsed.
        SymmetryError: as `graph.spec.check` says.
    """
    for node in graph.nodes:
        shape = graph.shapes[node.name]
        if min(shape, default=0) < 1 or math.prod(shape) > MOST_ELEMENTS:
            raise _error(node, f"a tensor of {shape}", f"1 to {MOST_ELEMENTS:,} values")
        # Pools become convolutions, whose weights are not in the file.
        kernel = getattr(node, "kernel", ())
        if math.prod(kernel) * shape[0] > MOST_NUMBERS or min(kernel, default=1) < 1:
            raise _error(node, f"a window of {kernel}", "one on the grid")
        for field in dataclasses.fields(node):
            value = getattr(node, field.name)
            if isinstance(value, FieldBlocks):
                _check_fields(node, value)
    _check_pixels(graph.input)
    # In their order: each asks the ones before it, which are remembered.
    for node in graph.nodes:
        graph.fields(node.name)
    return check(graph, Stage.COLLAPSED)


def _check_fields(node: Node, fields: FieldBlocks) -> None:
    """Check that blocks are numbered from 0 without a gap.

    Raises:
        GraphError: they are not, or there are none.
    """
    numbers = np.unique(fields.block) if fields.block.ndim == 1 else np.array([-1])
    if not len(numbers) or not np.array_equal(numbers, np.arange(len(numbers))):
        raise _error(node, "other blocks of channels", "blocks 0, 1, 2, ...")
    if len(fields.group) > LONGEST_GROUP:
        raise _error(node, f"group {fields.group[:20]!r}...", "a name such as C12")


def _check_pixels(image: Input) -> None:
    """Check the input node.

    Raises:
        GraphError: fields of another number of channels, or an impossible pixel.
    """
    if image.fields.channels != image.shape[0]:
        found = f"{image.fields.channels} fields"
        raise _error(image, found, f"{image.shape[0]}, one for each channel")
    if not SMALLEST_PIXEL <= image.pixel_scale <= LARGEST_PIXEL:
        raise _error(image, f"pixel_scale {image.pixel_scale}", "such as 1/128")
    if not 0 <= image.pixel_zero <= 255:
        raise _error(image, f"pixel_zero {image.pixel_zero}", "0 to 255")


def _error(node: Node, found: str, wanted: str) -> GraphError:
    """The error for one node."""
    kind = type(node).__name__
    return GraphError(f"{kind} {node.name!r}: found {found}; wanted {wanted}")
