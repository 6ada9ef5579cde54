"""The paper's Table 1: both networks, float and INT8, measured as exported files.

Whatever is reported was computed by an exported file in its runtime, not by the network
that was trained; the two are held together by the ladder that every export climbs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.accuracy import agreement, predicted
from mobileq.bench.figures import Label
from mobileq.bench.statistics import (
    Comparison,
    Estimate,
    auc_interval,
    compare,
    wilson,
)
from mobileq.bench.subject import Subject
from mobileq.bundle import Bundle, refuse_existing
from mobileq.checkpoint import Checkpoint, load_checkpoint
from mobileq.data.patches import Patches
from mobileq.data.scores import score
from mobileq.deploy import export_checkpoint
from mobileq.errors import InputError
from mobileq.models.spec import ModelSpec
from mobileq.reproduce.presets import (
    CONVENTIONAL,
    EQUIVARIANT,
    FLOAT,
    INT8,
    NETWORKS,
    Preset,
)
from mobileq.reproduce.training import Display, refuse_run, train_or_resume
from mobileq.train.config import TrainConfig
from mobileq.train.state import BEST_FILE

Opened = Callable[[Bundle], Sequence[Subject]]
"""Makes the runners of a bundle's files, the float one first."""


@dataclass(frozen=True)
class FileFigures:
    """What one exported file scores on the test set.

    Attributes:
        network: One of `NETWORKS`.
        label: Runtime, kernels, precision, name and size of the file.
        accuracy: With Wilson's interval.
        auc: With DeLong's interval.
        loss: Mean cross-entropy in nats.
        count: Number of images.
        agreement: Share of classes that are those of the network's float file; None
            for that file itself.
        certificate: Group that is proven to change no bit; None for a float file.
    """

    network: str
    label: Label
    accuracy: Estimate
    auc: Estimate
    loss: float
    count: int
    agreement: float | None
    certificate: str | None


@dataclass(frozen=True)
class Pair:
    """Two of the files, compared image by image.

    Attributes:
        first: Network and precision.
        second: The same of the other file.
        result: Difference of their accuracies, and McNemar's test.
    """

    first: tuple[str, str]
    second: tuple[str, str]
    result: Comparison


PAIRS = (
    ((EQUIVARIANT, FLOAT), (CONVENTIONAL, FLOAT)),
    ((EQUIVARIANT, INT8), (CONVENTIONAL, INT8)),
    ((CONVENTIONAL, INT8), (CONVENTIONAL, FLOAT)),
    ((EQUIVARIANT, INT8), (EQUIVARIANT, FLOAT)),
)
"""What is compared: the networks with each other, and each INT8 file with its float."""


def check_given(name: str, spec: ModelSpec, source: str) -> None:
    """Check that a given checkpoint is a network of its kind for two classes.

    Args:
        name: One of `NETWORKS`, which is also the option that names the file.
        spec: What is in it.
        source: The file.

    Raises:
        InputError: it is not.
    """
    if spec.equivariant != (name == EQUIVARIANT):
        raise InputError(
            f"{source}: its group is {spec.group}; wanted a network "
            f"{'with' if name == EQUIVARIANT else 'without'} a symmetry group for "
            f"--{name}"
        )
    if (spec.num_classes, spec.in_channels) != (2, 3):
        raise InputError(
            f"{source}: from {spec.in_channels} channels to {spec.num_classes} "
            f"classes; wanted from 3 to 2, as PCam has them, for --{name}"
        )


def check_pair(specs: Mapping[str, ModelSpec]) -> None:
    """Check that both networks see the same part of each image.

    Raises:
        InputError: they do not.
    """
    first, second = (specs[name].input_size for name in NETWORKS)
    if first != second:
        raise InputError(
            f"the {NETWORKS[0]} network takes {first} px and the {NETWORKS[1]} one "
            f"{second} px; wanted the same input of both (give checkpoints that were "
            f"trained alike)"
        )


def check_runs_dir(
    folder: Path, trained: Sequence[str], *, resume: bool, overwrite: bool
) -> None:
    """Find out before any work is done what is in the way.

    Args:
        folder: Where runs and bundles are kept.
        trained: Those of `NETWORKS` that are to be trained.
        resume: Continue runs, and make their bundles again.
        overwrite: Replace bundles.

    Raises:
        InputError: a run or a bundle may not be touched.
    """
    for name in trained:
        refuse_run(folder / name, resume=resume)
    for name in NETWORKS:
        refuse_existing(bundle_path(folder, name), overwrite=resume or overwrite)


def bundle_path(folder: Path, name: str) -> Path:
    """Where the bundle of a network is written."""
    return folder / f"{name}.mobileq"


def train_network(
    name: str,
    preset: Preset,
    config: TrainConfig,
    data: tuple[Patches, Patches],
    *,
    folder: Path,
    resume: bool,
    display: Display,
) -> Checkpoint:
    """Train one of `NETWORKS`, or finish it.

    Args:
        name: Which.
        preset: Its architecture.
        config: Hyperparameters: the preset's, with a seed and a device.
        data: Training and validation set.
        folder: The run is kept in `folder/name`.
        resume: Continue a run that is there.
        display: Shown steps and epochs.

    Returns:
        The weights of the lowest validation loss, read from their file.

    Raises:
        MobileqError: as `mobileq.train.loop.train`.
    """
    train_or_resume(
        name,
        preset.network(name),
        config,
        *data,
        folder=folder / name,
        resume=resume,
        display=display,
    )
    return load_checkpoint(folder / name / BEST_FILE)


def export_network(
    name: str, checkpoint: Checkpoint, folder: Path, *, display: Display
) -> Bundle:
    """Export both precisions in both formats, verified and certified.

    Args:
        name: One of `NETWORKS`.
        checkpoint: Read from a file.
        folder: Where the bundle is written; `check_runs_dir` has been asked.
        display: Shown each step.

    Raises:
        MobileqError: as `mobileq.deploy.export_checkpoint`.
    """
    return export_checkpoint(
        checkpoint.source,
        bundle_path(folder, name),
        overwrite=True,
        report=lambda step: display.status(f"{name}: {step}"),
    )


def measure_files(
    bundles: Mapping[str, Bundle],
    opened: Opened,
    test: Patches,
    *,
    input_size: int,
    display: Display,
) -> tuple[tuple[FileFigures, ...], tuple[Pair, ...]]:
    """Score the exported files of both networks, and compare them.

    Args:
        bundles: One for each of `NETWORKS`.
        opened: Makes their runners.
        test: The test set.
        input_size: Height and width that the networks take, in pixels.
        display: Shown what is measured.

    Raises:
        DataError: the images do not fit.
        GraphError: an INT8 file without a quantization of its logits.
    """
    figures: list[FileFigures] = []
    logits: dict[tuple[str, str], NDArray[np.float64]] = {}
    for name in NETWORKS:
        for subject in opened(bundles[name]):
            key = (name, subject.label.precision)
            display.status(f"{name}: {subject.label} on {len(test):,} images")
            logits[key] = predicted(
                subject.runner,
                test,
                input_size=input_size,
                dequantize=subject.dequantize,
            )
            reference = logits[name, FLOAT] if key[1] == INT8 else None
            figures.append(
                _figures(
                    name, subject.label, bundles[name], logits[key], reference, test
                )
            )
    right = {key: found.argmax(1) == test.labels for key, found in logits.items()}
    pairs = [Pair(a, b, compare(right[a], right[b])) for a, b in PAIRS]
    return tuple(figures), tuple(pairs)


def _figures(
    name: str,
    label: Label,
    bundle: Bundle,
    logits: NDArray[np.float64],
    reference: NDArray[np.float64] | None,
    test: Patches,
) -> FileFigures:
    """Scores of one file from its logits, (N, 2), and those of the float file."""
    right = int((logits.argmax(1) == test.labels).sum())
    certificate = bundle.manifest["certificates"].get(label.file)
    return FileFigures(
        network=name,
        label=label,
        accuracy=wilson(right, len(test)),
        auc=auc_interval(logits[:, 1] - logits[:, 0], test.labels),
        loss=score(logits, test.labels).loss,
        count=len(test),
        agreement=None if reference is None else agreement(logits, reference),
        certificate=None if certificate is None else str(certificate["group"]),
    )
