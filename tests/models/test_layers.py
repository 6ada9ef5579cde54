"""The equivariant layers, against escnn's own action of the group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from escnn.nn import FieldType, GeometricTensor

from mobileq.models.build import EquivariantLayers
from mobileq.models.layers import (
    CircularMask,
    DepthwiseConv,
    LiftingConv,
    MaskedMean,
    PointwiseConv,
    rotated_filter_basis,
)
from mobileq.models.spec import GroupName

GROUPS = ("C4", "C8", "C12", "D4", "C6", "D2")

# float32 sums of some hundred products, relative to the largest output.
ROUNDING = 1e-5


def _layers(group: str) -> EquivariantLayers:
    """Layers of a group on images with three channels."""
    return EquivariantLayers(GroupName.parse(group), 3)


def _exact_elements(layers: EquivariantLayers) -> list[Any]:
    """Group elements whose matrices have entries 0, 1 and -1 only."""
    space = layers.gspace
    elements = []
    for element in space.fibergroup.elements:
        matrix = np.asarray(space.basespace_action(element))
        if np.abs(matrix - np.rint(matrix)).max() < 1e-9:
            elements.append(element)
    return elements


def _require_equivariant(
    module: Any, in_type: FieldType, elements: list[Any], size: int
) -> None:
    """Acting before and after the layer gives the same."""
    torch.manual_seed(0)
    features = GeometricTensor(torch.randn(2, in_type.size, size, size), in_type)
    with torch.no_grad():
        result = module(features)
        bound = ROUNDING * float(result.tensor.abs().max())
        for element in elements:
            before = module(features.transform(element)).tensor
            after = result.transform(element).tensor
            assert float((before - after).abs().max()) <= bound


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0), (2, 1)])
@pytest.mark.parametrize("group", GROUPS)
def test_convolutions_commute_with_the_exact_subgroup(
    group: str, stride: int, padding: int
) -> None:
    """Lifting, depthwise and pointwise, with every stride the planner uses."""
    layers = _layers(group)
    elements = _exact_elements(layers)
    assert len(elements) > 1
    order = GroupName.parse(group).order
    fields = layers.fields(2 * order)
    options = {"kernel": 3, "stride": stride, "padding": padding}
    lifting = LiftingConv(layers.image, fields, **options)
    _require_equivariant(lifting, layers.image, elements, 9)
    _require_equivariant(DepthwiseConv(fields, **options), fields, elements, 9)
    pointwise = PointwiseConv(fields, layers.fields(3 * order))
    _require_equivariant(pointwise, fields, elements, 9)


@pytest.mark.parametrize("group", ["C4", "D4"])
def test_masks_and_pooling_commute(group: str) -> None:
    """The circular mask and the masked mean commute with the group."""
    layers = _layers(group)
    fields = layers.fields(2 * GroupName.parse(group).order)
    elements = _exact_elements(layers)
    _require_equivariant(CircularMask(fields, 9), fields, elements, 9)
    _require_equivariant(MaskedMean(fields, 9), fields, elements, 9)


@pytest.mark.parametrize("group", GROUPS)
def test_pointwise_filter_commutes_with_every_element(group: str) -> None:
    """Also with the elements that do not map the pixel grid onto itself."""
    layers = _layers(group)
    order = GroupName.parse(group).order
    conv = PointwiseConv(layers.fields(2 * order), layers.fields(3 * order))
    weight = conv.filter().detach().double()[:, :, 0, 0]
    for element in layers.gspace.fibergroup.elements:
        matrix = torch.from_numpy(np.asarray(layers.gspace.regular_repr(element)))
        into = torch.kron(torch.eye(2), matrix).double()
        out = torch.kron(torch.eye(3), matrix).double()
        # escnn's permutation matrices are off by some 1e-16 per entry.
        torch.testing.assert_close(out @ weight, weight @ into, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "filters"), [(3, 6), (5, 11)])
@pytest.mark.parametrize("group", ["C4", "C12"])
def test_basis_size(group: str, kernel: int, filters: int) -> None:
    """The basis has the size of R2Conv(trivial -> regular), whatever N."""
    layers = _layers(group)
    order = GroupName.parse(group).order
    basis = rotated_filter_basis(layers.fields(order), kernel)
    assert basis.shape == (filters, order, kernel, kernel)
    rank = int(torch.linalg.matrix_rank(basis.flatten(1)))
    assert rank == filters, "the filters are independent"


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("group", ["C4", "C12", "D4"])
def test_a_basis_is_as_large_as_that_of_plain_filters(group: str, kernel: int) -> None:
    """Squared norms over a channel's basis add up to the number of its entries."""
    layers = _layers(group)
    fields = layers.fields(GroupName.parse(group).order)
    basis = rotated_filter_basis(fields, kernel)
    sizes = basis.square().sum((0, 2, 3))
    # float32 sums of some fifty terms; the channels of D_N share the sum by symmetry.
    torch.testing.assert_close(sizes.mean(), torch.tensor(float(kernel**2)))
    torch.testing.assert_close(
        sizes, torch.full_like(sizes, kernel**2), rtol=0.2, atol=0
    )


@pytest.mark.parametrize("group", ["C12", "D4"])
def test_filters_begin_as_plain_ones_do(group: str) -> None:
    """The variance of a filter's entries is that of torch's Conv2d."""
    torch.manual_seed(0)
    layers = _layers(group)
    order = GroupName.parse(group).order
    fields = layers.fields(20 * order)
    depthwise = DepthwiseConv(fields, kernel=3, stride=1, padding=0)
    pointwise = PointwiseConv(fields, fields)
    images = FieldType(layers.gspace, [layers.gspace.trivial_repr] * 16)
    lifting = LiftingConv(images, fields, kernel=3, stride=1, padding=0)
    size = fields.size
    for conv, plain in (
        (depthwise, torch.nn.Conv2d(size, size, 3, groups=size)),
        (pointwise, torch.nn.Conv2d(size, size, 1)),
        (lifting, torch.nn.Conv2d(16, size, 3)),
    ):
        found = float(conv.filter().detach().square().mean())
        wanted = float(plain.weight.detach().square().mean())
        # 120 free numbers or more, each normal: 13 % and less in one standard error.
        assert found == pytest.approx(wanted, rel=0.35)


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0)])
def test_output_shapes_are_foretold(stride: int, padding: int) -> None:
    """evaluate_output_shape says what forward does."""
    layers = _layers("C4")
    fields = layers.fields(8)
    options = {"kernel": 3, "stride": stride, "padding": padding}
    modules: list[tuple[Any, FieldType]] = [
        (LiftingConv(layers.image, fields, **options), layers.image),
        (DepthwiseConv(fields, **options), fields),
        (PointwiseConv(fields, layers.fields(12)), fields),
        (CircularMask(fields, 9), fields),
        (MaskedMean(fields, 9), fields),
        (layers.norm(8), fields),
    ]
    for module, in_type in modules:
        images = GeometricTensor(torch.zeros(2, in_type.size, 9, 9), in_type)
        found = tuple(module.eval()(images).tensor.shape)
        assert module.evaluate_output_shape((2, in_type.size, 9, 9)) == found
