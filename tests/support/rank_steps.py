"""What several ranks compute and how they fail together: run by `torchrun`, or alone.

usage: python -m torch.distributed.run --nproc-per-node 2 rank_steps.py OUT

Steps are computed in float64, but for the loss. In float32 no two ways to sum agree
after some steps: where a gradient is zero but for rounding, as along the length of a
filter in front of BatchNorm, AdamW makes a step of full length out of the rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mobileq.errors import DataError, TrainingError
from mobileq.models.build import build_model
from mobileq.train import state as state_module
from mobileq.train.batches import TrainingBatches
from mobileq.train.ranks import Ranks, joined_ranks
from mobileq.train.state import RunState
from mobileq.train.step import train_step
from support.small_runs import CONFIG, SPEC, noise

# Two ranks get three and four images of each batch.
CONFIG_OF_STEPS = replace(CONFIG, batch_size=7)
IMAGES = noise(7 * 3, seed=8)
GROUPS = ("C4", "conventional")


def steps(group: str, ranks: Ranks) -> dict[str, Any]:
    """State after the steps of one epoch."""
    spec = replace(SPEC, group=group, channel_multiple=4)
    batches = TrainingBatches(IMAGES, CONFIG_OF_STEPS, spec.input_size, ranks)
    device = torch.device("cpu")
    start = RunState.start
    state = start(spec, CONFIG_OF_STEPS, batches.steps, device, ranks=ranks)
    # The images are float32, and so is what escnn's pooling returns.
    for layer in (state.model, state.model.get_submodule("classifier")):
        layer.register_forward_pre_hook(lambda _, inputs: inputs[0].double())
    for batch in batches.epoch(0):
        train_step(state, CONFIG_OF_STEPS, "fp32", batch, ranks)
    return {
        "ranks": ranks.gather(state.model.state_dict()),
        "averaged": state.averaged,
        "loss_sum": state.loss_sum,
    }


def outcome(act: Callable[[], object]) -> str:
    """What an action raises, with its text."""
    try:
        return repr(act())
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__} {error}"


def failures(ranks: Ranks) -> list[dict[str, str]]:
    """How each rank leaves blocks that fail on some of them, by rank."""

    def alone(*failing: int) -> str:
        with ranks.alone():
            if ranks.rank in failing:
                raise DataError(f"rank {ranks.rank}")
        return "passed"

    def alike() -> None:
        with ranks.alike():
            raise TrainingError("nan")

    def of_first(fail: bool) -> int:
        if fail:
            raise DataError("first")
        return ranks.rank + 7

    found = {
        "nobody": outcome(alone),
        "rank 0": outcome(lambda: alone(0)),
        "rank 1": outcome(lambda: alone(1)),
        "both": outcome(lambda: alone(0, 1)),
        "alike": outcome(alike),
        "of_first": outcome(lambda: ranks.of_first(lambda: of_first(False))),
        "of_first fails": outcome(lambda: ranks.of_first(lambda: of_first(True))),
        "any": outcome(lambda: ranks.any(ranks.rank == 1, False)),
        "total": outcome(lambda: ranks.total((ranks.rank + 1.0, 0.5))),
    }
    return ranks.gather(found)


def compute() -> dict[str, Any]:
    """Everything, with as many ranks as there are."""
    state_module.build_model = lambda spec: build_model(spec).double()
    try:
        with joined_ranks("cpu") as ranks:
            return {
                "first": ranks.first,
                "failures": failures(ranks),
                **{group: steps(group, ranks) for group in GROUPS},
            }
    finally:
        state_module.build_model = build_model


if __name__ == "__main__":
    torch.set_num_threads(1)
    computed = compute()
    if computed["first"]:
        torch.save(computed, Path(sys.argv[1]))
