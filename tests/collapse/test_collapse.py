"""Collapsing keeps the function and names the symmetry."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from escnn import nn as enn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.collapse.collapse import CollapsedModel, collapse
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs, run
from mobileq.graph.nodes import Conv, Linear
from mobileq.models.build import EquivariantLayers, build_model, gspace_of
from mobileq.models.spec import GroupName, ModelSpec
from support.networks import (
    MeanHead,
    RandomNetwork,
    normalized,
    random_network,
    random_pixels,
)

SEEDS = st.integers(0, 10_000)

# float32 sums of some hundred products, in up to thirty layers, in another order;
# relative to the largest value of the tensor.
ROUNDING = 1e-4


SPEC = ModelSpec(group="C4", width=0.1, input_size=17)


@pytest.fixture(scope="module")
def mobilenet() -> Graph:
    """A narrow MobileNetV2 with random weights."""
    return collapse(build_model(SPEC).eval(), (3, 17, 17)).graph


def _small(group: str) -> torch.nn.Module:
    """Lifting, depthwise and pointwise convolution, orbit maximum, linear layer."""
    torch.manual_seed(0)
    name = GroupName.parse(group)
    layers = EquivariantLayers(name, 3)
    width = 2 * name.order
    body = [
        layers.lifting(3, width, 2, 1),
        layers.norm(width),
        layers.relu(width),
        layers.depthwise(width, 1, 1),
        layers.pointwise(width, width),
        layers.orbit_pool(width),
    ]
    return RandomNetwork(group, layers, body, MeanHead(2, 3)).eval()


def _collapsed(seed: int) -> tuple[torch.nn.Module, CollapsedModel, torch.Tensor]:
    """A random network, what it collapses to, and four images."""
    network, shape = random_network(seed)
    images = normalized(random_pixels(4, shape, seed + 1))
    return network, collapse(network, shape), images


@settings(max_examples=8)
@given(seed=SEEDS)
def test_three_forms_of_a_network_agree(seed: int) -> None:
    """escnn's network, the plain torch module and the graph compute the same."""
    network, collapsed, images = _collapsed(seed)
    with torch.no_grad():
        eager, plain = network(images), collapsed.module(images)
    graph = outputs(collapsed.graph, images.numpy())
    bound = ROUNDING * float(eager.abs().max())
    assert bound > 0
    assert float((plain - eager).abs().max()) <= bound
    assert float(np.abs(graph - eager.numpy()).max()) <= bound


def _require_equivariant(graph: Graph, images: NDArray[Any]) -> int:
    """Every tensor with a symmetry follows its generators; returns how many do."""
    before: dict[str, Any] = run(graph, images)
    count = 0
    for index, motion in enumerate(graph.input.fields.generators):
        turned: NDArray[Any] = motion.act(images)
        after: dict[str, Any] = run(graph, turned)
        for name, shape in graph.shapes.items():
            fields = graph.fields(name)
            if not fields.generators:
                continue
            grid = (*shape, 1, 1)[:3]
            act = fields.generators[index].act
            wanted = act(before[name].reshape(-1, *grid))
            found = after[name].reshape(-1, *grid)
            bound = ROUNDING * np.abs(wanted).max()
            assert np.abs(found - wanted).max() <= bound, f"{name}: {motion.motion}"
            count += 1
    return count


@settings(max_examples=8)
@given(seed=SEEDS)
def test_generators_act_on_every_tensor(seed: int) -> None:
    """Turning the image turns every tensor and permutes its channels as told."""
    _, collapsed, images = _collapsed(seed)
    count = _require_equivariant(collapsed.graph, images.numpy())
    assert bool(count) == bool(collapsed.graph.input.fields.generators)


@pytest.mark.parametrize(
    ("group", "motions"),
    [
        ("C1", ()),
        ("C2", ((2, False),)),
        ("C3", ()),
        ("C4", ((1, False),)),
        ("C6", ((2, False),)),
        ("C12", ((1, False),)),
        ("D1", ((0, True),)),
        ("D2", ((2, False), (0, True))),
        ("D3", ((0, True),)),
        ("D4", ((1, False), (0, True))),
        ("D6", ((2, False), (0, True))),
    ],
)
def test_the_exact_subgroup_of_every_group(
    group: str, motions: tuple[tuple[int, bool], ...]
) -> None:
    """Generators are those motions of the pixel grid that the group has."""
    graph = collapse(_small(group), (3, 9, 9)).graph
    found = graph.input.fields
    assert found.group == group
    # escnn's reflection mirrors one axis; which one is its choice.
    assert [m for m in found.motions if not m[1]] == [m for m in motions if not m[1]]
    assert sum(m[1] for m in found.motions) == sum(m[1] for m in motions)
    images = normalized(random_pixels(2, (3, 9, 9), 0)).numpy()
    assert bool(_require_equivariant(graph, images)) == bool(motions)


@pytest.mark.parametrize("group", ["C4", "C12", "D4"])
def test_blocks_are_the_orbits_of_the_whole_group(group: str) -> None:
    """Neighbouring channels form blocks of the group's order."""
    order = GroupName.parse(group).order
    for node in collapse(_small(group), (3, 9, 9)).graph.nodes:
        if isinstance(node, Conv):
            fields = node.fields
            assert fields.group == group
            np.testing.assert_array_equal(
                fields.block, np.arange(fields.channels) // order
            )


def test_the_model_is_left_alone() -> None:
    """Mode, weights and modules of the given network stay as they are."""
    network, shape = random_network(3)
    network.train()
    before = copy.deepcopy(network.state_dict())
    modules = {name: type(module) for name, module in network.named_modules()}
    collapse(network, shape)
    assert network.training
    assert modules == {name: type(module) for name, module in network.named_modules()}
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_network_put_into_evaluation_mode_with_gradients() -> None:
    """escnn then keeps expanded filters with their history, which cannot be copied."""
    space = gspace_of(GroupName.parse("C4"))
    image = enn.FieldType(space, [space.trivial_repr] * 3)
    regular = enn.FieldType(space, [space.regular_repr])

    class Network(torch.nn.Module):
        """One convolution and an orbit maximum."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = enn.R2Conv(image, regular, 3, bias=True)
            self.pool = enn.GroupPooling(regular)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Compute the logits."""
            features = self.pool(self.conv(enn.GeometricTensor(images, image)))
            tensor: torch.Tensor = features.tensor
            return tensor.mean((2, 3))

    network = Network().eval()
    assert not network.conv.filter.is_leaf
    images = torch.randn(2, 3, 7, 7)
    found = outputs(collapse(network, (3, 7, 7)).graph, images.numpy())
    # One layer in float32.
    np.testing.assert_allclose(
        found, network(images).detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_names_come_from_the_network(mobilenet: Graph) -> None:
    """Nodes are named after modules; the last one is `logits`."""
    graph = mobilenet
    names = [node.name for node in graph.nodes]
    assert names[:5] == ["image", "mask", "stem.conv", "stem.norm", "stem.relu"]
    assert "blocks.3.branch.depthwise.conv" in names
    assert "blocks.2.add" in names
    assert graph.output == names[-1] == "logits"
    assert isinstance(graph["logits"], Linear)


def test_pixels_and_their_scale_are_kept() -> None:
    """What a grey level means is told once, to the input node."""
    network, shape = random_network(3)
    graph = collapse(network, shape, pixel_scale=1 / 255, pixel_zero=0).graph
    assert (graph.input.pixel_scale, graph.input.pixel_zero) == (1 / 255, 0)


def test_multiply_adds_are_those_of_the_twin(mobilenet: Graph) -> None:
    """The collapsed equivariant network costs what the conventional one costs."""
    twin = build_model(SPEC.twin()).eval()
    costs = []
    for graph in (mobilenet, collapse(twin, (3, 17, 17)).graph):
        convs = [n for n in graph.nodes if isinstance(n, Conv)]
        shapes = graph.shapes
        costs.append([n.weight.size * shapes[n.name][1] ** 2 for n in convs])
    assert costs[0] == costs[1]
