"""Export a C_8 classifier with a soft mask and antialiased pools, as escnn teaches it.

usage: python examples/c8_classifier.py OUT.mobileq

The kind of network that escnn's introduction trains on turned digits: convolutions of
regular fields, BatchNorm, ReLU, pools that blur before they leave pixels out, a maximum
over each orbit, and a plain head. With random weights. The integer files are proven for
quarter turns; eighth turns interpolate the image, and are measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from escnn import gspaces
from escnn import nn as enn

import mobileq
from mobileq.contract import Contract, Head

SIZE = 33
"""Odd, and odd again after each pool: then turns map sampled pixels onto each other."""

FIELDS = (8, 12, 12, 16)
"""Regular fields of the convolutions, of 8 channels each."""


class C8Classifier(torch.nn.Module):
    """Four convolutions, two pools; (B, 1, 33, 33) to (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        space = gspaces.rot2dOnR2(8)
        self.image = enn.FieldType(space, [space.trivial_repr])
        layers: list[torch.nn.Module] = [enn.MaskModule(self.image, SIZE, margin=1)]
        before = self.image
        for number, fields in enumerate(FIELDS):
            after = enn.FieldType(space, [space.regular_repr] * fields)
            kernel = 7 if number == 0 else 5
            layers += [
                enn.R2Conv(before, after, kernel, padding=kernel // 2, bias=False),
                enn.InnerBatchNorm(after),
                enn.ReLU(after),
            ]
            if number % 2:
                pool = enn.PointwiseAvgPoolAntialiased2D(after, sigma=0.66, stride=2)
                layers.append(pool)
            before = after
        self.features = enn.SequentialModule(*layers)
        self.grid = enn.PointwiseAdaptiveAvgPool2D(before, 1)
        self.orbit = enn.GroupPooling(before)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(FIELDS[-1], 32),
            torch.nn.BatchNorm1d(32),
            torch.nn.ELU(),
            torch.nn.Linear(32, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        features = self.features(enn.GeometricTensor(images, self.image))
        pooled = self.orbit(self.grid(features)).tensor
        logits: torch.Tensor = self.head(pooled.reshape(len(pooled), -1))
        return logits


def main() -> None:
    """Let BatchNorm see some images, then export with a softmax and labels."""
    torch.manual_seed(0)
    network = C8Classifier().train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(16, 1, SIZE, SIZE) * 2 - 1)
    labels = tuple(f"digit {number}" for number in range(10))
    bundle = mobileq.export(
        network.eval(),
        torch.zeros(1, 1, SIZE, SIZE),
        out=Path(sys.argv[1]),
        contract=Contract(head=Head.SOFTMAX, labels=labels),
    )
    for name, certificate in bundle.manifest["certificates"].items():
        print(f"{name}: {certificate['group']} is proven")


if __name__ == "__main__":
    main()
