"""Images that a network finds as ordinary as those it was trained on, without data.

    min over images x of  sum over layers i of
        || mean_i(x) - mean_i ||^2 + || std_i(x) - std_i ||^2

ZeroQ (Cai et al. 2020, arXiv:2001.00281), equation 3 and algorithm 1: gradient descent
with Adam on the pixels, such that mean and deviation of each channel over images and
grid become those that BatchNorm remembers. Here BatchNorm is folded, so both are those
of the pre-activation, beta and |gamma|. What is done otherwise than there:

- Differences count in units of the channel's deviation (before BatchNorm is folded they
  are in units that the weights set), and each layer counts alike.
- Statistics are taken over a batch of images, as BatchNorm did, not over each alone:
  images of one batch may differ as real ones do.
- The start is smooth noise of mixed scales in place of white noise, and pixels stay in
  the range of 8 bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobileq.errors import GraphError, RecipeError
from mobileq.graph import interpret
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Conv, Linear
from mobileq.quant.noise import smooth_noise
from mobileq.quant.observe_statistics import observed_statistics
from mobileq.quant.pixels import to_pixels
from mobileq.quant.ranges import pixel_range

BATCH = 16
"""Most images that are matched together; gradients need every tensor of all."""

_RATE = 0.02
"""First step of Adam, as a part of the range of the pixels."""

_LEAST = 1e-3
"""Smallest deviation that differences are divided by, as a part of the layer's."""

_FLAT = 1e-2
"""Deviation, in those units, below which the gradient of a root is held finite."""

Report = Callable[[int, int, float], None]


def synthesised_images(
    graph: Graph,
    *,
    count: int = 32,
    steps: int = 60,
    seed: int = 0,
    report: Report | None = None,
) -> NDArray[np.uint8]:
    """Search for images on which each layer has the statistics that it knows.

    Args:
        graph: Without BatchNorm nodes, with statistics in its layers.
        count: Number of images N; 16 are searched for at once.
        steps: Steps of gradient descent for each batch.
        seed: Decides everything, on one machine with one number of threads.
        report: Called after every step with the steps done, the steps to do and the
            mismatch before that step (see `statistics_mismatch`).

    Returns:
        (N, H, W, C) uint8.

    Raises:
        GraphError: no layer has statistics, or a tensor is not finite.
        RecipeError: no images or fewer than no steps are wanted.
    """
    if count < 1 or steps < 0 or seed < 0:
        raise RecipeError(
            f"synthesised images: count {count}, steps {steps}, seed {seed}; wanted "
            f"count >= 1, steps >= 0 and seed >= 0"
        )
    targets = _targets(graph)
    rng = np.random.default_rng(seed)
    sizes = [min(BATCH, count - start) for start in range(0, count, BATCH)]
    found = []
    for index, size in enumerate(sizes):

        def told(done: int, mismatch: float, before: int = index * steps) -> None:
            if report is not None:
                report(before + done, len(sizes) * steps, mismatch)

        start = torch.from_numpy(smooth_noise(graph, size, rng))
        images = _descend(graph, targets, start, steps, told).detach().numpy()
        found.append(to_pixels(graph, images))
    return np.concatenate(found)


def statistics_mismatch(graph: Graph, pixels: NDArray[np.uint8]) -> float:
    """How far the statistics of the layers on images are from those they know.

    The mean over blocks of channels, then over layers, of the squared difference of the
    means plus that of the deviations, in units of the known deviation.

    Args:
        graph: With statistics in its layers.
        pixels: (N, H, W, C) uint8.

    Raises:
        GraphError: no layer has statistics.
        DataError: the images do not fit.
    """
    targets = _targets(graph)
    measured = observed_statistics(graph, pixels, only_missing=False)
    losses = []
    for name, target in targets.items():
        node = measured[name]
        assert isinstance(node, Conv | Linear)
        assert node.statistics is not None
        mean = target.per_block(torch.tensor(node.statistics.mean))
        std = target.per_block(torch.tensor(node.statistics.std))
        losses.append(target.difference(mean - target.mean, std))
    return float(torch.stack(losses).mean())


@dataclass(frozen=True, eq=False)
class _Target:
    """Statistics that a layer should have, per block of channels.

    Attributes:
        block: (C,) block of each channel.
        sizes: (blocks,) channels of each.
        mean: (blocks,).
        std: (blocks,).
        unit: (blocks,) positive; what differences are divided by.
    """

    block: Tensor
    sizes: Tensor
    mean: Tensor
    std: Tensor
    unit: Tensor

    def per_block(self, values: Tensor) -> Tensor:
        """Mean of (C,) values over each block."""
        sums = torch.zeros_like(self.sizes, dtype=values.dtype)
        return sums.index_add(0, self.block, values) / self.sizes

    def difference(self, away: Tensor, std: Tensor) -> Tensor:
        """Mismatch of one layer.

        Args:
            away: (blocks,) mean less the wanted mean.
            std: (blocks,).
        """
        return (
            (away / self.unit).square() + ((std - self.std) / self.unit).square()
        ).mean()

    def mismatch(self, before: Tensor) -> Tensor:
        """Mismatch of one layer's pre-activation (B, C, ...), with a gradient."""
        axes = [axis for axis in range(before.ndim) if axis != 1]
        # Taken about the wanted mean: cheaper than torch.var_mean by far, and as exact.
        middle = self.mean[self.block].reshape(1, -1, *[1] * (before.ndim - 2))
        centred = before - middle
        away = self.per_block(centred.mean(axes))
        variance = self.per_block(centred.square().mean(axes)) - away.square()
        std = (variance.clamp_min(0) + (_FLAT * self.unit).square()).sqrt()
        return self.difference(away, std)


def _targets(graph: Graph) -> dict[str, _Target]:
    """What to match, by layer.

    Raises:
        GraphError: nothing.
    """
    targets = {}
    for node in graph.nodes:
        if isinstance(node, Conv | Linear) and node.statistics is not None:
            fields = graph.fields(node.name)
            first = np.unique(fields.block, return_index=True)[1]
            mean = fields.tied_mean(node.statistics.mean)[first]
            std = fields.tied_mean(node.statistics.std)[first]
            unit = np.maximum(std, _LEAST * std.max()) if std.any() else std + 1
            sizes = np.bincount(fields.block)
            block = torch.tensor(fields.block)
            rest = (torch.tensor(v, dtype=torch.float32) for v in (mean, std, unit))
            targets[node.name] = _Target(block, torch.tensor(sizes), *rest)
    if not targets:
        raise GraphError(
            "no Conv or Linear has statistics; wanted those of BatchNorm to synthesise "
            "images (give calibration images instead)"
        )
    return targets


def _descend(
    graph: Graph,
    targets: Mapping[str, _Target],
    start: Tensor,
    steps: int,
    report: Callable[[int, float], None],
) -> Tensor:
    """Gradient descent on images (B, C, H, W) of real values.

    Raises:
        GraphError: the mismatch is not finite.
    """
    low, high = pixel_range(graph.input).low, pixel_range(graph.input).high
    # Channels last: convolutions and sums over the grid are faster on a processor.
    images = start.contiguous(memory_format=torch.channels_last).requires_grad_(True)
    optimizer = torch.optim.Adam([images], lr=_RATE * (high - low))
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for done in range(1, steps + 1):
        optimizer.zero_grad()
        loss = _mismatch(graph, targets, images)
        if not torch.isfinite(loss):
            raise GraphError(
                f"mismatch with the statistics is {loss.item()}; wanted a finite one "
                f"(check weights and statistics)"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay.step()
        with torch.no_grad():
            images.clamp_(low, high)
        report(done, loss.item())
    return images


def _mismatch(graph: Graph, targets: Mapping[str, _Target], images: Tensor) -> Tensor:
    """Mean of the mismatches of all layers, with a gradient."""
    losses: list[Tensor] = []
    for step in interpret.steps(graph, images):
        target = targets.get(step.node.name)
        if target is not None:
            losses.append(target.mismatch(step.before))
        if len(losses) == len(targets):
            break
    return torch.stack(losses).mean()
