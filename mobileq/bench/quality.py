"""What one file computes: accuracy, what turning changes, and time per operator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.accuracy import predicted
from mobileq.bench.equivariance import (
    MIRRORS,
    ROTATIONS,
    AngleError,
    ExactSymmetry,
    angle_errors,
    exact_symmetry,
)
from mobileq.bench.figures import Label, Operator, Row
from mobileq.bench.operators import operators
from mobileq.bench.plan import Bench
from mobileq.bench.process import ProcessRunner
from mobileq.bench.scoring import accuracy_of
from mobileq.bench.spec import RunnerSpec
from mobileq.bench.subject import Candidate, Labelled

Logits = NDArray[np.float64]


@dataclass(frozen=True)
class Symmetry:
    """What turning changes."""

    rotations: ExactSymmetry
    mirrors: ExactSymmetry
    angles: tuple[AngleError, ...]


@dataclass(frozen=True)
class Operators:
    """A profile, and what to know about it."""

    nodes: tuple[Operator, ...]
    note: str


def quality(
    candidate: Candidate, spec: RunnerSpec, bench: Bench
) -> tuple[Logits | None, Row, str]:
    """Logits, everything that does not depend on the clock, and the operators."""
    label, row, note = candidate.label, Row(candidate.label), ""
    logits = None
    with _Lazy(spec, bench) as runner:
        if bench.labelled is not None:
            logits = _logits(candidate, runner, bench, bench.labelled)
            bench.progress(f"accuracy: {label}", 0, 0)
            scores = accuracy_of(logits, bench.labelled.patches.labels)
            row = replace(row, accuracy=scores)
        if bench.square:
            found = _symmetry(candidate, runner, bench)
            row = replace(
                row,
                rotations=found.rotations,
                mirrors=found.mirrors,
                angles=found.angles,
            )
    if bench.plan.profile:
        profile = _operators(label, spec, bench)
        row = replace(row, operators=profile.nodes)
        note = profile.note and f"Operators of {label}: {profile.note}."
    return logits, row, note


class _Lazy:
    """A process that is started when it is needed, which it may never be."""

    def __init__(self, spec: RunnerSpec, bench: Bench) -> None:
        self._spec, self._bench = spec, bench
        self._stack = ExitStack()
        self._runner: ProcessRunner | None = None

    def __enter__(self) -> Callable[[], ProcessRunner]:
        return self._started

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _started(self) -> ProcessRunner:
        """The runner."""
        if self._runner is None:
            self._bench.progress(f"loading {self._spec.title}", 0, 0)
            self._runner = self._stack.enter_context(ProcessRunner(self._spec))
        return self._runner


Started = Callable[[], ProcessRunner]


def _logits(
    candidate: Candidate, runner: Started, bench: Bench, labelled: Labelled
) -> Logits:
    """Logits of all labelled images, kept or new."""
    label = candidate.label
    identity = replace(
        bench.identity(label.runtime, crop=list(bench.shape)),
        data=labelled.name,
        checksum=labelled.checksum,
    )

    def make() -> Logits:
        return predicted(
            runner(),
            labelled.patches,
            input_size=bench.shape,
            dequantize=candidate.dequantize,
            progress=lambda done, n: bench.progress(f"accuracy: {label}", done, n),
        )

    return bench.store.array_or(label, "logits", identity, make)


def _symmetry(candidate: Candidate, runner: Started, bench: Bench) -> Symmetry:
    """What turning changes, kept or new."""
    label, angles = candidate.label, bench.plan.angles

    def make() -> Symmetry:
        run, dequantize, what = runner(), candidate.dequantize, f"symmetry: {label}"
        bench.progress(what, 0, len(angles))
        exact = [
            exact_symmetry(run, bench.images, motions, dequantize=dequantize)
            for motions in (ROTATIONS, MIRRORS)
        ]
        errors: tuple[AngleError, ...] = ()
        if angles:
            errors = angle_errors(
                run,
                bench.images,
                angles,
                dequantize=dequantize,
                progress=lambda done, n: bench.progress(what, done, n),
            )
        return Symmetry(exact[0], exact[1], errors)

    identity = bench.identity(label.runtime, images=bench.digest(), angles=list(angles))
    return bench.store.figures_or(Symmetry, label, "symmetry", identity, make)


def _operators(label: Label, spec: RunnerSpec, bench: Bench) -> Operators:
    """Time per operator, kept or new."""

    def make() -> Operators:
        bench.progress(f"operators: {label}", 0, 0)
        return Operators(*operators(spec, bench.images))

    identity = bench.identity(label.runtime, timed=True)
    return bench.store.figures_or(Operators, label, "operators", identity, make)
