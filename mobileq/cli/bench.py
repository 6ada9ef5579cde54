"""`mobileq bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobileq.bench.measure import Subject
    from mobileq.bench.report import Report
    from mobileq.bundle import Bundle
    from mobileq.cli.bench_target import Network
    from mobileq.data.patches import Patches

RUNTIMES = ("tflite", "onnx", "torch")
KERNELS = ("xnnpack", "builtin", "reference")
Split = Literal["train", "valid", "test"]


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
    chosen = _chosen("--runtime", runtime or ["tflite"], RUNTIMES)
    sets = _chosen("--kernels", kernels or ["xnnpack"], KERNELS)
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
        network, subjects = _prepare(
            found, chosen, sets, threads=threads, report=status.update
        )
        if patches is not None:
            _check_data(network, patches, str(data))
        pixels, origin = _images(network, patches, images, f"{data}, {split}")
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
        _write(report, json_file)
        screen.print(f"{json_file}: all figures", soft_wrap=True, markup=False)


def _chosen(
    option: str, values: Sequence[str], known: Sequence[str]
) -> tuple[str, ...]:
    """Values of a repeatable option, each once.

    Raises:
        InputError: one is unknown.
    """
    from mobileq.errors import InputError

    for value in values:
        if value not in known:
            raise InputError(f"{option} is {value!r}; wanted {' or '.join(known)}")
    return tuple(dict.fromkeys(values))


def _prepare(
    found: Bundle | str,
    runtimes: Sequence[str],
    kernels: Sequence[str],
    *,
    threads: int,
    report: Callable[[str], None],
) -> tuple[Network, list[Subject]]:
    """The network's properties and its runners; a checkpoint is exported first.

    Raises:
        InputError: something is missing or damaged.
        VerificationError: the export disagrees with the checkpoint.
    """
    from tempfile import TemporaryDirectory

    from mobileq.checkpoint import load_checkpoint
    from mobileq.cli import bench_target as targets

    formats = tuple(name for name in runtimes if name in targets.FILE_RUNTIMES)
    with TemporaryDirectory(prefix="mobileq-bench-") as folder:
        if not isinstance(found, str):
            bundle = found
            network = targets.network_of_bundle(bundle, str(bundle.path))
        elif formats:
            from mobileq.deploy import export_checkpoint

            out = Path(folder) / "model.mobileq"
            bundle = export_checkpoint(found, out, formats=formats, report=report)
            network = targets.network_of_bundle(bundle, found)
        else:
            checkpoint = load_checkpoint(found)
            network = targets.network_of_checkpoint(checkpoint)
            return network, [
                targets.torch_subject(checkpoint, network, threads=threads)
            ]
        subjects: list[Subject] = []
        for name in runtimes:
            report(f"loading {name}")
            if name == "torch":
                checkpoint = targets.checkpoint_of(bundle)
                subjects.append(
                    targets.torch_subject(checkpoint, network, threads=threads)
                )
            else:
                subjects += targets.file_subjects(
                    bundle, network, name, kernels=kernels, threads=threads
                )
    return network, subjects


def _check_data(network: Network, patches: Patches, data: str) -> None:
    """Check that data and network fit.

    Raises:
        DataError: another number of classes, or images that are too small.
    """
    from mobileq.errors import DataError

    if network.classes != 2:
        raise DataError(
            f"{data}: two classes; {network.name} has {network.classes} (leave --data "
            f"out, or measure a network of two classes)"
        )
    if min(patches.size) < network.size:
        height, width = patches.size
        raise DataError(
            f"{data}: images of {height}x{width} px; {network.name} wants at least "
            f"{network.size}x{network.size} (leave --data out, or measure another "
            f"network)"
        )


def _images(
    network: Network, patches: Patches | None, count: int, data: str
) -> tuple[NDArray[np.uint8], str]:
    """Images to turn, (N, S, S, 3), and where they come from."""
    import numpy as np

    from mobileq.data.transforms import center_crop
    from mobileq.verify.images import verification_images

    if patches is None:
        shape = (3, network.size, network.size)
        return verification_images(shape, count=count), "synthetic tissue"
    # Spread over all of them: some data sets are sorted by label.
    rows = np.linspace(0, len(patches) - 1, min(count, len(patches))).astype(np.int64)
    read = patches.read(rows)
    return np.ascontiguousarray(center_crop(read, network.size)), data


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


def _write(report: Report, path: Path) -> None:
    """Write the JSON, whole or not at all.

    Raises:
        CheckpointError: the file cannot be written.
    """
    import json

    from mobileq.checkpoint import write_atomically

    text = json.dumps(report.to_dict(), indent=1, allow_nan=False)
    write_atomically(path, lambda temporary: _write_text(temporary, text + "\n"))


def _write_text(path: Path, text: str) -> None:
    """Write UTF-8."""
    path.write_text(text, encoding="utf-8")
