"""`mobileq bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobileq.cli.bench_inputs import (
    KERNELS,
    RUNTIMES,
    Split,
    check_data,
    chosen_of,
    images_of,
    prepare,
    write_json,
)

if TYPE_CHECKING:
    from mobileq.bench.report import Report


def bench(
    target: Annotated[
        str | None,
        typer.Argument(
            help="Bundle, checkpoint, or name of a shipped one; by default the bundle "
            "in this directory, else pcam-equivariant."
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(help="tflite, onnx or torch; may be repeated. (default: tflite)"),
    ] = None,
    kernels: Annotated[
        list[str] | None,
        typer.Option(
            help="TFLite's xnnpack, builtin or reference; may be repeated. "
            "(default: xnnpack)"
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of one inference.")] = 1,
    data: Annotated[
        str | None,
        typer.Option(
            help="Measure accuracy: directory with PCam's official HDF5 files, or "
            "'synthetic'."
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Of --data.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use the first images of --data only.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="Images to turn, from --data or synthetic.")
    ] = 64,
    runs: Annotated[int, typer.Option(min=1, help="Timed inferences of each.")] = 200,
    angles: Annotated[
        bool, typer.Option(help="Measure the error at 15, 30, ... 345 degrees.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --json.")
    ] = False,
) -> None:
    """Measure speed, size, accuracy and what turning the image changes."""
    chosen = chosen_of("--runtime", runtime or ["tflite"], RUNTIMES)
    sets = chosen_of("--kernels", kernels or ["xnnpack"], KERNELS)
    from mobileq.cli.bench_target import find_target
    from mobileq.cli.output import console, refuse_existing
    from mobileq.data.source import open_split

    if json_file is not None:
        refuse_existing(json_file, overwrite=overwrite)
    found = find_target(target, Path.cwd())
    patches = None if data is None else open_split(data, split, limit=limit)
    from mobileq.bench.measure import Plan, measure
    from mobileq.bench.report import Report, this_machine

    screen = console()
    with screen.status("starting") as status:
        network, subjects = prepare(
            found, chosen, sets, threads=threads, report=status.update
        )
        if patches is not None:
            check_data(network, patches, str(data))
        pixels, origin = images_of(network.size, patches, images, f"{data}, {split}")
        plan = Plan(runs, threads) if angles else Plan(runs, threads, ())
        rows = measure(
            subjects, pixels, plan=plan, patches=patches, progress=status.update
        )
    report = Report(
        target=network.name,
        group=network.group,
        machine=this_machine(),
        images=origin,
        image_count=len(pixels),
        data=None if data is None else f"{data}, {split}",
        rows=rows,
    )
    _show(report, data)
    if json_file is not None:
        write_json(report.to_dict(), json_file)
        screen.print(f"{json_file}: all figures", soft_wrap=True, markup=False)


def _show(report: Report, data: str | None) -> None:
    """Print the tables, and what they hold for."""
    from mobileq.cli.output import console

    screen = console()
    for table in report.tables():
        screen.print(table)
    lines = [f"Measured on {report.machine}."]
    if data == "synthetic":
        lines.append("Synthetic tissue says nothing about accuracy on real tissue.")
    elif data is not None:
        lines.append(
            f"Accuracy holds for the files in {data}; compare it with published PCam "
            f"figures only if they are the official ones."
        )
    for line in lines:
        screen.print(line, soft_wrap=True, markup=False)
