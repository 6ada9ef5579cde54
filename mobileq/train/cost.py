"""What a network costs: numbers that are trained, and multiplications per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Attributes:
        parameters: Numbers that training changes.
        multiply_adds: Multiplications of all convolutions and of the classifier for
            one image; an equivariant network's are those of its expanded filters.
    """

    parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        """Short text for a terminal."""
        return (
            f"{self.parameters:,} parameters, {self.multiply_adds / 1e6:,.1f} M "
            f"multiply-adds per image"
        )


def network_cost(spec: ModelSpec) -> Cost:
    """Count parameters and multiply-adds of the network of `spec`.

    The convolutions are counted on the conventional twin: it has the same channels,
    filters and strides, and consists of torch's own layers.
    """
    network = build_model(spec)
    twin = build_model(spec.twin()) if spec.equivariant else network
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer.weight, Tensor)
        total += output.numel() * layer.weight[0].numel()

    for layer in twin.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    image = torch.zeros(1, spec.in_channels, spec.input_size, spec.input_size)
    with torch.no_grad():
        # Shapes are all that is needed: nothing is computed on the meta device.
        twin.eval().to("meta")(image.to("meta"))
    # Orbit pooling leaves the classifier fewer inputs than the twin's has.
    total += sum(m.weight.numel() for m in network.modules() if type(m) is nn.Linear)
    return Cost(sum(p.numel() for p in network.parameters()), total)
