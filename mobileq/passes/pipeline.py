"""The ordered passes from a collapsed to a deployable graph; every stage is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mobileq.errors import MobileqError
from mobileq.graph.graph import Graph
from mobileq.graph.spec import Stage, check
from mobileq.passes.fold import fold_batch_norm
from mobileq.passes.fuse import fuse_activations
from mobileq.passes.pools import pools_to_convolutions
from mobileq.passes.snap import snap_orbits

Pass = Callable[[Graph], Graph]


@dataclass(frozen=True)
class Step:
    """One pass of a pipeline.

    Attributes:
        name: As in reports.
        apply: The pass.
        before: Stage that it needs.
        after: Stage that it gives.
    """

    name: str
    apply: Pass
    before: Stage
    after: Stage


@dataclass(frozen=True, eq=False)
class StagedGraph:
    """A graph and the pass that made it."""

    name: str
    graph: Graph
    stage: Stage


DEPLOY: tuple[Step, ...] = (
    Step("folded", fold_batch_norm, Stage.COLLAPSED, Stage.FOLDED),
    Step("snapped", snap_orbits, Stage.FOLDED, Stage.SNAPPED),
    Step("fused", fuse_activations, Stage.SNAPPED, Stage.SNAPPED),
    Step("deployable", pools_to_convolutions, Stage.SNAPPED, Stage.DEPLOYABLE),
)


def run_pipeline(
    graph: Graph, steps: tuple[Step, ...] = DEPLOY
) -> tuple[StagedGraph, ...]:
    """Apply the passes in order.

    Args:
        graph: Collapsed.
        steps: What to apply.

    Returns:
        Every stage, the collapsed graph first.

    Raises:
        MobileqError: as raised by a pass, with the names of those that ran before it.
    """
    check(graph, Stage.COLLAPSED)
    stages = [StagedGraph("collapsed", graph, Stage.COLLAPSED)]
    for step in steps:
        try:
            check(graph, step.before)
            graph = check(step.apply(graph), step.after)
        except MobileqError as error:
            done = ", ".join(stage.name for stage in stages)
            raise type(error)(f"{error} (stages before: {done})") from error
        stages.append(StagedGraph(step.name, graph, step.after))
    return tuple(stages)
