"""Time per operator of a network, measured in a process of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.figures import Operator
from mobileq.bench.process import ProcessRunner
from mobileq.bench.spec import RunnerSpec
from mobileq.errors import RuntimeProcessError
from mobileq.verify.profile import Profile

RUNS = 50
"""Inferences of a profile."""


def operators(
    spec: RunnerSpec, pixels: NDArray[np.uint8], *, runs: int = RUNS
) -> tuple[tuple[Operator, ...], str]:
    """Profile a network.

    A profiler slows inferences down, so that its times add up to more than a latency;
    shares are what to read. It has a process of its own, because it may crash where
    inferences do not; that is a note and no error.

    Args:
        spec: The network.
        pixels: (N, H, W, C); the first one is used.
        runs: Inferences to average over.

    Returns:
        Operators, the slowest first, and a note on them; none where the runtime has no
        profiler, and then the note says so.

    Raises:
        InputError: the network cannot be run at all.
    """
    with ProcessRunner(spec) as runner:
        try:
            found = runner.profile(pixels[:1], runs)
        except RuntimeProcessError as error:
            return (), f"no operator profile: {error}"
    return ranked(found), found.note


def ranked(profile: Profile) -> tuple[Operator, ...]:
    """Operators with their shares, the slowest first; equal ones in their order."""
    total = sum(node.mean_ms for node in profile.nodes)
    found = [
        Operator(
            node.name, node.kind, node.mean_ms, node.mean_ms / total if total else 0.0
        )
        for node in profile.nodes
    ]
    return tuple(sorted(found, key=lambda operator: -operator.mean_ms))
