"""Plain convolutions keep the group's claim where nothing is left for it to permute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mobileq.certify import certify_files
from mobileq.collapse.collapse import collapse
from mobileq.deploy import deploy
from mobileq.graph.nodes import Conv
from mobileq.models.build import EquivariantLayers
from mobileq.models.spec import GroupName
from mobileq.proof.motions import QUARTER_TURN
from mobileq.verify.symmetry import asymmetry
from support.networks import RandomNetwork


def _network(*, pooled: bool, kernel: int) -> nn.Module:
    """A lifting convolution, perhaps the orbit pool, and a plain head."""
    torch.manual_seed(0)
    layers = EquivariantLayers(GroupName.parse("C4"), 3)
    body = [layers.lifting(3, 8, 1, 1), layers.norm(8), layers.relu(8)]
    channels = 8
    if pooled:
        body.append(layers.orbit_pool(8))
        channels = 2
    head = nn.Sequential(
        nn.Conv2d(channels, 5, kernel, padding=kernel // 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 2),
    )
    return RandomNetwork("C4", layers, body, head).eval()


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_plain_head_is_symmetric_only_pointwise_behind_the_pool(
    pooled: bool, kernel: int
) -> None:
    """The claim is made in that case alone, and the certificates agree with it."""
    made = deploy(collapse(_network(pooled=pooled, kernel=kernel), (3, 11, 11)))
    claimed = asymmetry(made.graph) is None
    assert claimed == (pooled and kernel == 1)
    for name, certificate in certify_files(made.files).items():
        assert (QUARTER_TURN in certificate.proof.proven) == claimed, name


def test_a_group_without_exact_subgroup_keeps_its_blocks() -> None:
    """C_3 has no motion of the grid, but scales are tied over its blocks."""
    torch.manual_seed(0)
    layers = EquivariantLayers(GroupName.parse("C3"), 3)
    body = [layers.lifting(3, 6, 1, 1), layers.pointwise(6, 9), layers.orbit_pool(9)]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    network = RandomNetwork("C3", layers, body, head).eval()
    graph = collapse(network, (3, 9, 9)).graph
    convs = [node for node in graph.nodes if isinstance(node, Conv)]
    assert [node.fields.num_blocks for node in convs] == [2, 3]
