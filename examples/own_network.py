"""Export an escnn network of your own, which mobileq has never seen.

usage: python examples/own_network.py OUT.mobileq

A small C_8 network of escnn's own layers, with random weights. What matters: trivial
and regular fields, pointwise nonlinearities, odd grids, orbit pooling before the head.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from escnn import gspaces
from escnn import nn as enn

import mobileq


class SmallNetwork(torch.nn.Module):
    """Two convolutions, a residual sum, and a plain head; (B, 3, 33, 33) to logits."""

    def __init__(self) -> None:
        super().__init__()
        space = gspaces.rot2dOnR2(8)
        self.image = enn.FieldType(space, [space.trivial_repr] * 3)
        hidden = enn.FieldType(space, [space.regular_repr] * 4)
        self.stem = enn.SequentialModule(
            enn.R2Conv(self.image, hidden, 5, stride=2, padding=2, bias=False),
            enn.InnerBatchNorm(hidden),
            enn.ReLU(hidden),
        )
        self.body = enn.SequentialModule(
            enn.R2Conv(hidden, hidden, 3, padding=1, bias=False),
            enn.InnerBatchNorm(hidden),
        )
        self.relu = enn.ReLU(hidden)
        self.pool = enn.PointwiseAdaptiveAvgPool2D(hidden, 1)
        self.orbit = enn.GroupPooling(hidden)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        x = self.stem(enn.GeometricTensor(images, self.image))
        x = self.relu(x + self.body(x))
        pooled = self.orbit(self.pool(x))
        logits: torch.Tensor = self.head(pooled.tensor.flatten(1))
        return logits


def main() -> None:
    """Let BatchNorm see some images, then export."""
    torch.manual_seed(0)
    network = SmallNetwork().train()
    with torch.no_grad():
        for _ in range(50):
            network(torch.rand(16, 3, 33, 33) * 2 - 1)
    bundle = mobileq.export(
        network.eval(), torch.zeros(1, 3, 33, 33), out=Path(sys.argv[1])
    )
    for rung in bundle.manifest["ladder"]:
        print(f"{rung['name']:40} {rung['measure']:22} {rung['value']:.3g}")
    print(f"exact symmetry: {bundle.manifest['exact_symmetry']}")


if __name__ == "__main__":
    main()
