"""What quantization did to each layer, as a bundle's explain.json has it.

The file is made by `mobileq.deploy.explain`, which stands above the benchmark: it is
read here as plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mobileq.errors import BundleError

FORMAT, VERSION = "mobileq-explanation", 1

ALIVE = 1e-6
"""Channels below this share of the widest one are dead, and not counted as narrow."""


@dataclass(frozen=True)
class ChannelRanges:
    """Smallest and largest weight of each output channel.

    Attributes:
        low: One per channel.
        high: One per channel.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def largest(self) -> tuple[float, ...]:
        """Largest magnitude of each channel."""
        pairs = zip(self.low, self.high, strict=True)
        return tuple(max(abs(low), abs(high)) for low, high in pairs)

    @property
    def spread(self) -> float:
        """Range of the widest channel relative to that of the narrowest live one."""
        widest = max(self.largest, default=0.0)
        alive = [value for value in self.largest if value > ALIVE * widest]
        return widest / min(alive) if alive else 1.0


@dataclass(frozen=True)
class Layer:
    """One layer of a quantized network.

    Attributes:
        name: Of the node.
        kind: Such as `depthwise`.
        before: Ranges of the weights as trained; None where there are none.
        after: The same after the recipe's passes.
        weight_sqnr_db: Of the integer weights against the float ones; None without.
        tensor_sqnr_db: Of what the layer makes, with the noise of all before it.
        cost_db: SQNR of the logits if this layer alone is quantized.
    """

    name: str
    kind: str
    before: ChannelRanges | None
    after: ChannelRanges | None
    weight_sqnr_db: float | None
    tensor_sqnr_db: float
    cost_db: float


def layers_of(explanation: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of an explain.json.

    Args:
        explanation: What the JSON holds.

    Raises:
        BundleError: something else, or of another version.
    """
    found = (explanation.get("format"), explanation.get("version"))
    if found != (FORMAT, VERSION):
        raise BundleError(
            f"explain.json: format and version are {found}; wanted "
            f"{(FORMAT, VERSION)} (export again with --explain)"
        )
    try:
        return tuple(_layer(values) for values in explanation["layers"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"explain.json: layers: {type(error).__name__} {error}; wanted what "
            f"--explain writes (export again with --explain)"
        ) from None


def _layer(values: Mapping[str, Any]) -> Layer:
    """One layer from plain values."""
    weight = values["weight_sqnr_db"]
    return Layer(
        name=str(values["name"]),
        kind=str(values["kind"]),
        before=_ranges(values["weights_before"]),
        after=_ranges(values["weights_after"]),
        weight_sqnr_db=None if weight is None else float(weight),
        tensor_sqnr_db=float(values["tensor_sqnr_db"]),
        cost_db=float(values["cost_db"]),
    )


def _ranges(values: Mapping[str, Any] | None) -> ChannelRanges | None:
    """Ranges from plain values."""
    if values is None:
        return None
    low, high = (tuple(map(float, values[key])) for key in ("low", "high"))
    if len(low) != len(high):
        raise ValueError(f"{len(low)} smallest values and {len(high)} largest ones")
    return ChannelRanges(low, high)
