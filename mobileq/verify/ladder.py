"""The ladder: every representation of a network against the one that it came from.

A rung compares one runner with another on the same pixels, by one measure and with one
explicit tolerance. Where it breaks, the tensors of both are compared in the order of
the graph, and the first one that went wrong is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import VerificationError
from mobileq.quant.affine import Affine
from mobileq.verify.metrics import largest_step, relative_error, sqnr_db
from mobileq.verify.runner import Runner


class Measure(Enum):
    """What a rung measures on two tensors."""

    RELATIVE = "relative error"
    SQNR = "SQNR, dB"
    STEPS = "largest step, LSB"
    CHANGED = "changed by the group"

    def holds(self, value: float, limit: float) -> bool:
        """Whether a value is good enough; more is better for SQNR only."""
        if math.isnan(value):
            return False
        return value >= limit if self is Measure.SQNR else value <= limit


_REMEDIES = {
    Measure.SQNR.value: "if the network was not trained on tissue, verify it with "
    "images of its own: --images FILE.npy; nothing was written",
}
"""What can be done about a rung that breaks, by its measure."""


@dataclass(frozen=True)
class Rung:
    """Result of one comparison.

    Attributes:
        name: What was checked.
        against: What it was compared with.
        measure: `Measure` by its value.
        value: What was found.
        limit: What is allowed.
        passed: Whether it holds.
        first_wrong: First tensor in graph order that breaks the limit, if any does.
    """

    name: str
    against: str
    measure: str
    value: float
    limit: float
    passed: bool
    first_wrong: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


@dataclass(frozen=True)
class Tolerances:
    """Limits of the rungs, each with its reason.

    Attributes:
        float_error: Relative error of two float32 programs. They sum some thousand
            products in another order, layer after layer; 1e-6 to 1e-5 is seen.
        sqnr_db: Least SQNR of INT8 logits against float ones, in dB. A network that
            was quantized right shows 15 to 40, a broken one about 0 or less.
        runtime_steps: Largest difference of INT8 logits of two kernels, in steps of
            255. Kernels round differently, by one step per layer.
        head_steps: Largest difference of integer scores from those of the file's own
            logits. Kernels compute exponentials in float32 or in fixed point, and
            round apart next to a half.
    """

    float_error: float = 1e-4
    sqnr_db: float = 6.0
    runtime_steps: int = 24
    head_steps: int = 1


def compare(
    runner: Runner,
    against: Runner,
    pixels: NDArray[np.uint8],
    *,
    measure: Measure,
    limit: float,
    order: Sequence[str],
    affine: Callable[[str], Affine] | None = None,
) -> Rung:
    """Compare two runners.

    Args:
        runner: The one that is checked.
        against: The one that it came from.
        pixels: (B, H, W, C) uint8.
        measure: What to measure.
        limit: What is allowed.
        order: Tensor names in the order of the graph.
        affine: Affine map of a tensor; needed for SQNR of integers against floats.
    """

    def value_of(name: str, found: NDArray[Any], wanted: NDArray[Any]) -> float:
        if measure is Measure.STEPS:
            return float(largest_step(found, wanted))
        if runner.integer and affine is not None:
            found = affine(name).dequantize(found)
        if measure is Measure.SQNR:
            return sqnr_db(found, wanted)
        return relative_error(found, wanted)

    value = value_of(order[-1], runner.outputs(pixels), against.outputs(pixels))
    passed = measure.holds(value, limit)
    wrong = None
    if not passed:
        found, wanted = runner.tensors(pixels), against.tensors(pixels)
        for name in order:
            if name in found and name in wanted:
                same = found[name].shape == wanted[name].shape
                if not same or not measure.holds(
                    value_of(name, found[name], wanted[name]), limit
                ):
                    wrong = name
                    break
    return Rung(runner.name, against.name, measure.value, value, limit, passed, wrong)


def check_symmetry(
    runner: Runner,
    pixels: NDArray[np.uint8],
    motions: Sequence[tuple[int, bool]],
) -> Rung:
    """Count the images whose output changes in any bit under a motion of the grid.

    Args:
        runner: An integer runner.
        pixels: (B, H, W, C) uint8.
        motions: Quarter turns and mirror images, the generators of the group.
    """
    wanted = runner.outputs(pixels).copy()
    changed = 0
    for turns, mirrored in motions:
        moved = pixels[:, :, ::-1] if mirrored else pixels
        moved = np.ascontiguousarray(np.rot90(moved, turns, axes=(1, 2)))
        # A dense output moves with the image.
        here = wanted
        if wanted.ndim == 4:
            here = wanted[..., ::-1] if mirrored else wanted
            here = np.rot90(here, turns, axes=(2, 3))
        differs = (runner.outputs(moved) != here).reshape(len(wanted), -1)
        changed += int(differs.any(axis=1).sum())
    return Rung(
        runner.name,
        "itself, turned",
        Measure.CHANGED.value,
        float(changed),
        0.0,
        changed == 0,
    )


def require(rungs: Sequence[Rung]) -> None:
    """Raise unless every rung holds.

    Raises:
        VerificationError: naming the first broken rung and the first wrong tensor.
    """
    for rung in rungs:
        if not rung.passed:
            remedy = _REMEDIES.get(rung.measure, "nothing was written")
            where = (
                f", first wrong tensor {rung.first_wrong!r}" if rung.first_wrong else ""
            )
            raise VerificationError(
                f"{rung.name} against {rung.against}: {rung.measure} is "
                f"{rung.value:.3g}{where}; wanted {rung.limit:g} or better ({remedy})"
            )
