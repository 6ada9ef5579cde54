"""Networks as users write them go the whole way to exact INT8 files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mobileq.certify import certify_files
from mobileq.collapse.collapse import collapse
from mobileq.deploy.climb import climb
from mobileq.deploy.files import deploy
from mobileq.graph.interpret import outputs
from mobileq.verify.symmetry import asymmetry
from support.images import normalized, random_pixels
from support.user_networks import USER_NETWORKS, trained_looking

ROUNDING = 1e-5
"""Float32 sums of some hundred products, in up to twenty layers, in another order."""


@pytest.mark.parametrize("name", USER_NETWORKS)
def test_three_forms_of_a_user_network_agree(name: str) -> None:
    """escnn's network, the plain torch module and the graph compute the same."""
    made = USER_NETWORKS[name]
    network = trained_looking(made)
    collapsed = collapse(network, made.shape)
    images = normalized(random_pixels(3, made.shape, 1))
    with torch.no_grad():
        eager, plain = network(images), collapsed.module(images)
    found = outputs(collapsed.graph, images.numpy())
    bound = ROUNDING * float(eager.abs().max())
    assert found.shape == eager.shape
    assert float((plain - eager).abs().max()) <= bound
    assert float(np.abs(found - eager.numpy()).max()) <= bound


@pytest.mark.parametrize("name", USER_NETWORKS)
def test_a_user_network_climbs_the_whole_ladder(name: str) -> None:
    """Every rung holds, and what claims to be exact is exact and proven so."""
    made = USER_NETWORKS[name]
    network = trained_looking(made)
    deployment = deploy(collapse(network, made.shape))
    pixels = random_pixels(3, made.shape, 2)
    rungs = climb(network, deployment, images=pixels)
    assert [rung for rung in rungs if not rung.passed] == []
    turned = [rung for rung in rungs if rung.against == "itself, turned"]
    assert bool(turned) == made.exact
    assert (asymmetry(deployment.graph) is None) == made.exact
    integers = {n: f for n, f in deployment.files.items() if ".int8." in n}
    assert len(integers) == 2
    for certificate in certify_files(integers).values():
        covered = certificate.covers(deployment.graph.input.fields.motions)
        assert covered == made.exact or not deployment.graph.input.fields.motions
        assert (certificate.group == "C4") == made.exact


def test_the_segmentation_gives_a_class_for_every_pixel() -> None:
    """Its output is dense, and turns with the image to the last bit of its integers."""
    made = USER_NETWORKS["segmentation"]
    deployment = deploy(collapse(trained_looking(made), made.shape))
    assert deployment.graph.shapes[deployment.graph.output] == (2, 12, 12)
