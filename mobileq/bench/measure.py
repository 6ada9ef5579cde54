"""Everything that `mobileq bench` measures, for several runners of one network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.accuracy import agreement, predicted
from mobileq.bench.equivariance import (
    ANGLES,
    MIRRORS,
    ROTATIONS,
    AngleError,
    ExactSymmetry,
    Measured,
    angle_errors_together,
    exact_symmetry,
)
from mobileq.bench.latency import Latency, latencies
from mobileq.data.patches import Patches
from mobileq.data.scores import Scores, score
from mobileq.quant.affine import Affine
from mobileq.verify.runner import Runner


@dataclass(frozen=True)
class Label:
    """What a row of the report is about.

    Attributes:
        runtime: `tflite`, `onnx` or `torch`.
        kernel: Which of the runtime's kernels.
        precision: `float` or `int8`.
        threads: Threads of one inference.
        file: Name of the file.
        file_bytes: Its size in bytes.
    """

    runtime: str
    kernel: str
    precision: str
    threads: int
    file: str
    file_bytes: int

    def __str__(self) -> str:
        """For a terminal."""
        return f"{self.runtime} {self.precision} {self.kernel}"


@dataclass(frozen=True, eq=False)
class Subject:
    """A runner to measure.

    Attributes:
        label: What it is.
        runner: The network.
        dequantize: Scale and zero point of an integer runner's logits.
    """

    label: Label
    runner: Runner
    dequantize: Affine | None = None


@dataclass(frozen=True)
class Row:
    """Figures of one runner.

    Attributes:
        label: What it is.
        latency: Times of one inference.
        rotations: Outputs under turns of 90, 180 and 270 degrees.
        mirrors: Outputs under the four mirror images.
        angles: Error at other angles; empty if it was not measured.
        scores: Accuracy, AUC and loss; None without data.
        agreement: Share of predictions that are those of the first float runner, on
            the same data; None without data or without another float runner.
    """

    label: Label
    latency: Latency
    rotations: ExactSymmetry
    mirrors: ExactSymmetry
    angles: tuple[AngleError, ...] = ()
    scores: Scores | None = None
    agreement: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        runs: Timed inferences of each runner.
        threads: What the runners were made with.
        angles: Degrees besides the exact turns; empty to leave them out.
    """

    runs: int = 200
    threads: int = 1
    angles: tuple[float, ...] = ANGLES


def measure(
    subjects: Sequence[Subject],
    images: NDArray[np.uint8],
    *,
    plan: Plan,
    patches: Patches | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Row, ...]:
    """Measure all subjects.

    Args:
        subjects: Runners of one network.
        images: (N, S, S, C) pixels that are turned; the first one is timed.
        plan: What to measure.
        patches: Labelled images, where accuracy is wanted.
        progress: Told what is going on.

    Returns:
        One row per subject, in their order.

    Raises:
        DataError: the patches do not fit the network.
        InputError: there are no images, or they are not square.
    """
    # Accuracy first: data that do not fit are found before minutes have passed.
    logits: list[NDArray[np.float64]] = []
    if patches is not None:
        for subject in subjects:
            progress(f"accuracy: {subject.label}")
            logits.append(
                predicted(
                    subject.runner,
                    patches,
                    input_size=images.shape[1],
                    dequantize=subject.dequantize,
                )
            )
    progress("latency")
    times = latencies(
        [subject.runner for subject in subjects],
        images[:1],
        runs=plan.runs,
        threads=plan.threads,
    )
    together = [Measured(subject.runner, subject.dequantize) for subject in subjects]
    angles = angle_errors_together(together, images, plan.angles, progress=progress)
    rows = []
    for index, subject in enumerate(subjects):
        progress(f"symmetry: {subject.label}")
        scores = None
        if patches is not None:
            scores = score(logits[index], patches.labels)
        rows.append(
            Row(
                subject.label,
                times[index],
                *_symmetry(subject, images),
                angles=angles[index],
                scores=scores,
                agreement=_agreement(index, subjects, logits),
            )
        )
    return tuple(rows)


def _symmetry(
    subject: Subject, images: NDArray[np.uint8]
) -> tuple[ExactSymmetry, ExactSymmetry]:
    """Exact turns, and mirror images."""
    runner, dequantize = subject.runner, subject.dequantize
    return (
        exact_symmetry(runner, images, ROTATIONS, dequantize=dequantize),
        exact_symmetry(runner, images, MIRRORS, dequantize=dequantize),
    )


def _agreement(
    index: int, subjects: Sequence[Subject], logits: Sequence[NDArray[np.float64]]
) -> float | None:
    """Agreement with the first float runner, which has none itself."""
    floats = [i for i, subject in enumerate(subjects) if not subject.runner.integer]
    if not logits or not floats or floats[0] == index:
        return None
    return agreement(logits[index], logits[floats[0]])
