"""`mobileq equivariance`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobileq.cli.bench_inputs import (
    KERNELS,
    RUNTIMES,
    Split,
    chosen_of,
    images_of,
    prepare,
    write_file,
    write_json,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobileq.bench.circle import Entrant
    from mobileq.bench.circle_report import CircleReport
    from mobileq.bundle import Bundle
    from mobileq.graph.base import Shape

    Pixels = Callable[[Shape], tuple[NDArray[np.uint8], str]]

SHIPPED = ("pcam-equivariant", "pcam-conventional")


def equivariance(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles, checkpoints, or names of shipped ones. (default: "
            "pcam-equivariant pcam-conventional)"
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="tflite, onnx or torch (float only); may be repeated. (default: "
            "tflite)"
        ),
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
            help="Turn images from here: directory with PCam's official HDF5 files; "
            "synthetic tissue by default."
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Of --data.")] = "test",
    images: Annotated[int, typer.Option(min=1, help="Number of images.")] = 64,
    step: Annotated[
        int, typer.Option(help="Degrees between two angles, a divisor of 90.")
    ] = 15,
    per_layer: Annotated[
        bool,
        typer.Option("--per-layer", help="Measure every tensor, float and INT8, too."),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the errors: .svg, .png or .pdf.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option(help="Write all figures to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files.")
    ] = False,
) -> None:
    """Measure what turning the image by any angle does, and in which layer."""
    chosen = chosen_of("--runtime", runtime or ["tflite"], RUNTIMES)
    sets = chosen_of("--kernels", kernels or ["xnnpack"], KERNELS)
    from mobileq.bench.circle import angles_of
    from mobileq.cli.bench_target import find_target
    from mobileq.cli.output import print_json, refuse_existing
    from mobileq.data.source import open_split

    angles = angles_of(step)
    for path in (plot, json_file):
        if path is not None:
            refuse_existing(path, overwrite=overwrite)
    if plot is not None:
        from mobileq.bench.polar import format_of

        format_of(plot)
    names = dict.fromkeys(targets or SHIPPED)
    found = [find_target(name, Path.cwd()) for name in names]
    patches = None if data is None else open_split(data, split)

    def pixels_of(shape: Shape) -> tuple[NDArray[np.uint8], str]:
        return images_of(shape, patches, images, f"{data}, {split}")

    report = _measure(
        found, chosen, sets, angles, pixels_of, threads=threads, per_layer=per_layer
    )
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)
    _write(report, plot, json_file, aside=as_json)


def _measure(
    found: Sequence[Bundle | str],
    runtimes: Sequence[str],
    kernels: Sequence[str],
    angles: Sequence[int],
    pixels_of: Pixels,
    *,
    threads: int,
    per_layer: bool,
) -> CircleReport:
    """Export what has to be, and measure.

    Raises:
        InputError: something is missing or damaged.
        VerificationError: an export disagrees with its checkpoint.
    """
    from mobileq.bench.circle import measure_circle
    from mobileq.bench.circle_report import CircleReport
    from mobileq.bench.machine import this_machine
    from mobileq.cli.equivariance_layers import measure_layers
    from mobileq.cli.output import working

    with working() as status:
        entrants: list[Entrant] = []
        for one in found:
            entrants += _entrants(one, runtimes, kernels, threads, status.update)
        shapes = dict.fromkeys(entrant.shape for entrant in entrants)
        given = {shape: pixels_of(shape) for shape in shapes}
        images = {shape: pixels for shape, (pixels, _) in given.items()}
        # Layers first: what is wrong with a bundle is found before minutes have passed.
        results = [
            measure_layers(one, images, progress=status.update)
            for one in (found if per_layer else ())
        ]
        curves = measure_circle(entrants, images, angles, progress=status.update)
    pixels, origin = next(iter(given.values()))
    return CircleReport(
        machine=this_machine(),
        images=origin,
        image_count=len(pixels),
        curves=curves,
        layers=tuple(one for one in results if not isinstance(one, str)),
        notes=tuple(one for one in results if isinstance(one, str)),
    )


def _entrants(
    found: Bundle | str,
    runtimes: Sequence[str],
    kernels: Sequence[str],
    threads: int,
    report: Callable[[str], None],
) -> list[Entrant]:
    """Every runner of one target."""
    from mobileq.bench.circle import Entrant

    network, subjects = prepare(
        found, runtimes, kernels, threads=threads, report=report
    )
    return [
        Entrant(network.name, network.group, network.shape, subject)
        for subject in subjects
    ]


def _show(report: CircleReport) -> None:
    """Print the tables, and what they say."""
    from mobileq.cli.output import console

    screen = console()
    for table in report.tables():
        screen.print(table)
    for layers in report.layers:
        screen.print(layers.table())
        for line in layers.lines():
            screen.print(line, soft_wrap=True, markup=False)
        screen.print()
    for note in report.notes:
        screen.print(note, soft_wrap=True, markup=False)
    screen.print(f"Measured on {report.machine}.", soft_wrap=True, markup=False)


def _write(
    report: CircleReport, plot: Path | None, json_file: Path | None, *, aside: bool
) -> None:
    """Write picture and figures, each whole or not at all.

    Args:
        report: What was measured.
        plot: File for the picture.
        json_file: File for the figures.
        aside: Name the files on standard error, since standard output is taken.

    Raises:
        CheckpointError: a file cannot be written.
    """
    from mobileq.cli.output import console, notes_console

    screen = notes_console() if aside else console()
    if plot is not None:
        from mobileq.bench.polar import format_of, polar_plot

        write_file(polar_plot(report, format_of(plot)), plot)
        screen.print(f"{plot}: errors by angle", soft_wrap=True, markup=False)
    if json_file is not None:
        write_json(report.to_dict(), json_file)
        screen.print(f"{json_file}: all figures", soft_wrap=True, markup=False)
