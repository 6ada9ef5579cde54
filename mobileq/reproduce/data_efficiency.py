"""Accuracy against the number of training patches: what equivariance is for.

Both networks are trained on nested parts of the training set, with the same number of
optimizer steps for every size and several seeds. A seed decides the part, the initial
weights and the order. The test set is scored by the weights of the lowest validation
loss, in float32, as trained; exported files differ from that by their export only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.data.scores import Scores, score
from mobileq.errors import InputError
from mobileq.models.spec import ModelSpec
from mobileq.reproduce.presets import EQUIVARIANT, NETWORKS
from mobileq.reproduce.records import (
    FILE,
    Record,
    checksum,
    read_record,
    write_record,
)
from mobileq.reproduce.subsets import nested_order, subset_of
from mobileq.reproduce.training import Display, refuse_run, train_or_resume
from mobileq.train.arithmetic import choose_device
from mobileq.train.config import TrainConfig
from mobileq.train.evaluate import predict
from mobileq.train.loop import check_patches
from mobileq.train.session import DataSets


@dataclass(frozen=True)
class Key:
    """Which run.

    Attributes:
        network: One of `NETWORKS`.
        size: Number of training patches.
        seed: Of the part, the weights and the order.
    """

    network: str
    size: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        spec: The equivariant network; the other one is its twin.
        config: Hyperparameters; `epochs` are passes over the largest part, and the seed
            is that of each run.
        sizes: Numbers of training patches, rising.
        seeds: One run of each network and size for each.
    """

    spec: ModelSpec
    config: TrainConfig
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that there is something to do, once.

        Raises:
            InputError: there is not.
        """
        for name, values, low in (
            ("--sizes", self.sizes, 2),
            ("--seeds", self.seeds, 0),
        ):
            if list(values) != sorted(set(values)) or not values or values[0] < low:
                raise InputError(
                    f"{name} is {','.join(map(str, values)) or 'empty'}; wanted "
                    f"rising numbers of {low} or more, each once"
                )
        if not self.spec.equivariant:
            raise InputError(
                f"--group is {self.spec.group!r}; wanted a symmetry group such as C4, "
                f"which is compared with its conventional twin"
            )

    @property
    def longest(self) -> int:
        """Patches of the largest part, which are the length of every epoch."""
        return self.sizes[-1]

    @property
    def steps(self) -> int:
        """Optimizer steps of every run."""
        batch = min(self.config.batch_size, self.longest)
        return self.config.epochs * (self.longest // batch)

    def runs(self) -> Sequence[Key]:
        """Every run; all sizes of one seed first, then the next seed."""
        return [
            Key(network, size, seed)
            for seed in self.seeds
            for size in self.sizes
            for network in NETWORKS
        ]

    def network(self, name: str) -> ModelSpec:
        """Architecture of one of `NETWORKS`."""
        return self.spec if name == EQUIVARIANT else self.spec.twin()


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        network: One of `NETWORKS`.
        size: Number of training patches.
        seed: Of the part, the weights and the order.
        best_epoch: Whose weights had the lowest validation loss, from 1.
        scores: Of these weights on the test set.
    """

    network: str
    size: int
    seed: int
    best_epoch: int
    scores: Scores


def folder_of(runs_dir: Path, key: Key) -> Path:
    """Where a run is kept."""
    return runs_dir / f"{key.network}-{key.size}-seed{key.seed}"


def check_runs(plan: Plan, data: DataSets, runs_dir: Path, *, resume: bool) -> None:
    """Find out before any work is done whether data fit, and what is in the way.

    Args:
        plan: What is to be trained.
        data: With what.
        runs_dir: Where runs are kept.
        resume: Whether those that are there may be used and continued.

    Raises:
        InputError: a run may not be touched, or a size is too large.
        DataError: the images do not fit the network.
    """
    if plan.longest > len(data.training):
        raise InputError(
            f"--sizes asks for {plan.longest:,} of {len(data.training):,} training "
            f"patches; wanted 2 to {len(data.training):,}, or all"
        )
    for name in ("training", "validation", "test"):
        check_patches(getattr(data, name), plan.spec, name)
    for key in plan.runs():
        folder = folder_of(runs_dir, key)
        refuse_run(folder, resume=resume)
        if (folder / FILE).exists() and not resume:
            raise InputError(
                f"{folder}: a finished run is here already; wanted --resume to use it, "
                f"or another --runs-dir"
            )


def run_all(
    plan: Plan, data: DataSets, runs_dir: Path, *, resume: bool, display: Display
) -> tuple[Run, ...]:
    """Train and score whatever is not there yet.

    Args:
        plan: What to train.
        data: Training set, the validation set that chooses weights, and the test set.
        runs_dir: Holds a directory for each run, and in it a record once it is whole.
        resume: Use finished runs, continue interrupted ones.
        display: Shown steps, epochs and results.

    Raises:
        MobileqError: as `mobileq.train.loop.train`; a record that is damaged or of
            other settings.
    """
    found: list[Run] = []
    for key in plan.runs():
        name = f"{key.network}, {key.size:,} patches, seed {key.seed}"
        folder = folder_of(runs_dir, key)
        spec, config = plan.network(key.network), replace(plan.config, seed=key.seed)
        order = nested_order(data.training.labels, key.seed)
        identity = _identity(plan, data, spec, config, order[: key.size])
        record = read_record(folder, identity)
        note = "" if record is None else " (was there)"
        if record is None:
            part = subset_of(data.training, order, key.size, plan.longest)
            sets = replace(data, training=part)
            record = _run(name, spec, config, sets, folder, resume, display)
            write_record(folder, record, identity)
        epoch, scores = record.best_epoch, record.scores
        found.append(Run(key.network, key.size, key.seed, epoch, scores))
        place = f"[{len(found)}/{len(plan.runs())}]"
        display.line(f"{place} {name}: test {record.scores}{note}")
    return tuple(found)


def _run(
    name: str,
    spec: ModelSpec,
    config: TrainConfig,
    data: DataSets,
    folder: Path,
    resume: bool,
    display: Display,
) -> Record:
    """Train, or finish training, and score."""
    best = train_or_resume(
        name,
        spec,
        config,
        data.training,
        data.validation,
        folder=folder,
        resume=resume,
        display=display,
    )
    display.status(f"{name}: {len(data.test):,} test patches")
    model = best.build().to(choose_device(config.device))
    logits = predict(model, data.test, input_size=spec.input_size)
    return Record(int(best.training["epoch"]), score(logits, data.test.labels))


def _identity(
    plan: Plan,
    data: DataSets,
    spec: ModelSpec,
    config: TrainConfig,
    rows: NDArray[np.int64],
) -> dict[str, Any]:
    """Everything that decides a run's result, as plain values."""
    identity = {
        **spec.to_dict(),
        **config.to_dict(),
        "number of patches": len(rows),
        "length of an epoch": plan.longest,
        "checksum of the chosen rows": checksum(np.sort(rows)),
    }
    for name, patches in (
        ("training", data.training),
        ("validation", data.validation),
        ("test", data.test),
    ):
        identity[f"number of {name} images"] = len(patches)
        identity[f"checksum of {name} labels"] = checksum(patches.labels)
    return identity
