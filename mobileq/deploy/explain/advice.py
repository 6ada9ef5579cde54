"""What could make the most costly layer cheaper."""

from __future__ import annotations

from mobileq.deploy.explain.report import LayerReport
from mobileq.recipe import BIAS, Recipe

HARMLESS_DB = 40.0
"""Noise below a ten-thousandth of the logits' power turns next to no prediction."""

HALF = 0.5

CUT_OFF = 0.01
"""Less than two of the 255 steps of a range; rounding alone is off by half a step."""


def advice(
    layer: LayerReport,
    recipe: Recipe,
    *,
    weights_alone_db: float | None,
    tensor_alone_db: float,
) -> str:
    """One sentence or two on what to try.

    Args:
        layer: The most costly one.
        recipe: What was done.
        weights_alone_db: SQNR of the logits with its weights alone quantized.
        tensor_alone_db: The same with its tensor alone.
    """
    if layer.cost_db >= HARMLESS_DB:
        return "That is little: no layer needs attention."
    if weights_alone_db is not None and weights_alone_db < tensor_alone_db:
        return f"Its weights are the cause: {_for_weights(layer, recipe)}."
    return f"Rounding its tensor is the cause: {_for_tensor(layer, recipe)}."


def _for_weights(layer: LayerReport, recipe: Recipe) -> str:
    """What helps a layer whose weights suffer."""
    if not recipe.per_channel:
        return (
            "one scale serves all its channels; give each its own "
            "([weights] granularity = 'per-channel')"
        )
    if recipe.bits < 8:
        return f"they have {recipe.bits} bits; give them more ([weights] bits)"
    if not _rescales(recipe):
        return "add 'balance' to the recipe's passes"
    if BIAS not in recipe.passes:
        return f"add {BIAS!r} to the recipe's passes"
    return "they have 8 bits and a scale per channel already, which is all there is"


def _for_tensor(layer: LayerReport, recipe: Recipe) -> str:
    """What helps a layer whose tensor suffers."""
    if layer.cut_off > CUT_OFF:
        return (
            f"the images go {layer.cut_off:.0%} beyond its range ({layer.source}) and "
            f"are cut off; widen it ([ranges] sigmas) or measure it (--recipe "
            f"calibrated)"
        )
    if layer.filled < HALF:
        return (
            f"the images fill {layer.filled:.0%} of its range ({layer.source}); narrow "
            f"it ([ranges] sigmas) or measure it (--recipe calibrated)"
        )
    if not _rescales(recipe):
        return "its channels share one scale; add 'balance' to the recipe's passes"
    return (
        f"the images fill {layer.filled:.0%} of its range already; a network with more "
        f"channels in this layer would share the noise among them"
    )


def _rescales(recipe: Recipe) -> bool:
    """Whether a pass rescales channels."""
    return "balance" in recipe.passes or "equalize" in recipe.passes
