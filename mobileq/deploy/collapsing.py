"""From a network to a collapsed checkpoint, which is verified before it is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobileq.collapse.model import CollapsedModel
from mobileq.collapsed import CollapsedCheckpoint, save_collapsed
from mobileq.deploy.climb import check_images
from mobileq.deploy.climb_heads import with_own_head
from mobileq.deploy.export import as_collapsed
from mobileq.deploy.sources import Network, Source, load_network
from mobileq.errors import CheckpointError, InputError
from mobileq.graph.spec import Stage, check
from mobileq.verify.graph_runner import GraphRunner
from mobileq.verify.images import verification_images
from mobileq.verify.ladder import Measure, Rung, Tolerances, compare, require
from mobileq.verify.remembered import Remembered
from mobileq.verify.runner import Runner

Report = Callable[[str], None]


def collapse_checkpoint(
    name: str | Path | Source,
    out: Path,
    *,
    overwrite: bool = False,
    images: NDArray[np.uint8] | None = None,
    report: Report = lambda message: None,
) -> CollapsedCheckpoint:
    """Collapse a network, compare it with what it was, and write it.

    Args:
        name: Path of a checkpoint, the name of a shipped one, or a `Source` that says
            how to make the network.
        out: File to make.
        overwrite: Replace an existing file.
        images: (N, H, W, C) uint8 to verify with; synthetic tissue by default.
        report: Called with a line before each step.

    Returns:
        What was written.

    Raises:
        MobileqError: bad input, or a rung of the ladder that breaks; nothing is written
            then.
    """
    if out.exists() and (out.is_dir() or not overwrite):
        raise CheckpointError(
            f"{out}: exists already; wanted a new name (or --overwrite to replace a "
            f"file)"
        )
    network = load_network(
        name if isinstance(name, Source) else Source(name), report=report
    )
    if isinstance(network.model, CollapsedModel):
        raise InputError(
            f"{network.origin['source']}: collapsed already; wanted a network with its "
            f"escnn or torch modules (give it to 'mobileq export' as it is)"
        )
    if images is not None:
        check_images(images, network.shape)
    collapsed = as_collapsed(network.model, network.shape, network.pixels, report)
    check(collapsed.graph, Stage.COLLAPSED)
    report("climbing the first rungs of the verification ladder")
    rungs = _climb(network, collapsed, images)
    require(rungs)
    made = CollapsedCheckpoint(
        collapsed.graph,
        network.origin,
        network.training,
        tuple(rung.to_dict() for rung in rungs),
        str(out),
        head=collapsed.head,
    )
    save_collapsed(out, made)
    return made


def _climb(
    network: Network, collapsed: CollapsedModel, images: NDArray[np.uint8] | None
) -> list[Rung]:
    """Compare the network as trained, as collapsed, and its graph."""
    from mobileq.verify.torch_runner import TorchRunner

    assert not isinstance(network.model, CollapsedModel)
    assert collapsed.module is not None
    if images is None:
        images = verification_images(network.shape)
    names = [node.name for node in collapsed.graph.nodes]
    output = collapsed.graph.output
    runners: list[Runner] = [
        TorchRunner(network.model, "network as trained", pixels=network.pixels),
        TorchRunner(collapsed.module, "collapsed", pixels=network.pixels),
        with_own_head(collapsed, GraphRunner(collapsed.graph, "graph, collapsed")),
    ]
    runners = [Remembered(runner) for runner in runners]
    return [
        compare(
            runner,
            before,
            images,
            measure=Measure.RELATIVE,
            limit=Tolerances().float_error,
            order=[*(name for name in names if name != output), output],
        )
        for before, runner in itertools.pairwise(runners)
    ]
