"""Modules of escnn that no convolution graph computes are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from escnn import nn as enn
from torch import nn

from mobileq.collapse.collapse import collapse
from mobileq.collapse.refused import MODULES
from mobileq.errors import UnsupportedError
from mobileq.models.build import gspace_of
from mobileq.models.spec import GroupName

SPACE = gspace_of(GroupName.parse("C4"))
IMAGE = enn.FieldType(SPACE, [SPACE.trivial_repr] * 3)
REGULAR = enn.FieldType(SPACE, [SPACE.regular_repr] * 2)
IRREPS = enn.FieldType(SPACE, [SPACE.irrep(1)] * 2)
GATED = enn.FieldType(SPACE, [SPACE.trivial_repr, SPACE.irrep(1)])
INDUCED = enn.FieldType(
    SPACE, [SPACE.induced_repr(2, SPACE.fibergroup.subgroup(2)[0].irrep(1))]
)


class Own(enn.EquivariantModule):
    """A layer that nobody but its author knows."""

    def __init__(self) -> None:
        super().__init__()
        self.in_type = self.out_type = IMAGE

    def forward(self, features: enn.GeometricTensor) -> enn.GeometricTensor:
        """Do nothing."""
        return features

    def evaluate_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """escnn asks for it."""
        return shape


class Steerable(nn.Module):
    """escnn modules in a row, then a mean over the grid."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(modules)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Apply the layers."""
        features = enn.GeometricTensor(images, IMAGE)
        for layer in self.layers:
            features = layer(features)
        tensor: torch.Tensor = features.tensor
        return tensor.mean((2, 3))


def _lifting(out: Any = REGULAR, **options: Any) -> nn.Module:
    """escnn's convolution of the image."""
    conv: nn.Module = enn.R2Conv(IMAGE, out, 3, **options)
    return conv


def _functions_on_the_group() -> nn.Module:
    """A convolution to functions on the group, and their nonlinearity."""
    curve = enn.FourierELU(SPACE, 1, irreps=[(0,), (1,)], type="regular", N=4)
    return Steerable(enn.R2Conv(IMAGE, curve.in_type, 3), curve)


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "norm nonlinearity": (
        lambda: Steerable(_lifting(IRREPS), enn.NormNonLinearity(IRREPS)),
        "layers.1: escnn module NormNonLinearity cannot be collapsed: it needs the "
        "length of every field, a root of a sum of squares; wanted regular fields with "
        "enn.ReLU (replace it before training)",
    ),
    "gates": (
        lambda: Steerable(_lifting(GATED), enn.GatedNonLinearity1(GATED)),
        "layers.1: escnn module GatedNonLinearity1 cannot be collapsed: it multiplies",
    ),
    "functions on the group": (
        _functions_on_the_group,
        "layers.1: escnn module FourierELU cannot be collapsed: it samples functions",
    ),
    "induced nonlinearity": (
        lambda: Steerable(
            _lifting(INDUCED), enn.InducedNormNonLinearity(INDUCED, bias=False)
        ),
        "layers.1: escnn module InducedNormNonLinearity cannot be collapsed: it needs",
    ),
    "norms as a pool": (
        lambda: Steerable(_lifting(IRREPS), enn.NormPool(IRREPS)),
        "layers.1: escnn module NormPool cannot be collapsed: it needs the length of "
        "every field, a root of a sum of squares; wanted regular fields with "
        "enn.GroupPooling",
    ),
    "vectors of maxima": (
        lambda: Steerable(_lifting(), enn.VectorFieldNonLinearity(REGULAR)),
        "layers.1: escnn module VectorFieldNonLinearity cannot be collapsed: it turns",
    ),
    "transposed convolution": (
        lambda: Steerable(_lifting(), enn.R2ConvTransposed(REGULAR, REGULAR, 3)),
        "layers.1: escnn module R2ConvTransposed cannot be collapsed: integer kernels",
    ),
    "branches by name": (
        lambda: Steerable(
            _lifting(),
            enn.MultipleModule(REGULAR, ["a", "a"], [(enn.ReLU(REGULAR), "a")]),
        ),
        "layers.1: escnn module MultipleModule cannot be collapsed: it splits a tensor "
        "into named parts; wanted one enn.R2Conv for each branch",
    ),
    "module of somebody else": (
        lambda: Steerable(Own()),
        "layers.0: escnn module Own cannot be collapsed; wanted one of",
    ),
    "norm of a batch": (
        lambda: Steerable(
            _lifting(), enn.IIDBatchNorm2d(REGULAR, track_running_stats=False)
        ),
        "layers.1: IIDBatchNorm2d without running statistics; wanted them",
    ),
    "inside a sequence": (
        lambda: Steerable(
            enn.SequentialModule(_lifting(IRREPS), enn.NormNonLinearity(IRREPS))
        ),
        "layers.0.1: escnn module NormNonLinearity cannot be collapsed",
    ),
    "ELU of another size": (
        lambda: Steerable(_lifting(), enn.ELU(REGULAR, alpha=0.5)),
        "layers.1: ELU with alpha=0.5; wanted 1",
    ),
    "hyperbolic tangent": (
        lambda: Steerable(_lifting(), enn.PointwiseNonLinearity(REGULAR, "p_tanh")),
        "layers.1: operation aten.tanh.default cannot be lowered: its integer kernels "
        "differ between runtimes; wanted nn.Sigmoid",
    ),
    "enlarged by a half": (
        lambda: Steerable(_lifting(), enn.R2Upsampling(REGULAR, size=10)),
        "layers.1: interpolates (7, 7) to (10, 10) with align_corners=False; wanted a "
        "multiple of the input's",
    ),
    "corners of an even factor": (
        lambda: Steerable(_lifting(), enn.R2Upsampling(REGULAR, 2, align_corners=True)),
        "layers.1: interpolates (7, 7) to (14, 14) with align_corners=True; wanted "
        "(size - 1) a multiple of",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_escnn_module_is_refused_in_one_line(name: str) -> None:
    """Module path, kind, reason, and the nearest thing that works."""
    make, message = CASES[name]
    with pytest.raises(UnsupportedError) as caught:
        collapse(make().eval(), (3, 9, 9))
    text = str(caught.value)
    assert text.startswith(message)
    assert "\n" not in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", MODULES)
def test_reasons_are_given_for_modules_that_escnn_has(kind: str) -> None:
    """A name that escnn does not have would never be met."""
    # Needs torch_geometric, which few have.
    if kind != "R2PointConv":
        assert issubclass(getattr(enn, kind), nn.Module)
