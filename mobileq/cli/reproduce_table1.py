"""The steps of `mobileq reproduce table1`: networks, bundles, runners, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mobileq.bench.machine import busy_machine
from mobileq.bench.subject import Subject
from mobileq.bundle import Bundle
from mobileq.checkpoint import Checkpoint, load_checkpoint
from mobileq.cli.bench_candidates import (
    Choice,
    all_kernels,
    candidates_of,
    subjects_of,
)
from mobileq.cli.bench_target import network_of_bundle
from mobileq.data.patches import Patches
from mobileq.data.source import open_split
from mobileq.data.splits import Split
from mobileq.models.spec import ModelSpec
from mobileq.reproduce import table1
from mobileq.reproduce.origin import Origin
from mobileq.reproduce.presets import NETWORKS, preset_of
from mobileq.reproduce.table1_report import NetworkFigures, Table1Report
from mobileq.reproduce.training import Display
from mobileq.train.arithmetic import choose_device
from mobileq.train.loop import check_patches


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        data: Directory or `synthetic`.
        preset: Name of a preset, for what is trained.
        given: Checkpoints by network, which are not trained.
        runs_dir: Where runs and bundles are kept.
        resume: Continue what is there.
        overwrite: Replace bundles.
        runtime: `tflite` or `onnx`.
        kernels: A set of TFLite's kernels.
        seed: Of the training.
        device: To train on.
    """

    data: str
    preset: str
    given: Mapping[str, str]
    runs_dir: Path
    resume: bool
    overwrite: bool
    runtime: str
    kernels: str
    seed: int
    device: str


def run_table1(request: Request, threads: int, display: Display) -> Table1Report:
    """Train what is not given, export and measure both networks.

    Args:
        request: What to do.
        threads: Of one inference.
        display: Shown what is going on.

    Raises:
        MobileqError: bad input, training or an export that fails.
    """
    preset = preset_of(request.preset)
    config = replace(preset.config, seed=request.seed, device=request.device)
    choose_device(request.device)
    trained = tuple(name for name in NETWORKS if name not in request.given)
    found = {name: load_checkpoint(path) for name, path in request.given.items()}
    for name, checkpoint in found.items():
        table1.check_given(name, checkpoint.spec, checkpoint.source)
    specs = {name: preset.network(name) for name in trained}
    specs |= {name: checkpoint.spec for name, checkpoint in found.items()}
    table1.check_pair(specs)
    splits = _open_splits(request.data, specs[NETWORKS[0]], training=bool(trained))
    table1.check_runs_dir(
        request.runs_dir, trained, resume=request.resume, overwrite=request.overwrite
    )
    for name in trained:
        found[name] = table1.train_network(
            name,
            preset,
            config,
            (splits["train"], splits["valid"]),
            folder=request.runs_dir,
            resume=request.resume,
            display=display,
        )
    return _measured(request, found, splits, threads, display)


def _open_splits(data: str, spec: ModelSpec, *, training: bool) -> dict[str, Patches]:
    """Open the test set, and the others where something is trained.

    Raises:
        DataError: one is missing, or does not fit the networks.
    """
    wanted: tuple[Split, ...] = ("train", "valid", "test") if training else ("test",)
    splits: dict[str, Patches] = {name: open_split(data, name) for name in wanted}
    for name, patches in splits.items():
        check_patches(patches, spec, name)
    return splits


def _measured(
    request: Request,
    networks: Mapping[str, Checkpoint],
    splits: Mapping[str, Patches],
    threads: int,
    display: Display,
) -> Table1Report:
    """Export both networks, and measure their files.

    Raises:
        MobileqError: an export that fails, or files that cannot be run.
    """
    bundles = {
        name: table1.export_network(
            name, networks[name], request.runs_dir, display=display
        )
        for name in NETWORKS
    }

    def opened(bundle: Bundle) -> Sequence[Subject]:
        network = network_of_bundle(bundle, str(bundle.path))
        sets = all_kernels((request.kernels,))
        choice = Choice((request.runtime,), sets, (threads,))
        return subjects_of(candidates_of(bundle, network, choice))

    size = networks[NETWORKS[0]].spec.input_size
    files, pairs = table1.measure_files(
        bundles, opened, splits["test"], input_size=size, display=display
    )
    return Table1Report(
        machine=busy_machine(),
        origin=Origin.of(request.data, splits),
        preset=None if len(request.given) == len(NETWORKS) else request.preset,
        networks=tuple(
            NetworkFigures.of(name, networks[name], given=name in request.given)
            for name in NETWORKS
        ),
        files=files,
        pairs=pairs,
    )
