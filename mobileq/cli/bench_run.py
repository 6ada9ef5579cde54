"""The steps of `mobileq bench`: open, measure, show, write, compare with a baseline."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from mobileq.bench.equivariance import ANGLES
from mobileq.bench.machine import busy_machine
from mobileq.bench.measure import Measurement, measure
from mobileq.bench.plan import Bench, Plan
from mobileq.bench.result import Result
from mobileq.bench.subject import Candidate, Labelled
from mobileq.bundle import Bundle
from mobileq.cli.bench_candidates import candidates_of
from mobileq.cli.bench_inputs import (
    check_data,
    images_of,
    opened,
)
from mobileq.cli.bench_output import check, show, write
from mobileq.cli.bench_request import Gate, Images, Outputs, Request
from mobileq.cli.bench_target import Network
from mobileq.cli.output import console, notes_console, print_json
from mobileq.contract import read_labels
from mobileq.data.fingerprint import fingerprint
from mobileq.data.source import SYNTHETIC, open_split
from mobileq.errors import NotInstalledError

if TYPE_CHECKING:
    from mobileq.bench.html import Example
    from mobileq.cli.bench_devices import DeviceRequest
    from mobileq.runtimes.device_rows import DeviceRows

Told = Callable[[str, int, int], None]


def run(request: Request, outputs: Outputs, gate: Gate | None) -> None:
    """Measure, show and write what was measured, and compare it with a baseline.

    Raises:
        MobileqError: bad input, a runtime that fails, or a condition of the gate.
    """
    lost: list[str] = []
    with _progress() as told, outputs.store(lost.append) as store:

        def report(what: str) -> None:
            told(what, 0, 0)

        needed = request.choice.runtimes
        if request.devices is not None:
            needed = (*needed, "tflite")
        with opened(request.target, needed, report=report) as (
            bundle,
            network,
        ):
            candidates = candidates_of(bundle, network, request.choice)
            _require_one(candidates)
            labelled = _labelled(request.images, network, told)
            patches = None if labelled is None else labelled.patches
            pixels, origin = images_of(
                network.shape, patches, request.images.count, str(request.images.name)
            )
            angles = ANGLES if request.angles else ()
            bench = Bench(
                Plan(request.cost, angles, request.profile),
                pixels,
                store,
                busy_machine(),
                labelled,
                told,
            )
            begun = datetime.now(UTC)
            # Devices first: one that is not there is known before minutes go by.
            far = _on_devices(request.devices, bundle, network, bench)
            measured = measure(candidates, bench)
            result = _result(request, network, bench, measured, begun, origin)
            if far is not None:
                result = _with_devices(result, far, bench)
            if request.per_layer:
                result = _with_layers(result, bundle or network.name, bench)
            page = None
            if outputs.wants_page:
                told("report", 0, 0)
                page = _page(result, bundle, candidates, bench)
    screen = notes_console() if outputs.printed else console()
    if outputs.printed:
        print_json(result.to_dict())
    else:
        show(result, lost)
    write(result, page, outputs, screen)
    if gate is not None:
        check(gate, result, screen)


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar on standard error where that is a terminal; nothing elsewhere."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True) as progress:
        progress.disable = not screen.is_terminal
        task = progress.add_task("starting", total=None, count="")

        def told(what: str, done: int, total: int) -> None:
            count = f"{done:,}/{total:,}" if total else ""
            progress.update(task, description=what, completed=done, count=count)
            # None as an argument of `update` would leave the last total there.
            progress.tasks[0].total = total or None

        yield told


def _require_one(candidates: Sequence[Candidate]) -> None:
    """Check that something can be measured.

    Raises:
        NotInstalledError: nothing can.
    """
    reasons = dict.fromkeys(c.unavailable for c in candidates if c.spec is None)
    if len(reasons) and all(candidate.spec is None for candidate in candidates):
        raise NotInstalledError(f"nothing to measure: {'; '.join(map(str, reasons))}")


def _labelled(images: Images, network: Network, told: Told) -> Labelled | None:
    """The labelled images, if there are any to be.

    Raises:
        DataError: they are missing, damaged, or do not fit the network.
    """
    if images.data is None:
        return None
    names = network.labels if images.labels is None else read_labels(images.labels)
    patches = open_split(
        images.data,
        images.split,
        limit=images.limit,
        labels=names or None,
        channels=network.shape[0],
        resize=min(network.shape[1:]) if images.resize else None,
    )
    check_data(network, patches, images.data)
    checksum = fingerprint(
        patches, lambda done, n: told(f"reading {images.data}", done, n)
    )
    return Labelled(patches, str(images.name), checksum)


def _result(
    request: Request,
    network: Network,
    bench: Bench,
    measured: Measurement,
    begun: datetime,
    origin: str,
) -> Result:
    """Everything that was found out."""
    labelled = bench.labelled
    return Result(
        target=network.name,
        group=network.group,
        classes=network.labels,
        command=shlex.join(["mobileq", *sys.argv[1:]]),
        measured=begun.isoformat(timespec="seconds"),
        machine=bench.machine,
        noise=measured.noise,
        images=origin,
        image_count=len(bench.images),
        data=None if labelled is None else labelled.name,
        data_sha256=None if labelled is None else labelled.checksum,
        rows=measured.rows,
        notes=(*_caveats(request, bench), *measured.notes),
    )


def _on_devices(
    request: DeviceRequest | None,
    bundle: Bundle | None,
    network: Network,
    bench: Bench,
) -> DeviceRows | None:
    """What phones and boards give; None if none are asked for.

    Raises:
        InputError: a device, a tool or a file cannot be used.
    """
    if request is None:
        return None
    from mobileq.cli.bench_devices import measured_on_devices

    assert bundle is not None  # TFLite files were asked for, too
    return measured_on_devices(request, bundle, network, bench)


def _with_devices(result: Result, found: DeviceRows, bench: Bench) -> Result:
    """A result with rows of phones and boards."""
    notes = list(found.notes)
    if bench.labelled is not None:
        notes.append(
            f"Devices were given the {len(bench.images)} images that are turned, and "
            f"their accuracy is of these."
        )
    return replace(
        result,
        rows=(*result.rows, *found.rows),
        devices=found.devices,
        notes=(*result.notes, *notes),
    )


def _with_layers(result: Result, found: Bundle | str, bench: Bench) -> Result:
    """A result with the symmetry of every tensor, or a note why there is none.

    Raises:
        InputError: the network's integers cannot be made again.
    """
    from mobileq.cli.equivariance_layers import measure_layers

    height, width, channels = bench.images.shape[1:]
    if not bench.square:
        return result
    errors = measure_layers(
        found,
        {(channels, height, width): bench.images},
        progress=lambda what: bench.progress(what, 0, 0),
    )
    if isinstance(errors, str):
        return replace(result, notes=(*result.notes, errors))
    return replace(result, layers=errors)


def _caveats(request: Request, bench: Bench) -> Iterator[str]:
    """What to know before these figures are compared with others."""
    data = request.images.data
    if data == SYNTHETIC:
        yield "Synthetic tissue says nothing about accuracy on real tissue."
    elif data is not None:
        yield (
            f"Accuracy holds for the files in {data}; compare it with published PCam "
            f"figures only if they are the official ones."
        )
    if not bench.square:
        height, width = bench.shape
        yield f"Images of {height}x{width} pixels are not turned: they are not square."
    if len(request.choice.threads) > 1:
        yield (
            f"Accuracy and symmetry were measured with {request.choice.threads[0]} "
            f"thread(s) only."
        )


def _page(
    result: Result,
    bundle: Bundle | None,
    candidates: Sequence[Candidate],
    bench: Bench,
) -> bytes:
    """The HTML report."""
    from mobileq.bench.html import render
    from mobileq.bench.html.summary import headline
    from mobileq.cli.bench_page import page_of, turned_examples

    main = headline(result.rows)
    chosen = next((c for c in candidates if main and c.label == main.label), None)
    examples: tuple[Example, ...] = ()
    if chosen is not None and bench.square:
        patches = None if bench.labelled is None else bench.labelled.patches
        examples = turned_examples(chosen, bench.images, patches, result.classes)
    return render(page_of(result, bundle, examples))
