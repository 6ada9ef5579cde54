"""What cannot be deployed is refused by name, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from escnn import nn as enn
from torch import nn
from torch.nn import functional as F

from mobileq.collapse.collapse import collapse
from mobileq.errors import MobileqError, UnsupportedError
from mobileq.models.build import gspace_of
from mobileq.models.spec import GroupName

SPACE = gspace_of(GroupName.parse("C4"))
IMAGE = enn.FieldType(SPACE, [SPACE.trivial_repr] * 3)
REGULAR = enn.FieldType(SPACE, [SPACE.regular_repr] * 2)
IRREPS = enn.FieldType(SPACE, [SPACE.irrep(1)] * 2)


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


class Plain(nn.Module):
    """A forward pass in functions."""

    def __init__(self, forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._forward = forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What the test wants."""
        return self._forward(images)


def _branch(images: torch.Tensor) -> torch.Tensor:
    """A path that depends on the data."""
    return images.relu() if images.sum() > 0 else images


def _lifting(out: Any = REGULAR, **options: Any) -> nn.Module:
    """escnn's convolution of the image."""
    conv: nn.Module = enn.R2Conv(IMAGE, out, 3, **options)
    return conv


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "norm nonlinearity": (
        lambda: Steerable(_lifting(IRREPS), enn.NormNonLinearity(IRREPS)),
        "layers.1: escnn module NormNonLinearity cannot be collapsed; wanted one of",
    ),
    "irrep fields": (
        lambda: Steerable(_lifting(IRREPS)),
        "layers.0: fields of representation 'irrep_1', which is not a "
        "permutation; wanted trivial or regular fields",
    ),
    "circular padding": (
        lambda: Steerable(_lifting(padding=1, padding_mode="circular")),
        "layers.0: R2Conv with padding_mode 'circular' and dilation 1; wanted zeros",
    ),
    "dilation of a steerable convolution": (
        lambda: Steerable(_lifting(dilation=2)),
        "layers.0: R2Conv with padding_mode 'zeros' and dilation 2; wanted zeros",
    ),
    "float mask": (
        lambda: Steerable(enn.MaskModule(IMAGE, 9)),
        "layers.0: escnn module MaskModule cannot be collapsed",
    ),
    "blurred pool": (
        lambda: Steerable(
            _lifting(), enn.PointwiseAvgPoolAntialiased2D(REGULAR, 0.6, 2)
        ),
        "layers.1: escnn module PointwiseAvgPoolAntialiased2D cannot be collapsed",
    ),
    "inside a sequence": (
        lambda: Steerable(enn.SequentialModule(_lifting(), enn.ELU(REGULAR))),
        "layers.0.1: escnn module ELU cannot be collapsed",
    ),
    "fields of different sizes": (
        lambda: Steerable(_lifting(REGULAR + IMAGE), enn.GroupPooling(REGULAR + IMAGE)),
        "layers.1: GroupPooling over fields of sizes [1, 4]; wanted fields of one size",
    ),
    "data-dependent branch": (
        lambda: Plain(_branch),
        "model: cannot be traced (",
    ),
    "operation": (
        lambda: Plain(torch.sigmoid),
        "model: operation aten.sigmoid.default cannot be lowered; wanted one of",
    ),
    "operation inside a module": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU()),
        "1: operation aten.silu.default cannot be lowered",
    ),
    "sum with a number": (
        lambda: Plain(lambda x: x + 1.0),
        "add: adds something other than two feature maps; wanted a residual sum",
    ),
    "scaled sum": (
        lambda: Plain(lambda x: torch.add(x, x.relu(), alpha=2)),
        "add: adds something other than two feature maps; wanted a residual sum",
    ),
    "mean over channels": (
        lambda: Plain(lambda x: x.mean((1, 2))),
        "mean: mean over axes [1, 2]; wanted (2, 3)",
    ),
    "hardtanh with other bounds": (
        lambda: nn.Sequential(nn.Hardtanh(-1, 1)),
        "0.hardtanh: clips to (-1, 1); wanted (0, 6)",
    ),
    "reshape that is no flattening": (
        lambda: Plain(lambda x: x.reshape(len(x), 9, 3, 9)),
        "reshape: aten.reshape.default gives (9, 3, 9); wanted (243,)",
    ),
    "flattening of some axes": (
        lambda: nn.Sequential(nn.Flatten(2)),
        "0: Flatten from axis 2 to -1; wanted 1 to -1",
    ),
    "reflecting padding": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
        "0: Conv2d with padding_mode 'reflect', dilation (1, 1); wanted zeros",
    ),
    "dilation": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2)),
        "0: Conv2d with padding_mode 'zeros', dilation (2, 2); wanted zeros",
    ),
    "reflecting pad": (
        lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 4, 3)),
        "0.pad: pads with mode 'reflect', value 0; wanted mode 'constant' and value",
    ),
    "pad with ones": (
        lambda: nn.Sequential(nn.ConstantPad2d(1, 1.0), nn.Conv2d(3, 4, 3)),
        "0.pad: pads with mode 'constant', value 1.0; wanted mode 'constant' and value",
    ),
    "pad with ones by function": (
        lambda: Plain(lambda x: torch.constant_pad_nd(x, (1, 1), 1)),
        "constant_pad_nd: pads with mode 'constant', value 1; wanted mode",
    ),
    "pad that cuts": (
        lambda: nn.Sequential(nn.ZeroPad2d((0, 1, -1, 0)), nn.Conv2d(3, 4, 3)),
        "0.pad: pads by [0, 1, -1, 0]; wanted zeros around (B, C, H, W)",
    ),
    "pad of channels": (
        lambda: Plain(lambda x: F.pad(x, (0, 0, 0, 0, 0, 2))),
        "pad: pads by [0, 0, 0, 0, 0, 2]; wanted zeros around (B, C, H, W)",
    ),
    "pad of a flat tensor": (
        lambda: nn.Sequential(nn.Flatten(), nn.ZeroPad2d((1, 0, 0, 0))),
        "1.pad: pads by [1, 0, 0, 0]; wanted zeros around (B, C, H, W)",
    ),
    "pad before a ReLU": (
        lambda: nn.Sequential(nn.ZeroPad2d(1), nn.ReLU(), nn.Conv2d(3, 4, 3)),
        "1: reads 'image' with Padding(top=1, bottom=1, left=1, right=1) around it; "
        "wanted padding only right before a Conv2d",
    ),
    "pad before a rectifying function": (
        lambda: Plain(lambda x: F.pad(x, (0, 1)).relu()),
        "relu: reads 'image' with Padding(top=0, bottom=0, left=0, right=1) around it",
    ),
    "pad before a sum": (
        lambda: Plain(lambda x: F.pad(x, (1, 1)) + F.pad(x.relu(), (1, 1))),
        "add: reads 'image' with Padding(top=0, bottom=0, left=1, right=1) around it",
    ),
    "pad before a mean over the grid": (
        lambda: nn.Sequential(nn.ZeroPad2d(1), nn.AdaptiveAvgPool2d(1)),
        "1: reads 'image' with Padding(",
    ),
    "pad at the end": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ZeroPad2d(1)),
        "the model's output: reads '0' with Padding(",
    ),
    "pad before a maximum of any sign": (
        lambda: nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3)),
        "1: MaxPool2d of 'image' with Padding(top=1, bottom=1, left=1, right=1) "
        "around it; wanted zeros only around the output of a ReLU",
    ),
    "maximum of zeros alone": (
        lambda: nn.Sequential(nn.ReLU(), nn.ZeroPad2d((0, 0, 2, 0)), nn.MaxPool2d(2)),
        "2: MaxPool2d of '0' with Padding(top=2, bottom=0, left=0, right=0) around it",
    ),
    "two strides": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=(1, 2))),
        "0: Conv2d with stride (1, 2); wanted one for both axes",
    ),
    "two strides of a pool": (
        lambda: nn.Sequential(nn.MaxPool2d(3, (1, 2))),
        "0: stride (1, 2); wanted one for both axes",
    ),
    "rounded-up pool": (
        lambda: nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)),
        "0: pool with ceil_mode or dilation; wanted neither",
    ),
    "dilated pool": (
        lambda: nn.Sequential(nn.MaxPool2d(2, dilation=2)),
        "0: pool with ceil_mode or dilation; wanted neither",
    ),
    "mean without padding": (
        lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        "0: AvgPool2d with count_include_pad=False; wanted no padding",
    ),
    "mean with another divisor": (
        lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1, divisor_override=2)),
        "0: AvgPool2d with divisor_override=2; wanted none",
    ),
    "pool to a grid": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(3)),
        "0: AdaptiveAvgPool2d to 3; wanted 1",
    ),
    "functional pool to a grid": (
        lambda: Plain(lambda x: nn.functional.adaptive_avg_pool2d(x, (3, 3))),
        "adaptive_avg_pool2d: pools to [3, 3]; wanted (1, 1)",
    ),
    "batch statistics": (
        lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)),
        "0: BatchNorm2d without running statistics; wanted them",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_one_line_that_names_the_place(name: str) -> None:
    """Path, what was found and what is wanted; no traceback of another program."""
    make, message = CASES[name]
    with pytest.raises(UnsupportedError) as caught:
        collapse(make().eval(), (3, 9, 9))
    text = str(caught.value)
    assert text.startswith(message)
    assert "\n" not in text
    assert caught.value.exit_code == 2


def test_two_outputs_are_refused() -> None:
    """A deployed network has one output."""

    class Two(nn.Module):
        """Image and rectified image."""

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """Give both."""
            return images.relu(), images.relu().mean((2, 3))

    with pytest.raises(MobileqError, match=r"^model: 2 outputs; wanted one"):
        collapse(Two(), (3, 9, 9))
