"""Data efficiency: the plan, runs that end early, records, report and picture."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mobileq.bench.machine import this_machine
from mobileq.bench.polar import FORMATS
from mobileq.cli.reproduce_efficiency import numbers_of
from mobileq.data.scores import Scores
from mobileq.errors import CheckpointError, DataError, InputError
from mobileq.reproduce.data_efficiency import (
    Key,
    Plan,
    Run,
    check_runs,
    folder_of,
    run_all,
)
from mobileq.reproduce.efficiency_report import EfficiencyReport
from mobileq.reproduce.origin import Origin
from mobileq.reproduce.plots import efficiency_plot
from mobileq.reproduce.records import FILE, Record, read_record, write_record
from mobileq.reproduce.training import Display
from mobileq.train.session import DataSets
from support.small_runs import CONFIG, SPEC, Killed, noise, read_state

DATA = DataSets(noise(24, seed=1), noise(16, seed=2), noise(20, seed=3))
PLAN = Plan(SPEC, replace(CONFIG, epochs=2), (8, 24), (0,))
IDENTITY = {"width": 0.1, "seed": 3, "group": "C4"}


def dying_at(text: str) -> Callable[[str], None]:
    """A display that ends the process at a line."""

    def show(line: str) -> None:
        if text in line:
            raise Killed

    return show


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Run, ...]]:
    """All runs, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run_all(PLAN, DATA, folder, resume=False, display=Display())


def test_every_run_has_the_same_steps(whole: tuple[Path, tuple[Run, ...]]) -> None:
    """As many as the plan says; a run for each network and size, each with a record."""
    folder, runs = whole
    assert PLAN.steps == 6
    assert [(run.network, run.size) for run in runs] == [
        (name, size) for size in (8, 24) for name in ("conventional", "equivariant")
    ]
    for key in PLAN.runs():
        state = read_state(folder_of(folder, key))
        # One-cycle counts the step before the first.
        assert state["scheduler"]["last_epoch"] == PLAN.steps
        assert (folder_of(folder, key) / FILE).is_file()
    assert all(run.scores.count == 20 and 1 <= run.best_epoch <= 2 for run in runs)


@pytest.mark.parametrize(
    "place",
    [
        "equivariant, 8 patches, seed 0: epoch 1/2  training loss",
        "conventional, 24 patches, seed 0: epoch 2/2, step 2",
        "equivariant, 24 patches, seed 0: 20 test patches",
    ],
)
@pytest.mark.slow
def test_a_killed_experiment_goes_on(
    place: str, whole: tuple[Path, tuple[Run, ...]], tmp_path: Path
) -> None:
    """After it was killed anywhere it comes to the same; finished runs stay."""
    show = dying_at(place)
    with pytest.raises(Killed):
        run_all(PLAN, DATA, tmp_path, resume=False, display=Display(show, show))
    done = {path.parent.name for path in tmp_path.glob(f"*/{FILE}")}
    with pytest.raises(InputError, match="is here already; wanted --resume"):
        check_runs(PLAN, DATA, tmp_path, resume=False)
    check_runs(PLAN, DATA, tmp_path, resume=True)
    lines: list[str] = []
    display = Display(line=lines.append)
    assert run_all(PLAN, DATA, tmp_path, resume=True, display=display) == whole[1]
    assert sum("(was there)" in line for line in lines) == len(done)


def test_finished_runs_are_not_repeated(
    whole: tuple[Path, tuple[Run, ...]],
) -> None:
    """No epoch is trained; other settings are refused, and named."""
    folder, runs = whole
    lines: list[str] = []
    display = Display(lines.append, lines.append)
    assert run_all(PLAN, DATA, folder, resume=True, display=display) == runs
    assert len(lines) == 4
    assert all("(was there)" in line for line in lines)
    for other, data, name in (
        (replace(PLAN, config=replace(PLAN.config, epochs=3)), DATA, "epochs is 2"),
        (PLAN, replace(DATA, test=noise(18, seed=3)), "number of test images is 20"),
    ):
        with pytest.raises(InputError, match=f"{name} in the finished run and"):
            run_all(other, data, folder, resume=True, display=display)


@pytest.mark.parametrize(
    ("sizes", "seeds", "group", "wanted"),
    [
        ((24, 8), (0,), "C4", "--sizes is 24,8; wanted rising numbers of 2 or more"),
        ((8, 8), (0,), "C4", "--sizes is 8,8"),
        ((1, 8), (0,), "C4", "--sizes is 1,8"),
        ((8,), (), "C4", "--seeds is empty"),
        ((8,), (0,), "conventional", "--group is 'conventional'; wanted a symmetry"),
    ],
)
def test_impossible_plans_are_refused(
    sizes: tuple[int, ...], seeds: tuple[int, ...], group: str, wanted: str
) -> None:
    """The message names the option."""
    with pytest.raises(InputError, match=wanted):
        Plan(replace(SPEC, group=group), CONFIG, sizes, seeds)


def test_data_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """More patches than there are, and images smaller than the network's."""
    with pytest.raises(InputError, match="asks for 25 of 24 training patches"):
        check_runs(replace(PLAN, sizes=(25,)), DATA, tmp_path, resume=False)
    small = replace(DATA, test=noise(4, seed=0, size=11))
    with pytest.raises(DataError, match="test set: images of 11x11 px"):
        check_runs(PLAN, small, tmp_path, resume=False)
    assert list(tmp_path.iterdir()) == []


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    """Also with an AUC that is none; without a file there is no record."""
    assert read_record(tmp_path, IDENTITY) is None
    for auc in (0.75, float("nan")):
        record = Record(4, Scores(0.1 + 0.2, auc, 0.5, 20))
        write_record(tmp_path, record, IDENTITY)
        found = read_record(tmp_path, IDENTITY)
        assert repr(found) == repr(record)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"format": "x", "version": 1}'])
def test_damaged_records_are_refused(damage: str, tmp_path: Path) -> None:
    """One line that says what to do."""
    (tmp_path / FILE).write_text(damage)
    with pytest.raises(
        CheckpointError, match=r"no record of a finished run .*\(delete it"
    ):
        read_record(tmp_path, IDENTITY)


def test_a_truncated_record_is_refused(tmp_path: Path) -> None:
    """At any length; only the newline at its end may be missing."""
    write_record(tmp_path, Record(4, Scores(0.5, 0.5, 0.5, 20)), IDENTITY)
    text = (tmp_path / FILE).read_text()
    for length in range(0, len(text) - 2, 7):
        (tmp_path / FILE).write_text(text[:length])
        with pytest.raises(CheckpointError, match="no record"):
            read_record(tmp_path, IDENTITY)


def report(gain: float = 0.02) -> EfficiencyReport:
    """Two seeds, three sizes; the equivariant network is better by `gain`."""
    plan = replace(PLAN, sizes=(500, 2000, 17171), seeds=(0, 1))
    runs = tuple(
        Run(
            key.network,
            key.size,
            key.seed,
            1,
            Scores(
                0.7 + gain * (key.network == "equivariant") + 0.01 * key.seed,
                float("nan"),
                0.5,
                20,
            ),
        )
        for key in plan.runs()
    )
    return EfficiencyReport(this_machine(), Origin("here", {"test": 20}), plan, runs)


def test_the_report_sums_up_the_seeds() -> None:
    """Mean and range of each point; JSON without NaN; steps and caveat are stated."""
    values = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    point = values["points"][-1]
    assert (point["network"], point["size"]) == ("equivariant", 17171)
    found = (point["low"], point["mean"], point["high"])
    # Sums of three decimal fractions.
    assert found == pytest.approx((0.72, 0.725, 0.73), abs=1e-12)
    assert values["plan"]["steps"] == report().plan.steps == 2 * (17171 // 8)
    assert "seed" not in values["plan"]["config"]
    assert "not the official PCam" in values["notes"][0]
    assert "4,292 steps of 8 patches" in values["notes"][1]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report().table())
    text = console.export_text()
    for cell in ("17,171", "70.50", "70.00-71.00", "72.50", "72.00-73.00", "+2.00"):
        assert cell in text


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_experiments_are_equal_pictures(kind: str) -> None:
    """Other figures are another picture; a text one names sizes, steps and data."""
    picture = efficiency_plot(report(), kind)
    assert picture == efficiency_plot(report(), kind)
    assert picture != efficiency_plot(report(0.03), kind)
    if kind == "svg":
        text = picture.decode()
        for word in (">17,171<", "4,292 steps", "2 seeds", "Not the official PCam"):
            assert word in text


def test_numbers_with_commas() -> None:
    """Spaces are allowed, words are not, except for the one that stands for all."""
    assert numbers_of("--sizes", "5, 20,all", whole="all") == [5, 20, None]
    for text in ("5,,6", "5,many", "-5", "1.5", "", "all"):
        with pytest.raises(InputError, match=r"--seeds is .*; wanted whole numbers"):
            numbers_of("--seeds", text)


def test_runs_have_folders_of_their_own() -> None:
    """No two of a plan share one."""
    plan = replace(PLAN, sizes=(5, 50, 500), seeds=(0, 1, 10))
    folders = {folder_of(Path("runs"), key) for key in plan.runs()}
    assert len(folders) == 18
    assert Path("runs/equivariant-50-seed10") in folders
    assert Key("equivariant", 50, 10) in plan.runs()
