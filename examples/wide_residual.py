"""Export a wide residual network that normalizes first, of D_8 and then of C_4 fields.

usage: python examples/wide_residual.py OUT.mobileq

The kind of network that escnn's authors train on photographs: three stages of residual
blocks, whose BatchNorm follows a sum and no convolution; mirror images matter to fine
structure, so the last stage keeps turns alone (`RestrictionModule`). With random
weights. What is proven is what the whole network has: turns by 90 degrees.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from escnn import gspaces
from escnn import nn as enn

import mobileq

SIZE = 33
FIELDS = (2, 3, 8)
"""Regular fields of each stage, of 16, 16 and 4 channels."""


class Block(enn.EquivariantModule):  # type: ignore[misc]  # escnn has no types
    """BatchNorm, ReLU, convolution, twice, and a shortcut around it."""

    def __init__(
        self, before: enn.FieldType, after: enn.FieldType, stride: int
    ) -> None:
        super().__init__()
        self.in_type, self.out_type = before, after
        self.norm1, self.relu1 = enn.InnerBatchNorm(before), enn.ReLU(before)
        self.conv1 = enn.R2Conv(before, after, 3, padding=1, stride=stride, bias=False)
        self.norm2, self.relu2 = enn.InnerBatchNorm(after), enn.ReLU(after)
        self.dropout = enn.PointwiseDropout(after, p=0.1)
        self.conv2 = enn.R2Conv(after, after, 3, padding=1, bias=False)
        self.shortcut = None
        if before != after or stride != 1:
            self.shortcut = enn.R2Conv(before, after, 1, stride=stride, bias=False)

    def forward(self, input: enn.GeometricTensor) -> enn.GeometricTensor:
        """Add both ways."""
        start = self.relu1(self.norm1(input))
        branch = self.dropout(self.relu2(self.norm2(self.conv1(start))))
        around = input if self.shortcut is None else self.shortcut(start)
        return around + self.conv2(branch)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """escnn asks for it."""
        shape: tuple[int, ...] = self.conv1.evaluate_output_shape(input_shape)
        return shape


class WideResidual(torch.nn.Module):
    """Three stages of two blocks; (B, 3, 33, 33) to (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        space = gspaces.flipRot2dOnR2(8)
        self.image = enn.FieldType(space, [space.trivial_repr] * 3)
        first, second = (
            enn.FieldType(space, [space.regular_repr] * fields) for fields in FIELDS[:2]
        )
        self.stem = enn.R2Conv(self.image, first, 3, padding=1, bias=False)
        self.stage1 = enn.SequentialModule(
            Block(first, first, 1), Block(first, first, 1)
        )
        self.stage2 = enn.SequentialModule(
            Block(first, second, 2), Block(second, second, 1)
        )
        self.restrict = enn.RestrictionModule(second, (None, 4))
        turned = self.restrict.out_type
        plain = turned.gspace
        third = enn.FieldType(plain, [plain.regular_repr] * FIELDS[2])
        self.stage3 = enn.SequentialModule(
            Block(turned, third, 2), Block(third, third, 1)
        )
        self.norm, self.relu = enn.InnerBatchNorm(third), enn.ReLU(third)
        self.orbit = enn.GroupPooling(third)
        self.classifier = torch.nn.Linear(FIELDS[2], 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        features = self.stem(enn.GeometricTensor(images, self.image))
        features = self.stage3(self.restrict(self.stage2(self.stage1(features))))
        pooled = self.orbit(self.relu(self.norm(features))).tensor.mean((2, 3))
        logits: torch.Tensor = self.classifier(pooled)
        return logits


def main() -> None:
    """Let BatchNorm see some images, then export."""
    torch.manual_seed(0)
    network = WideResidual().train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(16, 3, SIZE, SIZE) * 2 - 1)
    bundle = mobileq.export(
        network.eval(), torch.zeros(1, 3, SIZE, SIZE), out=Path(sys.argv[1])
    )
    for name, certificate in bundle.manifest["certificates"].items():
        print(f"{name}: {certificate['group']} is proven")


if __name__ == "__main__":
    main()
