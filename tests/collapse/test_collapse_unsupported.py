"""What cannot be deployed is refused by name, in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobileq.collapse.collapse import collapse
from mobileq.errors import MobileqError, UnsupportedError


def _slopes() -> nn.Module:
    """A PReLU that has learnt something for each channel."""
    module = nn.PReLU(3)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    return module


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


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "data-dependent branch": (
        lambda: Plain(_branch),
        "model: cannot be traced (",
    ),
    "operation": (
        lambda: Plain(torch.cos),
        "model: operation aten.cos.default cannot be lowered; wanted one of",
    ),
    "operation inside a module": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)),
        "1: operation aten.group_norm.default cannot be lowered: it normalizes by "
        "statistics of the image itself; wanted nn.BatchNorm2d",
    ),
    "quotient": (
        lambda: Plain(lambda x: x / (1 + x.relu())),
        "div: divides by a feature map; wanted a constant",
    ),
    "logarithm of a softmax": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(1)),
        "2: operation aten.log_softmax.int cannot be lowered: it belongs to the loss, "
        "not to the network; wanted logits (leave it out), or a softmax at the end",
    ),
    "softmax over the grid": (
        lambda: nn.Sequential(nn.Softmax(dim=3)),
        "0.softmax: a softmax over axis 3; wanted one over axis 1 (the classes) at its",
    ),
    "softmax amid the network": (
        lambda: Plain(lambda x: x * torch.softmax(x, dim=1)),
        "softmax: a softmax over axis 1 amid the network; wanted one over axis 1 (the",
    ),
    "weights that depend on the image": (
        lambda: Plain(lambda x: F.conv2d(x, x[:1])),
        "model: operation aten.slice.Tensor cannot be lowered; wanted one of",
    ),
    "flattened grid for a ReLU": (
        lambda: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(243, 2)),
        "0: flattens (3, 9, 9) for Relu '1'; wanted a Linear layer right behind it",
    ),
    "flattened grid at the end": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()),
        "logits: flattens (4, 7, 7) for the output; wanted a Linear layer right",
    ),
    "sum with an image": (
        lambda: Plain(lambda x: x + torch.ones(1, 3, 9, 9)),
        "add: a constant of shape (1, 3, 9, 9); wanted one number, or one for each",
    ),
    "joined rows": (
        lambda: Plain(lambda x: torch.cat([x, x], dim=2)),
        "cat: joins tensors on axis 2; wanted feature maps on axis 1 (the channels)",
    ),
    "slopes": (
        lambda: nn.Sequential(_slopes()),
        "0: PReLU with 3 different slopes; wanted one for all channels",
    ),
    "bicubic": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bicubic")),
        "0: interpolates with mode 'bicubic'; wanted 'nearest' or 'bilinear'",
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
    "zeros around a mirror image": (
        lambda: nn.Sequential(
            nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        ),
        "1: reads 'image' with Padding(top=1, bottom=1, left=1, right=1) around it",
    ),
    "two dilations": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, dilation=(1, 2))),
        "0: Conv2d with dilation (1, 2); wanted one for both axes",
    ),
    "pad with ones": (
        lambda: nn.Sequential(nn.ConstantPad2d(1, 1.0), nn.Conv2d(3, 4, 3)),
        "0.pad: pads with value 1.0; wanted 0",
    ),
    "pad with ones by function": (
        lambda: Plain(lambda x: torch.constant_pad_nd(x, (1, 1), 1)),
        "constant_pad_nd: pads with value 1; wanted 0",
    ),
    "pad that cuts": (
        lambda: nn.Sequential(nn.ZeroPad2d((0, 1, -1, 0)), nn.Conv2d(3, 4, 3)),
        "0.pad: pads by [0, 1, -1, 0]; wanted a border of (B, C, H, W)",
    ),
    "pad of channels": (
        lambda: Plain(lambda x: F.pad(x, (0, 0, 0, 0, 0, 2))),
        "pad: pads by [0, 0, 0, 0, 0, 2]; wanted a border of (B, C, H, W)",
    ),
    "pad of a flat tensor": (
        lambda: nn.Sequential(nn.Flatten(), nn.ZeroPad2d((1, 0, 0, 0))),
        "1.pad: pads by [1, 0, 0, 0]; wanted a border of (B, C, H, W)",
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
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(4)),
        "0: AdaptiveAvgPool2d from (9, 9) to (4, 4); wanted a size that divides",
    ),
    "functional pool to a grid": (
        lambda: Plain(lambda x: nn.functional.adaptive_avg_pool2d(x, (2, 2))),
        "adaptive_avg_pool2d: AdaptiveAvgPool2d from (9, 9) to (2, 2); wanted a size",
    ),
    "batch statistics": (
        lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)),
        "0: BatchNorm without running statistics; wanted them",
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
