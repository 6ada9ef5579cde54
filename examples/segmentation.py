"""Export a segmentation network of escnn: a class for each pixel, exactly turnable.

usage: python examples/segmentation.py OUT.mobileq

Down, up again, and the fine features beside the coarse ones, with random weights. The
integer file turns its map of classes with the image, to the last bit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from escnn import gspaces
from escnn import nn as enn

from mobileq.deploy import export_module

SIZE = 32


def unit(before: enn.FieldType, after: enn.FieldType) -> torch.nn.Module:
    """Convolution, BatchNorm, ReLU."""
    layers: torch.nn.Module = enn.SequentialModule(
        enn.R2Conv(before, after, 3, padding=1, bias=False),
        enn.InnerBatchNorm(after),
        enn.ReLU(after),
    )
    return layers


class Segmentation(torch.nn.Module):
    """Two scales and a skip; (B, 3, 32, 32) to (B, 2, 32, 32)."""

    def __init__(self) -> None:
        super().__init__()
        space = gspaces.rot2dOnR2(4)
        self.image = enn.FieldType(space, [space.trivial_repr] * 3)
        fine = enn.FieldType(space, [space.regular_repr] * 4)
        coarse = enn.FieldType(space, [space.regular_repr] * 8)
        self.fine = unit(self.image, fine)
        self.down = enn.PointwiseMaxPool2D(fine, 2)
        self.coarse = unit(fine, coarse)
        self.up = enn.R2Upsampling(coarse, scale_factor=2, mode="bilinear")
        self.join = unit(fine + coarse, fine)
        self.orbit = enn.GroupPooling(fine)
        self.classifier = torch.nn.Conv2d(4, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute a map of logits."""
        fine = self.fine(enn.GeometricTensor(images, self.image))
        coarse = self.up(self.coarse(self.down(fine)))
        joined = self.join(enn.tensor_directsum([fine, coarse]))
        logits: torch.Tensor = self.classifier(self.orbit(joined).tensor)
        return logits


def main() -> None:
    """Let BatchNorm see some images, then export."""
    torch.manual_seed(0)
    network = Segmentation().train()
    with torch.no_grad():
        for _ in range(50):
            network(torch.rand(8, 3, SIZE, SIZE) * 2 - 1)
    out = Path(sys.argv[1])
    bundle = export_module(network.eval(), (3, SIZE, SIZE), out=out)
    for rung in bundle.manifest["ladder"]:
        print(f"{rung['name']:40} {rung['measure']:22} {rung['value']:.3g}")
    for name, certificate in bundle.manifest["certificates"].items():
        print(f"{name}: {certificate['group']} is proven")


if __name__ == "__main__":
    main()
