"""Files on phones and boards, as rows of a benchmark.

    time and memory     by the device's own tool, after a rest
    outputs             raw, of the same images as here and of their quarter turns:
                        what turning changes, accuracy, agreement with the float file
                        on the same device, difference from this machine

Several devices are worked with side by side. A setting that fails is a row that says
why; a device that vanishes ends its list, and leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.accuracy import as_real
from mobileq.bench.equivariance import MIRRORS, ROTATIONS, exact_symmetry, moved
from mobileq.bench.figures import Label, Row
from mobileq.bench.machine import Device
from mobileq.bench.plan import Bench
from mobileq.bench.scoring import accuracy_of, agreement_of
from mobileq.bench.store import Identity
from mobileq.bench.subject import Candidate
from mobileq.contract import Head
from mobileq.runtimes.device_figures import (
    Known,
    against_here,
    cost_of,
    described,
    notes_of,
)
from mobileq.runtimes.device_runner import DeviceRunner
from mobileq.verify.headed import Unheaded
from mobileq.verify.runner import PixelMap, Runner
from mobileq_android.devices import Chosen
from mobileq_android.errors import DeviceGoneError, PhoneError, ToolError
from mobileq_android.process import Stop
from mobileq_android.rows import together
from mobileq_android.session import Session
from mobileq_android.tools import THREADED, Setting, settings, usual_delegates

Logits = NDArray[np.float64]


@dataclass(frozen=True)
class DevicePlan:
    """What is measured on devices.

    Attributes:
        chosen: The devices, by name.
        delegates: What computes; the usual ones of each device if there are none.
        threads: Of one inference; each number makes rows of its own.
    """

    chosen: dict[str, Chosen]
    delegates: tuple[str, ...]
    threads: tuple[int, ...]


@dataclass(frozen=True)
class DeviceRows:
    """What devices gave.

    Attributes:
        rows: Figures, device by device.
        devices: What they are.
        notes: What there is to say, a line each.
    """

    rows: tuple[Row, ...]
    devices: tuple[Device, ...]
    notes: tuple[str, ...]


def device_rows(
    plan: DevicePlan,
    candidates: Sequence[Candidate],
    bench: Bench,
    labels: NDArray[np.integer[Any]] | None,
    stop: Stop,
) -> DeviceRows:
    """Measure files on all devices at once.

    Args:
        plan: Devices and settings.
        candidates: TFLite files of one network.
        bench: Images, and where results are kept.
        labels: (N,) classes of the bench's images; None without accuracy.
        stop: Set when the user interrupts.

    Raises:
        PhoneError: a device, a tool or a file cannot be used; all are left clean.
    """

    def work(name: str) -> DeviceRows:
        one, found = plan.chosen[name], DeviceRows((), (), ())
        try:
            with Session(one.target, one.options, stop, _teller(bench)) as session:
                found = _Work(plan, session, bench, labels).rows(candidates)
        except DeviceGoneError as error:
            # Perhaps only while it was cleaned up.
            return found if found.notes else replace(found, notes=(str(error),))
        return found

    found = together(list(plan.chosen), work, stop)
    if not any(one.rows for one in found):
        raise PhoneError("; ".join(note for one in found for note in one.notes))
    return DeviceRows(
        tuple(row for one in found for row in one.rows),
        tuple(device for one in found for device in one.devices),
        tuple(note for one in found for note in one.notes),
    )


def _teller(bench: Bench) -> Callable[[str], None]:
    """Says what is going on."""
    return lambda line: bench.progress(line, 0, 0)


@dataclass(frozen=True)
class _Work:
    """What is done on one device."""

    plan: DevicePlan
    session: Session
    bench: Bench
    labels: NDArray[np.integer[Any]] | None

    def rows(self, candidates: Sequence[Candidate]) -> DeviceRows:
        """All files with all settings."""
        session = self.session
        delegates = self.plan.delegates or usual_delegates(session.device.kind)
        device = described(session)
        found: list[Row] = []
        notes: list[str] = []
        floats: dict[str, Logits] = {}
        try:
            for setting in settings(delegates, self.plan.threads):
                for candidate in candidates:
                    found.append(self._row(device, candidate, setting, floats))
        except DeviceGoneError as error:
            notes.append(f"{error}; its rows are those from before")
        if not session.compares:
            notes.append(
                f"{device.name}: outputs were not compared: {device.tool} gives none "
                f"(a benchmark_model with --output_filepath does, and --device-python)"
            )
        return DeviceRows(tuple(found), (device,), tuple(notes))

    def _row(
        self,
        device: Device,
        candidate: Candidate,
        setting: Setting,
        floats: dict[str, Logits],
    ) -> Row:
        """One file with one setting, kept or new."""
        label = replace(
            candidate.label,
            runtime=device.kind,
            kernel=setting.delegate,
            threads=setting.threads,
            device=device.name,
        )
        reason = self.session.why_not(setting)
        if reason is not None:
            return Row(label, unavailable=reason)
        # Outputs do not depend on the number of threads.
        several = setting.delegate in THREADED
        first = not several or setting.threads == self.plan.threads[0]
        asks = first and self.session.compares
        identity, store = self._identity(device, asks), self.bench.store
        kept = store.figures(Row, label, "device", identity)
        scored = label.precision == "float" and asks and self.labels is not None
        if kept is not None:
            logits = store.array(label, "device", identity) if scored else None
            if logits is not None:
                floats[label.kernel] = logits
            return kept
        try:
            found = self._measured(label, candidate, setting, floats, asks=asks)
        except ToolError as error:
            return Row(label, unavailable=str(error))
        logits = floats.get(label.kernel) if scored else None
        store.keep(label, "device", identity, found, logits)
        return found

    def _measured(
        self,
        label: Label,
        candidate: Candidate,
        setting: Setting,
        floats: dict[str, Logits],
        *,
        asks: bool,
    ) -> Row:
        """One file with one setting.

        Raises:
            ToolError: it cannot be timed.
        """
        assert candidate.spec is not None
        data = Path(candidate.spec.path).read_bytes()
        path = self.session.put(Path(candidate.spec.path))
        timed = self.session.time(path, setting)
        row = Row(label, cost=cost_of(timed, setting.threads), notes=notes_of(timed))
        if not asks:
            return row
        pixels = candidate.spec.pixels or PixelMap()
        try:
            runner = DeviceRunner(self.session, path, data, setting, pixels)
            return self._compared(row, candidate, runner, floats)
        except ToolError as error:
            return replace(row, notes=(*row.notes, str(error)))

    def _compared(
        self,
        row: Row,
        candidate: Candidate,
        device: DeviceRunner,
        floats: dict[str, Logits],
    ) -> Row:
        """A row with what outputs tell.

        Raises:
            ToolError: there are none.
        """
        assert candidate.spec is not None
        images, dequantize = self.bench.images, candidate.dequantize
        motions = (*ROTATIONS, *MIRRORS) if self.bench.square else ()
        # In one call: every call pushes files and starts programs.
        known = Known(
            device, np.concatenate([images, *(moved(images, m) for m in motions)])
        )
        head = candidate.spec.head
        runner: Runner = known
        if head is not Head.NONE:
            runner = Unheaded(known, head, candidate.spec.output)
        row = replace(row, host=against_here(device, known, images))
        if motions:
            turned, mirrored = (
                exact_symmetry(runner, images, some, dequantize=dequantize)
                for some in (ROTATIONS, MIRRORS)
            )
            row = replace(row, rotations=turned, mirrors=mirrored)
        logits = as_real(runner, runner.outputs(images), dequantize)
        if self.labels is None or logits.ndim != 2:
            return row
        row = replace(row, accuracy=accuracy_of(logits, self.labels))
        if row.label.precision == "float":
            floats[row.label.kernel] = logits
        elif row.label.kernel in floats:
            agreement = agreement_of(logits, floats[row.label.kernel], self.labels)
            row = replace(row, agreement=agreement)
        return row

    def _identity(self, device: Device, asks: bool) -> Identity:
        """What decides a row besides its label."""
        labelled = self.bench.labelled
        options = self.plan.chosen[device.name].options
        return Identity(
            f"{device.tool}; {self.session.interpreter}",
            f"{device} {device.build}",
            "" if labelled is None else labelled.name,
            "" if labelled is None else labelled.checksum,
            {
                "images": self.bench.digest() if asks else None,
                "budget": asdict(options.budget),
                "pin": options.pin,
            },
        )
