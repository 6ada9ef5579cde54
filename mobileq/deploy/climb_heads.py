"""The rungs of files with a head: scores against the logits that they are made of.

All other rungs compare logits, which such a file has inside. What it adds is checked
by itself, so that a softmax cannot hide what is wrong before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mobileq.collapse.model import CollapsedModel
from mobileq.contract import Head
from mobileq.deploy.files import Deployment
from mobileq.verify.headed import Headed, LogitsInside
from mobileq.verify.ladder import Measure, Rung, Tolerances, compare
from mobileq.verify.remembered import Remembered
from mobileq.verify.runner import Runner

INTEGER = "model.int8"
"""Names of integer files begin with it."""


def logits_of_files(
    of_files: Mapping[str, Runner], head: Head, output: str
) -> dict[str, Runner]:
    """Runners that return logits: those of files without a head as they are.

    Args:
        of_files: Runners by name.
        head: Of the files.
        output: Name of the graph's output.
    """
    if head is Head.NONE:
        return dict(of_files)
    return {n: Remembered(LogitsInside(r, output)) for n, r in of_files.items()}


def with_own_head(collapsed: CollapsedModel, graph: Runner) -> Runner:
    """A graph's runner that returns what the network itself does.

    Args:
        collapsed: Where it comes from.
        graph: Returns logits.
    """
    if collapsed.head is Head.NONE:
        return graph
    return Headed(graph, collapsed.head, None, name=graph.name)


def climb_heads(
    made: Deployment,
    of_files: Mapping[str, Runner],
    inside: Mapping[str, Runner],
    tolerances: Tolerances,
    images: NDArray[np.uint8],
) -> list[Rung]:
    """A rung for each file with a head.

    Args:
        made: What the files are of.
        of_files: Runners that return scores, by name.
        inside: Runners of the same files that return logits.
        tolerances: Limits of the rungs.
        images: (B, H, W, C) uint8.
    """
    head = made.contract.head
    if head is Head.NONE:
        return []
    rungs = []
    for name, runner in of_files.items():
        affine, measure, limit = None, Measure.RELATIVE, tolerances.float_error
        if name.startswith(INTEGER) and made.quantized is not None:
            affine = made.quantized.spec.activations[made.quantized.graph.output]
            measure, limit = Measure.STEPS, tolerances.head_steps
        against = Headed(inside[name], head, affine)
        rungs.append(
            compare(
                runner,
                against,
                images,
                measure=measure,
                limit=limit,
                order=[made.graph.output],
            )
        )
    return rungs
