"""The whole network and its conventional twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mobileq.errors import InputError
from mobileq.models.build import build_model
from mobileq.models.mobilenetv2 import channels_of, strides_of
from mobileq.models.spec import ModelSpec
from support.networks import (
    moved,
    normalized,
    random_pixels,
    randomize_norms,
    symmetries_of,
)


def _multiply_adds(model: nn.Module, spec: ModelSpec) -> dict[str, int]:
    """Multiplications of every convolution for one image, by module path."""
    found: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> None:
        def count(module: Any, inputs: object, output: Any) -> None:
            tensor = output if isinstance(output, torch.Tensor) else output.tensor
            filters = module.filter() if hasattr(module, "filter") else module.weight
            found[name] = filters.numel() * tensor.shape[2] * tensor.shape[3]

        module.register_forward_hook(count)

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) or callable(getattr(module, "filter", None)):
            watch(name, module)
    with torch.no_grad():
        model(torch.zeros(1, spec.in_channels, spec.input_size, spec.input_size))
    return found


@pytest.mark.parametrize(
    ("group", "width"), [("C4", 0.25), ("C8", 0.1), ("C12", 0.1), ("D4", 0.1)]
)
def test_logits_are_invariant(group: str, width: float) -> None:
    """Turning (and for D_N mirroring) the image does not change the logits."""
    torch.manual_seed(0)
    spec = ModelSpec(group=group, width=width, input_size=33)
    model = build_model(spec).eval()
    shape = (3, 33, 33)
    randomize_norms(model, normalized(random_pixels(8, shape, 0)))
    images = normalized(random_pixels(4, shape, 1))
    with torch.no_grad():
        logits = model(images)
        # float32 through 53 layers, relative to the largest logit.
        bound = 1e-4 * float(logits.abs().max())
        for motion in symmetries_of(group):
            assert float((model(moved(images, motion)) - logits).abs().max()) <= bound
    spread = float((logits[0] - logits[1]).abs().max())
    assert spread > 10 * bound, "different images have different logits"


@pytest.mark.parametrize("group", ["C4", "C12", "D4"])
def test_twin_has_the_same_multiply_adds(group: str) -> None:
    """Every convolution costs the same in both networks."""
    spec = ModelSpec(group=group, width=0.2, input_size=33)
    both = [_multiply_adds(build_model(s).eval(), s) for s in (spec, spec.twin())]
    assert len(both[0]) == 52, "stem, 17 blocks of 3 (the first of 2), head"
    assert both[0] == both[1]
    assert spec.twin().channel_multiple == spec.channel_multiple


def test_grids_of_pcam() -> None:
    """With two strides reduced, 95 pixels become 47, 23 and 11."""
    spec = ModelSpec(group="C4", width=0.1)
    sizes: list[int] = []
    model: Any = build_model(spec).eval()
    watched = [model.stem, *model.blocks]
    for module in watched:
        module.register_forward_hook(
            lambda module, inputs, output: sizes.append(output.tensor.shape[-1])
        )
    with torch.no_grad():
        model(torch.zeros(1, 3, 95, 95))
    assert list(dict.fromkeys(sizes)) == [47, 23, 11]


@pytest.mark.parametrize("reduced", range(6))
def test_the_last_strides_are_reduced_first(reduced: int) -> None:
    """The twos that become ones are the last ones."""
    strides = strides_of(ModelSpec(reduced_strides=reduced))
    full = strides_of(ModelSpec(reduced_strides=0))
    changed = [i for i, (a, b) in enumerate(zip(full, strides, strict=True)) if a != b]
    twos = [i for i, stride in enumerate(full) if stride == 2]
    assert changed == twos[len(twos) - reduced :]


@pytest.mark.parametrize("width", [0.05, 0.35, 0.5, 1.0, 1.4])
@pytest.mark.parametrize("group", ["C1", "C4", "C12", "D6"])
def test_channels_are_rounded_up_to_whole_blocks(group: str, width: float) -> None:
    """The smallest multiple of the block that is not below the exact count."""
    spec = ModelSpec(group=group, width=width)
    for base in (16, 24, 32, 1280):
        found, multiple = channels_of(base, spec), spec.channel_multiple
        assert found % multiple == 0
        assert base * width - 1e-6 <= found < base * width + multiple


def test_even_images_are_refused_by_name() -> None:
    """96 pixels have no symmetric sampling, and the message names the layer."""
    with pytest.raises(InputError, match=r"^stem: no padding samples a grid of 96"):
        build_model(ModelSpec(input_size=96))


@pytest.mark.parametrize("group", ["C4", "conventional"])
def test_the_corners_of_the_image_do_not_matter(group: str) -> None:
    """What lies outside of the circular mask changes nothing."""
    torch.manual_seed(0)
    model = build_model(ModelSpec(group=group, width=0.1, input_size=33)).eval()
    images = torch.rand(1, 3, 33, 33)
    other = images.clone()
    other[..., :4, :4] = 5.0
    with torch.no_grad():
        np.testing.assert_array_equal(model(images).numpy(), model(other).numpy())
