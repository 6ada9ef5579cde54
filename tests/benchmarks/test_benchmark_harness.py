"""What the scripts of benchmarks/ rest on: statistics, verdicts, pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.export_cost import durations
from benchmarks.harness.machine import describe, flags
from benchmarks.harness.paired import Plan, interleaved, ratio
from benchmarks.harness.results import Goal, Grid, Result
from benchmarks.harness.summary import BEGIN, END, document, updated, where
from benchmarks.run_all import main as run_all
from mobileq.bench.statistics import Estimate
from mobileq.errors import InputError
from support.function_runner import FunctionRunner, disc_means

IMAGE = np.zeros((1, 5, 5, 3), np.uint8)
TIMES = st.lists(st.floats(1, 1e6), min_size=2, max_size=40)


class Recorder(FunctionRunner):
    """Writes its name into a list each time it runs."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__(disc_means, name)
        object.__setattr__(self, "log", log)

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """Append."""
        log: list[str] = self.__dict__["log"]
        return lambda: log.append(self.name)


@given(TIMES, st.floats(0.1, 10))
def test_drift_that_both_see_does_not_change_a_ratio(
    times: list[float], factor: float
) -> None:
    """However the machine's speed drifts, a constant factor is found exactly."""
    drift = np.asarray(times)
    found = ratio(factor * drift, drift)
    # Three roundings of doubles.
    assert np.allclose((found.low, found.value, found.high), factor, rtol=1e-12, atol=0)


@given(TIMES, st.integers(0, 99))
def test_an_interval_holds_its_ratio(times: list[float], seed: int) -> None:
    """Low <= ratio <= high, and the inverse question has an inverse answer."""
    first = np.asarray(times)
    second = np.random.default_rng(seed).permutation(first)
    found = ratio(first, second)
    assert found.low <= found.value <= found.high
    if len(times) % 2:
        # With an even count, the middle of two quotients has no such inverse.
        inverse = ratio(second, first)
        assert inverse.value == pytest.approx(1 / found.value, rel=1e-12)


def test_the_interval_covers_the_truth() -> None:
    """Of 300 intervals at least 270 hold the true ratio, with noise of 20 %.

    285 are expected; a binomial count is below 270 once in ten thousand times.
    """
    random = np.random.default_rng(0)
    noise = random.lognormal(0, 0.2, (300, 2, 40))
    found = [ratio(1.1 * first, second) for first, second in noise]
    assert sum(one.low <= 1.1 <= one.high for one in found) >= 270


def test_runners_take_turns_there_and_back() -> None:
    """Every second round goes backwards, so that no place in the order is better."""
    log: list[str] = []
    times = interleaved(
        {name: Recorder(name, log) for name in "abc"}, IMAGE, Plan(rounds=4, block=2)
    )
    assert "".join(log).endswith("aaabbbccc" + "cccbbbaaa" + "aaabbbccc" + "cccbbbaaa")
    assert {name: len(found) for name, found in times.items()} == dict.fromkeys(
        "abc", 4
    )


@pytest.mark.parametrize("plan", [(1, 10), (2, 0)])
def test_a_plan_without_pairs_is_refused(plan: tuple[int, int]) -> None:
    """An interval needs two rounds."""
    with pytest.raises(InputError, match="wanted at least 2 rounds of 1"):
        Plan(*plan)


def test_times_of_other_rounds_are_refused() -> None:
    """What was not measured together is not compared."""
    with pytest.raises(InputError, match="wanted as many of both"):
        ratio(np.ones(3), np.ones(4))


@pytest.mark.parametrize(
    ("found", "bound", "at_least", "verdict"),
    [
        ((1.0, 0.99, 1.01), 1.02, False, "met"),
        ((1.01, 0.99, 1.03), 1.02, False, "met, within the interval"),
        ((1.03, 1.01, 1.05), 1.02, False, "missed, within the interval"),
        ((1.1, 1.05, 1.2), 1.02, False, "missed"),
        ((2.6, 2.5, 2.7), 2.5, True, "met"),
        ((2.4, 2.3, 2.45), 2.5, True, "missed"),
        ((2.4, 2.3, 2.45), None, True, ""),
    ],
)
def test_verdicts(
    found: tuple[float, float, float],
    bound: float | None,
    at_least: bool,
    verdict: str,
) -> None:
    """A goal is met or missed; where the interval holds it, that is said."""
    goal = Goal.of("x", Estimate(*found), bound, at_least=at_least)
    assert goal.verdict == verdict


def result() -> Result:
    """A small one."""
    goal = Goal.of("a : b", Estimate(1.0, 0.9, 1.1), 1.02)
    grid = Grid("times", ("file", "ratio"), (("a", "1.0"),))
    return Result("speed_ratios", (goal,), (grid,), ("random weights",), describe())


def test_a_result_comes_back_from_its_file(tmp_path: Path) -> None:
    """Written and read again it is the same."""
    result().write(tmp_path / "new" / "speed_ratios.json")
    assert Result.read(tmp_path / "new" / "speed_ratios.json") == result()


@pytest.mark.parametrize("text", ["", "{}", '{"format": "other", "version": 1}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    """The message names the file."""
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json.*run it again"):
        Result.read(tmp_path / "x.json")


def test_only_the_measured_part_of_the_page_changes() -> None:
    """What people wrote around it stays, and a second update changes nothing."""
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nend\n"
    once = updated(page, document([result()]))
    assert "old" not in once
    assert once.startswith("# Title\n\n")
    assert once.endswith(f"{END}\n\nend\n")
    assert updated(once, document([result()])) == once


def test_a_page_without_markers_is_refused() -> None:
    """Nothing is written where nobody expects it."""
    with pytest.raises(InputError, match="wanted both"):
        updated("# Title\n", "figures")


def test_other_programs_are_said() -> None:
    """A load of more than the measurement's own is part of the figures."""
    machine = {**describe(), "cores": 2}
    assert "Other programs" in where({**machine, "load": 4.0})
    assert "Other programs" not in where({**machine, "load": 1.2})


def test_flags_are_those_of_the_processor(tmp_path: Path) -> None:
    """Names of instructions are found as words, not as parts of words."""
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2 avx512_vnni_other\n")
    assert flags(tmp_path / "cpuinfo") == ["avx2"]
    assert flags(tmp_path / "missing") == []


def test_stages_last_until_the_next_one() -> None:
    """The end is no stage; memory is what was reached when a stage ended."""
    stages = [("imports", 0.0, 0.1), ("writing", 2.0, 0.5), ("end", 3.0, 0.7)]
    assert durations(stages) == [("imports", 2.0, 0.5), ("writing", 1.0, 0.7)]


def test_kept_results_are_printed_and_put_into_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --keep nothing is measured that lies there already."""
    result().write(tmp_path / "speed_ratios.json")
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\n{END}\n")
    places = ["--out", str(tmp_path), "--page", str(page)]
    run_all(["speed_ratios", "--keep", "--update", *places])
    assert "| a : b |" in capsys.readouterr().out
    assert "## Latency" in page.read_text()
