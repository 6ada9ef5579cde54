"""Everything that `mobileq bench` measures, for several files of one network.

    quality   accuracy, what turning changes, operators     one process after the other
    cost      time and memory                               fresh processes, in turns

Every part of every row is kept in a `Store` as soon as it is there, and what is kept
is not measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from mobileq.bench.cost import costs
from mobileq.bench.figures import Cost, Label, Row
from mobileq.bench.noise import Noise
from mobileq.bench.plan import Bench
from mobileq.bench.process import ProcessRunner
from mobileq.bench.quality import Logits, quality
from mobileq.bench.scoring import agreement_of
from mobileq.bench.spec import RunnerSpec
from mobileq.bench.subject import Candidate


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        rows: One per candidate, in their order.
        noise: How quiet it was while time was taken; None if nothing could be run.
        notes: What there is to say about the figures, a line each.
    """

    rows: tuple[Row, ...]
    noise: Noise | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Timed:
    """Cost of one file, and how quiet the machine was."""

    cost: Cost
    noise: Noise


def measure(candidates: Sequence[Candidate], bench: Bench) -> Measurement:
    """Measure all candidates.

    Args:
        candidates: Files of one network; the first float one among them is what the
            others' predictions are compared with.
        bench: How.

    Raises:
        DataError: the labelled images do not fit the network.
        InputError: a file cannot be run.
        RuntimeProcessError: a runtime crashed.
    """
    logits: dict[Label, Logits] = {}
    rows: dict[Label, Row] = {}
    notes: dict[str, None] = {}
    for candidate in candidates:
        label = candidate.label
        rows[label] = Row(label, unavailable=candidate.unavailable)
        if candidate.spec is not None and candidate.quality:
            found, row, note = quality(candidate, candidate.spec, bench)
            rows[label] = row
            notes[note] = None
            if found is not None:
                logits[label] = found
    reference = next((label for label in logits if label.precision == "float"), None)
    if bench.labelled is not None and reference is not None:
        labels = bench.labelled.patches.labels
        for label, found in logits.items():
            if label != reference:
                bench.progress(f"agreement: {label}", 0, 0)
                agreement = agreement_of(found, logits[reference], labels)
                rows[label] = replace(rows[label], agreement=agreement)
    timed = _timed([(c.label, c.spec) for c in candidates if c.spec is not None], bench)
    for label, one in timed.items():
        rows[label] = replace(rows[label], cost=one.cost)
    noise = next(iter(timed.values())).noise if timed else None
    return Measurement(
        tuple(rows[candidate.label] for candidate in candidates),
        noise,
        tuple(note for note in notes if note),
    )


def _timed(
    subjects: Sequence[tuple[Label, RunnerSpec]], bench: Bench
) -> Mapping[Label, Timed]:
    """Time and memory of all: all kept, or all measured in turns."""
    if not subjects:
        return {}
    together = [asdict(label) for label, _ in subjects]
    identities = {
        label: bench.identity(
            label.runtime,
            timed=True,
            plan=asdict(bench.plan.cost),
            together=together,
        )
        for label, _ in subjects
    }
    store = bench.store
    kept = {
        label: store.figures(Timed, label, "cost", identity)
        for label, identity in identities.items()
    }
    complete = {label: one for label, one in kept.items() if one is not None}
    if len(complete) == len(subjects):
        return complete
    with ExitStack() as stack:
        runners = []
        for place, (_, spec) in enumerate(subjects):
            bench.progress(f"loading {spec.title}", place, len(subjects))
            runners.append(stack.enter_context(ProcessRunner(spec)))
        measured = costs(
            runners,
            bench.images,
            plan=bench.plan.cost,
            progress=lambda what: bench.progress(what, 0, 0),
        )
    found = {}
    for (label, _), cost in zip(subjects, measured.costs, strict=True):
        latency = replace(cost.latency, threads=label.threads)
        found[label] = Timed(replace(cost, latency=latency), measured.noise)
        store.keep(label, "cost", identities[label], found[label])
    return found
