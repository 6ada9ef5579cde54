"""The ordered passes of an export; every stage is kept.

    collapsed - folded - snapped - fused -+- deployable                  float files
                                          +- passes of the recipe - deployable  INT8

The float files are written from the network as it was trained. What the recipe does to
it (rescaled channels, moved biases) only serves the integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mobileq.errors import MobileqError
from mobileq.graph.graph import Graph
from mobileq.graph.spec import Stage, check
from mobileq.passes.absorb import absorb
from mobileq.passes.balance import balance
from mobileq.passes.equalize import equalize
from mobileq.passes.fold import fold_batch_norm
from mobileq.passes.fuse import fuse_activations
from mobileq.passes.merge import merge_pointwise
from mobileq.passes.pools import pools_to_convolutions
from mobileq.passes.relu6 import cap_relu6, merge_caps, replace_relu6
from mobileq.passes.snap import snap_orbits
from mobileq.recipe import BIAS, Recipe

Pass = Callable[[Graph], Graph]


@dataclass(frozen=True)
class Step:
    """One pass of a pipeline.

    Attributes:
        name: As in reports.
        apply: The pass.
        before: Stage that it needs.
        after: Stage that it gives.
        preserves: Whether it claims to preserve the function.
    """

    name: str
    apply: Pass
    before: Stage
    after: Stage
    preserves: bool = True


@dataclass(frozen=True, eq=False)
class StagedGraph:
    """A graph and the pass that made it."""

    name: str
    graph: Graph
    stage: Stage
    preserves: bool = True


PREPARE: tuple[Step, ...] = (
    Step("folded", fold_batch_norm, Stage.COLLAPSED, Stage.FOLDED),
    Step("snapped", snap_orbits, Stage.FOLDED, Stage.SNAPPED),
    Step("fused", fuse_activations, Stage.SNAPPED, Stage.SNAPPED),
)
"""What every export does first."""

FINISH = Step("deployable", pools_to_convolutions, Stage.SNAPPED, Stage.DEPLOYABLE)

DEPLOY: tuple[Step, ...] = (*PREPARE, FINISH)
"""From a collapsed graph to one for float files."""


def recipe_steps(recipe: Recipe) -> tuple[Step, ...]:
    """The passes of a recipe, from a fused to a deployable graph.

    Bias correction is not among them: it needs the rounded weights.
    """
    equalized = partial(
        equalize,
        per_channel=recipe.per_channel,
        activation_weight=recipe.activation_weight,
        sigmas=recipe.sigmas,
    )
    balanced = partial(
        balance,
        per_channel=recipe.per_channel,
        sigmas=recipe.sigmas,
        bits=recipe.bits,
    )
    absorbed = partial(absorb, sigmas=recipe.absorb_sigmas, centre=recipe.centre)
    known: dict[str, tuple[str, Pass, bool]] = {
        "cap-relu6": ("capped", cap_relu6, True),
        "replace-relu6": ("ReLU6 replaced", replace_relu6, False),
        "merge-pointwise": ("merged", merge_pointwise, True),
        "equalize": ("equalized", equalized, True),
        "balance": ("balanced", balanced, True),
        "absorb": ("absorbed", absorbed, False),
    }
    steps = [
        Step(name, apply, Stage.SNAPPED, Stage.SNAPPED, preserves)
        for name, apply, preserves in (known[n] for n in recipe.passes if n != BIAS)
    ]
    if "cap-relu6" in recipe.passes:
        merged = Step("caps merged", merge_caps, Stage.SNAPPED, Stage.SNAPPED)
        steps.append(merged)
    return (*steps, FINISH)


def run_pipeline(
    graph: Graph, steps: tuple[Step, ...] = DEPLOY, *, name: str = "collapsed"
) -> tuple[StagedGraph, ...]:
    """Apply the passes in order.

    Args:
        graph: At the stage that the first step needs.
        steps: What to apply.
        name: Of the first stage.

    Returns:
        Every stage, the given graph first.

    Raises:
        MobileqError: as raised by a pass, with the names of those that ran before it.
    """
    first = steps[0].before if steps else Stage.COLLAPSED
    stages = [StagedGraph(name, check(graph, first), first)]
    for step in steps:
        try:
            check(graph, step.before)
            graph = check(step.apply(graph), step.after)
        except MobileqError as error:
            done = ", ".join(stage.name for stage in stages)
            raise type(error)(f"{error} (stages before: {done})") from error
        stages.append(StagedGraph(step.name, graph, step.after, step.preserves))
    return tuple(stages)
