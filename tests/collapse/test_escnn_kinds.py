"""Every kind of escnn module that collapses computes what escnn computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from escnn import gspaces
from escnn import nn as enn
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobileq.collapse.collapse import collapse
from mobileq.collapse.escnn_norms import affine
from mobileq.errors import UnsupportedError
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import run
from mobileq.graph.nodes import Conv, Mask, SoftMask
from mobileq.passes.fold import fold_batch_norm
from mobileq.passes.snap import snap_orbits

SIZE = 9
SPACE = gspaces.rot2dOnR2(4)
IMAGE = enn.FieldType(SPACE, [SPACE.trivial_repr] * 2)
REGULAR, TRIVIAL, HALF = SPACE.regular_repr, SPACE.trivial_repr, SPACE.quotient_repr(2)
PLAIN = enn.FieldType(SPACE, [REGULAR] * 2)
MIXED = enn.FieldType(SPACE, [REGULAR, TRIVIAL, HALF, REGULAR, TRIVIAL])
IRREPS = enn.FieldType(SPACE, [SPACE.irrep(1), SPACE.irrep(0), SPACE.irrep(2)])

ROUNDING = 1e-5
"""Float32 sums of some hundred products in another order, relative to the largest."""


class Steps(nn.Module):
    """escnn modules in a row; the features themselves are the result."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleList(modules)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Apply them."""
        features = enn.GeometricTensor(images, IMAGE)
        for step in self.steps:
            features = step(features)
        tensor: torch.Tensor = features.tensor
        return tensor


def lifted(fields: enn.FieldType, kernel: int = 3, **options: int | str) -> nn.Module:
    """escnn's convolution of the image."""
    conv: nn.Module = enn.R2Conv(IMAGE, fields, kernel, **options)
    return conv


def prepared(*modules: nn.Module, size: int = SIZE) -> Steps:
    """A network whose normalizations have seen images and learnt something."""
    torch.manual_seed(0)
    network = Steps(*modules)
    images = torch.randn(8, 2, size, size)
    network.train()(images)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.requires_grad and not name.endswith(".weights"):
                value.add_(0.3 * torch.rand_like(value))
    return network.eval()


def require_equal(network: Steps, size: int = SIZE) -> Graph:
    """Compare escnn with the graph at three stages; returns the collapsed one."""
    images = torch.randn(2, 2, size, size)
    with torch.no_grad():
        wanted = network(images).numpy()
    collapsed = collapse(network, (2, size, size)).graph
    folded = fold_batch_norm(collapsed)
    for graph in (collapsed, folded, snap_orbits(folded)):
        found = run(graph, images.numpy())[graph.output]
        assert found.shape == wanted.shape
        # Snapping moves a weight by less than 1e-5 of the largest.
        bound = 2 * ROUNDING * np.abs(wanted).max()
        assert np.abs(found - wanted).max() <= bound
    return collapsed


def require_moved(graph: Graph, size: int = SIZE) -> None:
    """The output has a symmetry, and follows each generator as its fields say."""
    fields = graph.fields(graph.output)
    assert fields.generators
    images = np.random.default_rng(0).normal(size=(2, 2, size, size))
    before = run(graph, images)[graph.output]
    for image, result in zip(
        graph.input.fields.generators, fields.generators, strict=True
    ):
        after = run(graph, image.act(images))[graph.output]
        wanted = result.act(before)
        assert np.abs(after - wanted).max() <= ROUNDING * np.abs(wanted).max()


Make = Callable[[], Steps]
KINDS: dict[str, Make] = {
    "convolution, dilated": lambda: prepared(lifted(PLAIN, padding=2, dilation=2)),
    **{
        f"convolution, padding {mode}": lambda mode=mode: prepared(  # type: ignore[misc]
            lifted(PLAIN, padding=1, padding_mode=mode)
        )
        for mode in ("reflect", "replicate", "circular")
    },
    "convolution of mixed fields": lambda: prepared(
        lifted(MIXED), enn.ReLU(MIXED), enn.R2Conv(MIXED, PLAIN, 3, padding=1)
    ),
    "grouped convolution": lambda: prepared(
        lifted(PLAIN), enn.R2Conv(PLAIN, PLAIN, 3, groups=2)
    ),
    "InnerBatchNorm": lambda: prepared(lifted(MIXED), enn.InnerBatchNorm(MIXED)),
    "IIDBatchNorm": lambda: prepared(lifted(MIXED), enn.IIDBatchNorm2d(MIXED)),
    "IIDBatchNorm without weights": lambda: prepared(
        lifted(MIXED), enn.IIDBatchNorm2d(MIXED, affine=False)
    ),
    "normalization of a sum": lambda: prepared(
        lifted(MIXED), enn.ReLU(MIXED), enn.InnerBatchNorm(MIXED)
    ),
    "leaky ReLU": lambda: prepared(lifted(PLAIN), enn.LeakyReLU(PLAIN, 0.2)),
    "ELU": lambda: prepared(lifted(PLAIN), enn.ELU(PLAIN)),
    **{
        f"pointwise {kind}": lambda kind=kind: prepared(  # type: ignore[misc]
            lifted(PLAIN), enn.PointwiseNonLinearity(PLAIN, kind)
        )
        for kind in ("p_relu", "p_elu", "p_sigmoid")
    },
    "soft mask": lambda: prepared(enn.MaskModule(IMAGE, SIZE, margin=5)),
    "hard mask": lambda: prepared(enn.MaskModule(IMAGE, SIZE, sigma=0.01)),
    "dropout": lambda: prepared(
        lifted(PLAIN), enn.PointwiseDropout(PLAIN), enn.FieldDropout(PLAIN)
    ),
    "average pool": lambda: prepared(enn.PointwiseAvgPool2D(IMAGE, 3, 2, 1)),
    "maximum pool": lambda: prepared(enn.PointwiseMaxPool2D(IMAGE, 3, 2, 1)),
    "blur": lambda: prepared(enn.PointwiseAvgPoolAntialiased2D(IMAGE, 0.6, 2)),
    "blurred maximum": lambda: prepared(
        enn.PointwiseMaxPoolAntialiased2D(IMAGE, 3, 2, 1)
    ),
    "adaptive average": lambda: prepared(enn.PointwiseAdaptiveAvgPool2D(IMAGE, 3)),
    "adaptive maximum": lambda: prepared(enn.PointwiseAdaptiveMaxPool2D(IMAGE, 1)),
    "maximum over mixed orbits": lambda: prepared(
        lifted(MIXED), enn.GroupPooling(MIXED)
    ),
    "another order": lambda: prepared(
        lifted(MIXED), enn.ReshuffleModule(MIXED, [4, 2, 0, 1, 3])
    ),
    "upsampling": lambda: prepared(lifted(PLAIN), enn.R2Upsampling(PLAIN, 2)),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_module_computes_what_escnn_computes(name: str) -> None:
    """Collapsed, folded and snapped; and turning the image turns what it makes."""
    graph = require_equal(KINDS[name]())
    require_moved(graph)


@pytest.mark.parametrize("norm", [enn.IIDBatchNorm2d, enn.GNormBatchNorm])
def test_irreducible_fields_collapse_without_a_symmetry(norm: type[nn.Module]) -> None:
    """Nothing is said of what turns do to them, nor to what is made of them."""
    network = prepared(
        lifted(IRREPS),
        norm(IRREPS),
        enn.R2Conv(IRREPS, PLAIN, 3),
        enn.ReLU(PLAIN),
        enn.GroupPooling(PLAIN),
    )
    graph = require_equal(network)
    assert graph.input.fields.generators
    assert not graph.fields(graph.output).generators


@pytest.mark.parametrize("element", [(None, 4), (0, 2), (None, 2)])
def test_restricted_fields_have_the_group_that_is_left(
    element: tuple[int | None, int],
) -> None:
    """From the restriction on, and before it too, only the smaller group is claimed."""
    space = gspaces.flipRot2dOnR2(4)
    image = enn.FieldType(space, [space.trivial_repr] * 2)
    first = enn.FieldType(space, [space.regular_repr])
    restriction = enn.RestrictionModule(first, element)
    half = restriction.out_type
    parts = enn.DisentangleModule(half)
    last = enn.FieldType(half.gspace, [half.gspace.regular_repr])

    class Restricted(Steps):
        """The same with another image type."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Apply the modules."""
            features = enn.GeometricTensor(images, image)
            for step in self.steps:
                features = step(features)
            tensor: torch.Tensor = features.tensor
            return tensor

    torch.manual_seed(0)
    network = Restricted(
        enn.R2Conv(image, first, 3),
        restriction,
        parts,
        enn.R2Conv(parts.out_type, last, 3),
    ).eval()
    graph = require_equal(network)
    letter = "C" if element[0] is None else "D"
    assert graph.input.fields.group == f"{letter}{element[1]}"
    require_moved(graph)


@settings(deadline=None, max_examples=8)
@given(
    kernel=st.sampled_from([1, 3, 5, 7, 9]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 3),
)
def test_convolutions_of_all_sizes(
    kernel: int, stride: int, dilation: int, padding: int
) -> None:
    """1x1 to 9x9, any stride, dilation and padding."""
    size = 18
    network = prepared(
        lifted(PLAIN, kernel, stride=stride, dilation=dilation, padding=padding),
        size=size,
    )
    require_equal(network, size)


@settings(deadline=None, max_examples=15)
@given(
    factor=st.integers(1, 5),
    mode=st.sampled_from(["nearest", "bilinear"]),
    corners=st.booleans(),
    size=st.integers(2, 6),
)
def test_upsampling_by_copies_and_a_convolution(
    factor: int, mode: str, corners: bool, size: int
) -> None:
    """Any whole factor, with corners that stay and with those that do not."""
    stay = corners and mode == "bilinear"
    target = (size - 1) * factor + 1 if stay else size * factor
    upsampling = enn.R2Upsampling(IMAGE, size=target, mode=mode, align_corners=corners)
    graph = require_equal(Steps(upsampling).eval(), size)
    require_moved(graph, size)
    assert graph.shapes[graph.output] == (2, target, target)


def test_a_soft_mask_is_symmetric_to_the_last_bit() -> None:
    """And one whose weights are all 0 or 1 is a plain mask."""
    soft, hard = (
        collapse(KINDS[name](), (2, SIZE, SIZE)).graph.nodes[1]
        for name in ("soft mask", "hard mask")
    )
    assert isinstance(soft, SoftMask)
    assert isinstance(hard, Mask)
    np.testing.assert_array_equal(soft.mask, np.rot90(soft.mask))
    np.testing.assert_array_equal(soft.mask, soft.mask[:, ::-1])


def test_nodes_have_the_names_of_the_modules() -> None:
    """Parts of a module are numbered below it."""
    graph = collapse(KINDS["blurred maximum"](), (2, SIZE, SIZE)).graph
    assert [node.name for node in graph.nodes] == ["image", "steps.0.0", "logits"]
    assert isinstance(graph.nodes[-1], Conv)


def test_a_module_that_only_looks_affine_is_refused() -> None:
    """The map read off from unit vectors is tried on other values."""
    module = enn.ReLU(IMAGE)
    with pytest.raises(UnsupportedError, match=r"^here: escnn module ReLU is no "):
        affine(module, "here")
