"""Costs of several runners, with times that are made."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mobileq.bench.cost import CostPlan, costs
from mobileq.errors import InputError
from support.made_times import MS, MadeRunner, MadeTimer

PIXELS = np.zeros((3, 5, 5, 3), np.uint8)


def runners(*times: float) -> tuple[list[MadeRunner], list[str]]:
    """Runners of constant times in ms, and what they are asked for."""
    log: list[str] = []
    made = [
        MadeRunner(MadeTimer(lambda n, time=time: time * MS), log, f"{time:g}")
        for time in times
    ]
    return made, log


def test_runners_take_turns() -> None:
    """After every block the loop runs where it ran, and the next one follows."""
    made, log = runners(1, 4)
    found = costs(made, PIXELS, plan=CostPlan(runs=60, seconds=0.1, batch=0))
    spins = [line.partition(":")[0] for line in log if line.endswith("spin")]
    # The slow one has as many runs after more blocks, since blocks last equally long.
    both = spins[: 2 * spins.count("1")]
    assert all(a != b for a, b in pairwise(both))
    assert [cost.latency.median_ms for cost in found.costs] == [1, 4]
    assert [len(times) for times in found.times_ms] == [
        cost.latency.runs for cost in found.costs
    ]


@pytest.mark.parametrize(("runs", "seconds"), [(500, 0.0), (1, 0.5), (0 + 1, 0.0)])
def test_enough_queries_and_enough_time(runs: int, seconds: float) -> None:
    """Both limits are reached by each, and not passed by more than a block."""
    made, _ = runners(1, 4)
    found = costs(made, PIXELS, plan=CostPlan(runs=runs, seconds=seconds, batch=0))
    for cost, times in zip(found.costs, found.times_ms, strict=True):
        assert cost.latency.runs >= runs
        assert times.sum() / 1000 >= seconds
        block = 20 / cost.latency.median_ms
        assert cost.latency.runs <= max(runs, 1000 * seconds / times[0]) + block


def test_a_slow_runner_is_stopped() -> None:
    """It has fewer runs than wanted, and the others have theirs."""
    made, _ = runners(1, 300)
    plan = CostPlan(runs=50, seconds=0, max_seconds=2.0, batch=0)
    fast, slow = costs(made, PIXELS, plan=plan).costs
    assert fast.latency.runs >= 50
    assert slow.latency.runs == 7  # the first after which 2 seconds are over


def test_what_else_is_measured() -> None:
    """First inference, loading, memory over the imports, throughput of a batch."""
    made, log = runners(2)
    (cost,) = costs(made, PIXELS, plan=CostPlan(runs=5, seconds=0, batch=8)).costs
    assert (cost.first_ms, cost.load_ms) == (7, 3)
    assert (cost.peak_rss_bytes, cost.model_rss_bytes) == (1500, 500)
    assert cost.images_per_second == 8
    assert log[0] == "2: timer of 1"
    assert log[-1] == "2: throughput of 8"
    assert cost.steady
    (without,) = costs(runners(2)[0], PIXELS, plan=CostPlan(5, 0, batch=0)).costs
    assert without.images_per_second is None


def test_a_runner_that_has_run_is_refused() -> None:
    """Its first inference is not known any more."""
    made, _ = runners(2)
    made[0].has_run = True
    with pytest.raises(InputError, match="has run before its first inference"):
        costs(made, PIXELS)


def test_no_images_are_refused() -> None:
    """There is nothing to time."""
    with pytest.raises(InputError, match="no images"):
        costs(runners(1)[0], PIXELS[:0])


@pytest.mark.parametrize(
    "values", [{"runs": 0}, {"seconds": -1.0}, {"batch": -1}, {"warmup_seconds": -1.0}]
)
def test_impossible_plans_are_refused(values: dict[str, float]) -> None:
    """The line says what was found."""
    with pytest.raises(InputError, match="latency: "):
        CostPlan(**values)  # type: ignore[arg-type]
