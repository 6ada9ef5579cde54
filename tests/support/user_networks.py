"""Networks as users write them with escnn, tiny, in the kinds of its public examples.

None of them uses a layer of ours, or is trained; BatchNorm has the statistics of some
images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from escnn import gspaces
from escnn import nn as enn
from torch import nn
from torch.nn import functional as F

from support.images import normalized, random_pixels
from support.networks import randomize_norms

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class UserNetwork:
    """A network and what it takes.

    Attributes:
        build: Makes it.
        shape: (C, H, W) of its images.
        exact: Whether all turns of its exact subgroup leave integers as they are.
    """

    build: Callable[[], nn.Module]
    shape: Shape
    exact: bool = True


class BlurredClassifier(nn.Module):
    """Soft mask, convolutions, blurred pools, maximum over orbits, plain head."""

    def __init__(self, *, group: int = 8, activation: str = "relu") -> None:
        super().__init__()
        space = gspaces.rot2dOnR2(group)
        self.image = enn.FieldType(space, [space.trivial_repr])
        first = enn.FieldType(space, [space.regular_repr] * 2)
        second = enn.FieldType(space, [space.regular_repr] * 3)
        kind = {"relu": enn.ReLU, "elu": enn.ELU}[activation]
        self.features = enn.SequentialModule(
            enn.MaskModule(self.image, 15, margin=1),
            enn.R2Conv(self.image, first, 5, padding=2, bias=False),
            enn.InnerBatchNorm(first),
            kind(first),
            enn.PointwiseAvgPoolAntialiased2D(first, sigma=0.66, stride=2),
            enn.R2Conv(first, second, 3, padding=1, bias=False),
            enn.IIDBatchNorm2d(second),
            kind(second),
            enn.PointwiseMaxPoolAntialiased2D(second, 3, stride=1, padding=1),
            enn.PointwiseDropout(second),
            enn.PointwiseAvgPool2D(second, 10),
        )
        self.pool = enn.GroupPooling(second)
        self.head = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Linear(8, 4)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, 15, 15) to logits (B, 4)."""
        features = self.pool(self.features(enn.GeometricTensor(images, self.image)))
        flat = features.tensor
        logits: torch.Tensor = self.head(flat.reshape(flat.shape[0], -1))
        return logits


class WideBlock(enn.EquivariantModule):
    """BatchNorm, ReLU, convolution, twice, and a shortcut around it."""

    def __init__(
        self, before: enn.FieldType, after: enn.FieldType, stride: int
    ) -> None:
        super().__init__()
        self.in_type, self.out_type = before, after
        self.norm1, self.relu1 = enn.InnerBatchNorm(before), enn.ReLU(before)
        self.conv1 = enn.R2Conv(before, after, 3, padding=1, stride=stride, bias=False)
        self.norm2, self.relu2 = enn.InnerBatchNorm(after), enn.ReLU(after)
        self.conv2 = enn.R2Conv(after, after, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if before != after or stride != 1:
            self.shortcut = enn.R2Conv(before, after, 1, stride=stride, bias=False)

    def forward(self, features: enn.GeometricTensor) -> enn.GeometricTensor:
        """Add both ways."""
        start = self.relu1(self.norm1(features))
        branch = self.conv2(self.relu2(self.norm2(self.conv1(start))))
        return branch + (features if self.shortcut is None else self.shortcut(start))

    def evaluate_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """escnn asks for it."""
        return shape


class WideResidual(nn.Module):
    """Blocks that normalize first, of D_4, then of C_4 fields alone."""

    def __init__(self) -> None:
        super().__init__()
        space = gspaces.flipRot2dOnR2(4)
        self.image = enn.FieldType(space, [space.trivial_repr] * 3)
        regular = enn.FieldType(space, [space.regular_repr])
        quotient = space.quotient_repr((None, 2))
        both = enn.FieldType(space, [space.regular_repr, quotient])
        self.stem = enn.R2Conv(self.image, regular, 3, padding=1, bias=False)
        self.block1 = WideBlock(regular, both, 1)
        self.restrict = enn.RestrictionModule(both, (None, 4))
        half = self.restrict.out_type
        plain = half.gspace
        self.block2 = WideBlock(half, enn.FieldType(plain, [plain.regular_repr] * 2), 2)
        after = self.block2.out_type
        self.norm, self.relu = enn.InnerBatchNorm(after), enn.ReLU(after)
        self.pool = enn.PointwiseAdaptiveAvgPool2D(after, 1)
        self.orbits = enn.GroupPooling(after)
        self.classifier = nn.Linear(2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, 9, 9) to logits (B, 3)."""
        features = self.stem(enn.GeometricTensor(images, self.image))
        features = self.block2(self.restrict(self.block1(features)))
        features = self.orbits(self.pool(self.relu(self.norm(features))))
        logits: torch.Tensor = self.classifier(features.tensor.flatten(1))
        return logits


class Segmentation(nn.Module):
    """Down, up again, and the fine features beside the coarse ones; a class a pixel."""

    def __init__(self, mode: str = "bilinear") -> None:
        super().__init__()
        space = gspaces.rot2dOnR2(4)
        self.image = enn.FieldType(space, [space.trivial_repr])
        fine = enn.FieldType(space, [space.regular_repr] * 2)
        coarse = enn.FieldType(space, [space.regular_repr] * 3)
        joined = enn.FieldType(space, [space.regular_repr] * 5)

        def unit(before: enn.FieldType, after: enn.FieldType) -> nn.Module:
            conv = enn.R2Conv(before, after, 3, padding=1, bias=False)
            return enn.SequentialModule(
                conv, enn.InnerBatchNorm(after), enn.ReLU(after)
            )

        self.fine = unit(self.image, fine)
        self.down = enn.PointwiseMaxPool2D(fine, 2)
        self.coarse = unit(fine, coarse)
        self.up = enn.R2Upsampling(coarse, 2, mode=mode)
        self.dilated = enn.R2Conv(joined, fine, 3, padding=2, dilation=2)
        self.relu = enn.ReLU(fine)
        self.orbits = enn.GroupPooling(fine)
        self.classifier = nn.Conv2d(2, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, 12, 12) to logits (B, 2, 12, 12)."""
        fine = self.fine(enn.GeometricTensor(images, self.image))
        coarse = self.up(self.coarse(self.down(fine)))
        joined = enn.tensor_directsum([fine, coarse])
        features = self.orbits(self.relu(self.dilated(joined)))
        logits: torch.Tensor = self.classifier(features.tensor)
        return logits


class Gated(nn.Module):
    """A plain network: smooth activations, gates, joins, constants, functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU()
        )
        self.body = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.Hardswish(),
        )
        self.squeeze = nn.Sequential(nn.Conv2d(8, 4, 1), nn.LeakyReLU(0.1))
        self.gate = nn.Conv2d(4, 8, 1)
        self.side = nn.Conv2d(8, 4, 3, stride=2, padding=1)
        self.classifier = nn.Linear(12, 3)
        self.register_buffer("offset", torch.linspace(-0.2, 0.2, 8).reshape(8, 1, 1))
        self.slope = nn.PReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, 8, 8) to logits (B, 3)."""
        start = 0.5 * self.stem(images) + self.offset
        body = self.body(start)
        gate = torch.sigmoid(self.gate(self.squeeze(body.mean((2, 3), keepdim=True))))
        gated = body * gate + start
        side = F.interpolate(self.slope(self.side(gated)), scale_factor=2.0)
        joined = torch.cat([F.hardsigmoid(gated), side], dim=1)
        logits: torch.Tensor = self.classifier(joined.mean((2, 3)))
        return logits


def trained_looking(network: UserNetwork) -> nn.Module:
    """The network with BatchNorm statistics that fit it, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network.build()
        images = normalized(random_pixels(16, network.shape, 0))
        randomize_norms(model, images)
    return model.eval()


USER_NETWORKS: dict[str, UserNetwork] = {
    "blurred classifier": UserNetwork(BlurredClassifier, (1, 15, 15)),
    "blurred classifier, ELU": UserNetwork(
        lambda: BlurredClassifier(activation="elu"), (1, 15, 15)
    ),
    "wide residual network": UserNetwork(WideResidual, (3, 9, 9)),
    "segmentation": UserNetwork(Segmentation, (1, 12, 12)),
    "segmentation, nearest": UserNetwork(lambda: Segmentation("nearest"), (1, 12, 12)),
    "gated plain network": UserNetwork(Gated, (3, 8, 8), exact=False),
}
"""By name."""
