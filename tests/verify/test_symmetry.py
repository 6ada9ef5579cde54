"""Geometry that turned images see differently is named, and only that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mobileq.collapse.collapse import collapse
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv, Mask, Padding
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.passes.pipeline import run_pipeline
from mobileq.verify.symmetry import asymmetry


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A small C_4 network, deployable."""
    torch.manual_seed(0)
    spec = ModelSpec(group="C4", width=0.1, input_size=31, reduced_strides=2)
    model = build_model(spec).eval()
    return run_pipeline(collapse(model, (3, 31, 31)).graph)[-1].graph


def test_the_planned_network_is_symmetric(graph: Graph) -> None:
    """Nothing is wrong with a network of the planner."""
    assert asymmetry(graph) is None


def test_uneven_padding_is_named(graph: Graph) -> None:
    """One row of zeros more at the top is found."""
    conv = next(n for n in graph.nodes if isinstance(n, Conv) and n.padding.top)
    padding = Padding(conv.padding.top + 1, conv.padding.bottom - 1, 1, 1)
    changed = graph.replaced({conv.name: replace(conv, padding=padding)})
    assert conv.name in str(asymmetry(changed))


def test_a_mask_off_by_one_pixel_is_named(graph: Graph) -> None:
    """One pixel at the rim is enough."""
    mask = next(n for n in graph.nodes if isinstance(n, Mask))
    pixels = np.array(mask.mask)
    pixels[0, 0] = 1 - pixels[0, 0]
    changed = graph.replaced({mask.name: replace(mask, mask=pixels)})
    assert "mask is not symmetric" in str(asymmetry(changed))


def test_a_conventional_network_has_no_group() -> None:
    """There is no symmetry to claim."""
    spec = ModelSpec(group="conventional", width=0.1, input_size=31)
    graph = collapse(build_model(spec).eval(), (3, 31, 31)).graph
    assert "C1" in str(asymmetry(graph))
