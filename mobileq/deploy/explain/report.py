"""What is told about a quantized network: plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import BundleError

FORMAT = "mobileq-explanation"
VERSION = 1

ALIVE = 1e-6
"""A channel whose range is below this share of the largest one is dead in all but name,
and no measure of how far the others are apart."""


@dataclass(frozen=True)
class ChannelRanges:
    """Smallest and largest value of each channel.

    Attributes:
        low: One per channel.
        high: One per channel.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]]) -> ChannelRanges:
        """Ranges of (C, ...) values, to four digits, which is what a plot can show."""
        flat = values.reshape(len(values), -1)
        return cls(_rounded(flat.min(axis=1)), _rounded(flat.max(axis=1)))

    @property
    def largest(self) -> NDArray[np.float64]:
        """(C,) largest magnitude of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def spread(self) -> float:
        """Range of the widest channel relative to that of the narrowest live one."""
        largest = self.largest
        alive = largest[largest > ALIVE * largest.max(initial=0.0)]
        return float(alive.max() / alive.min()) if len(alive) else 1.0


@dataclass(frozen=True)
class LayerReport:
    """One Conv, Linear or Add of the quantized graph.

    What is called *its tensor* is its result with activation and Cap.

    Attributes:
        name: Of the node.
        kind: `conv`, `pointwise`, `depthwise`, `average`, `linear` or `add`.
        shape: Of its tensor, (C, H, W) or (F,).
        weights_before: Ranges of the weights of each output channel as trained, with
            BatchNorm folded in; None for a sum.
        weights_after: The same after the passes of the recipe.
        tensor_before: Ranges of its tensor's channels on the images, as trained.
        tensor_after: The same after the passes of the recipe.
        factors: Smallest and largest factor by which the passes divided a channel.
        absorbed: Largest magnitude of what a channel gave away to its readers, in the
            units that its tensor had then.
        bias_correction: Largest change of a bias by bias correction, in steps of its
            tensor's scale.
        low: Smallest value that its tensor should be able to hold.
        high: Largest one.
        source: How that range was found.
        weight_sqnr_db: Of the integer weights against the float ones; None for a sum.
        tensor_sqnr_db: Of its tensor in the integer network against the float one:
            with the noise of all layers before it.
        cost_db: SQNR of the logits if this layer alone is quantized (its weights, its
            bias and its tensor): the lower, the more it costs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    weights_before: ChannelRanges | None
    weights_after: ChannelRanges | None
    tensor_before: ChannelRanges
    tensor_after: ChannelRanges
    factors: tuple[float, float]
    absorbed: float
    bias_correction: float
    low: float
    high: float
    source: str
    weight_sqnr_db: float | None
    tensor_sqnr_db: float
    cost_db: float

    @property
    def filled(self) -> float:
        """How wide what the images give is, as a share of the tensor's range."""
        seen = max(self.tensor_after.high) - min(self.tensor_after.low)
        return seen / max(self.high - self.low, 1e-30)

    @property
    def cut_off(self) -> float:
        """How far the images go beyond the range, as a share of it; 0 for inside."""
        # Real 0 is always inside (`quant/affine.py`).
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        above = max(self.tensor_after.high) - high
        below = low - min(self.tensor_after.low)
        return max(above, below, 0.0) / max(high - low, 1e-30)


@dataclass(frozen=True)
class Explanation:
    """What quantization did to a network.

    Attributes:
        network: What it is called.
        recipe: Name of the recipe.
        passes: Names of the recipe's passes.
        images: Number of images that were measured.
        logits_db: SQNR of the logits with all layers quantized.
        layers: In the order of the graph.
        weights_alone_db: SQNR of the logits if of the worst layer only weights and bias
            are quantized; None for a sum.
        tensor_alone_db: The same with nothing but its tensor rounded.
        advice: What could make the worst layer cheaper.
        notes: What else there is to say, a line each.
    """

    network: str
    recipe: str
    passes: tuple[str, ...]
    images: int
    logits_db: float
    layers: tuple[LayerReport, ...]
    weights_alone_db: float | None
    tensor_alone_db: float
    advice: str
    notes: tuple[str, ...]

    @property
    def by_cost(self) -> tuple[LayerReport, ...]:
        """The layers, the most costly one first."""
        return tuple(sorted(self.layers, key=lambda layer: layer.cost_db))

    @property
    def worst(self) -> LayerReport:
        """The layer that costs most."""
        return self.by_cost[0]

    @property
    def widest(self) -> LayerReport | None:
        """The layer whose channels had the widest spread of ranges as trained."""
        own = [layer for layer in self.layers if layer.kind not in ("add", "average")]
        return max(own, key=_spread_before, default=None)

    @property
    def headline(self) -> str:
        """Which layer costs most, and what one could do."""
        worst = self.worst
        return (
            f"{worst.name} costs most: quantized alone, it leaves {worst.cost_db:.1f} "
            f"dB of the logits (all layers together {self.logits_db:.1f} dB). "
            f"{self.advice}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Explanation:
        """What `to_dict` made, maybe through JSON.

        Raises:
            BundleError: something else, or of another version.
        """
        found = (values.get("format"), values.get("version"))
        if found != (FORMAT, VERSION):
            raise BundleError(
                f"explanation: format and version are {found}; wanted "
                f"{(FORMAT, VERSION)} (export again with --explain)"
            )
        own = {f.name: values[f.name] for f in fields(cls)}
        return cls(
            **{
                **own,
                "passes": tuple(own["passes"]),
                "notes": tuple(own["notes"]),
                "layers": tuple(_layer(layer) for layer in own["layers"]),
            }
        )


def _layer(values: Mapping[str, Any]) -> LayerReport:
    """One layer from plain values."""
    own = dict(values)
    for key in ("weights_before", "weights_after", "tensor_before", "tensor_after"):
        ranges = own[key]
        if ranges is not None:
            own[key] = ChannelRanges(tuple(ranges["low"]), tuple(ranges["high"]))
    return LayerReport(
        **{**own, "shape": tuple(own["shape"]), "factors": tuple(own["factors"])}
    )


def _spread_before(layer: LayerReport) -> float:
    """How far the weight ranges of the channels were apart."""
    return 1.0 if layer.weights_before is None else layer.weights_before.spread


def _rounded(values: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """Values to four digits."""
    return tuple(float(f"{value:.4g}") for value in values)
