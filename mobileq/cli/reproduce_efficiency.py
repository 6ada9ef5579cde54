"""The steps of `mobileq reproduce data-efficiency`: plan, runs, report."""

from __future__ import annotations

from pathlib import Path

from mobileq.bench.machine import this_machine
from mobileq.data.archives import SPLITS
from mobileq.data.source import open_split
from mobileq.errors import InputError
from mobileq.models.spec import ModelSpec
from mobileq.reproduce.data_efficiency import Plan, check_runs, run_all
from mobileq.reproduce.efficiency_report import EfficiencyReport
from mobileq.reproduce.origin import Origin
from mobileq.reproduce.training import Display
from mobileq.train.arithmetic import choose_device
from mobileq.train.config import TrainConfig
from mobileq.train.session import DataSets

ALL = "all"


def run_efficiency(
    data: str,
    spec: ModelSpec,
    config: TrainConfig,
    sizes: str,
    seeds: str,
    runs_dir: Path,
    *,
    resume: bool,
    display: Display,
) -> EfficiencyReport:
    """Train and score whatever is not there yet.

    Args:
        data: Directory or `synthetic`.
        spec: The equivariant network.
        config: Hyperparameters.
        sizes: Numbers with commas, or `all`.
        seeds: Numbers with commas.
        runs_dir: Where runs are kept.
        resume: Use finished runs, continue interrupted ones.
        display: Shown what is going on.

    Raises:
        MobileqError: bad input, or training that fails.
    """
    choose_device(config.device)
    numbers = numbers_of("--sizes", sizes, whole=ALL)
    found = DataSets(*(open_split(data, name) for name in SPLITS))
    whole = len(found.training)
    plan = Plan(
        spec,
        config,
        tuple(sorted({whole if n is None else n for n in numbers})),
        tuple(n for n in numbers_of("--seeds", seeds) if n is not None),
    )
    check_runs(plan, found, runs_dir, resume=resume)
    runs = run_all(plan, found, runs_dir, resume=resume, display=display)
    sets = (found.training, found.validation, found.test)
    origin = Origin.of(data, dict(zip(SPLITS, sets, strict=True)))
    return EfficiencyReport(this_machine(), origin, plan, runs)


def numbers_of(option: str, text: str, whole: str | None = None) -> list[int | None]:
    """Read numbers with commas.

    Args:
        option: Its name.
        text: Such as `500,2000,all`.
        whole: A word that is allowed too.

    Returns:
        The numbers; None for the word.

    Raises:
        InputError: something else is in the text.
    """
    values: list[int | None] = []
    for part in text.split(","):
        word = part.strip()
        if word == whole:
            values.append(None)
        elif word.isascii() and word.isdigit():
            values.append(int(word))
        else:
            also = "" if whole is None else f" or {whole!r}"
            raise InputError(
                f"{option} is {text!r}; wanted whole numbers{also} with commas"
            )
    return values
