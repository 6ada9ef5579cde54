"""`mobileq arm64`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from mobileq.bench.turning import Motion
    from mobileq.bundle import Bundle
    from mobileq.runtimes.arm64_root import Arm64Root
    from mobileq.runtimes.emulated_rows import EmulatedRow

FILES = ("model.float.tflite", "model.int8.tflite")


def arm64(
    bundle: Annotated[Path, typer.Argument(help="Bundle that 'mobileq export' made.")],
    cpu: Annotated[
        list[str] | None,
        typer.Option(
            help="Emulated processor, as 'qemu-aarch64 -cpu help' names it; may be "
            "repeated. (default: cortex-a53 cortex-a76 neoverse-v1)"
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Number of images.")] = 8,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Directory that tools/arm64_root.sh made. (default: "
            "MOBILEQ_ARM64_ROOT)"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the TFLite files on arm64 kernels, without a phone, and compare every bit.

    LiteRT for arm64 runs under an emulator; its outputs are compared with those of this
    machine, and under the motions of the image. There are no times: an emulator's mean
    nothing. Exit code 1 if an INT8 output changes under a motion that is proven.
    """
    from mobileq.bundle import open_bundle
    from mobileq.cli.output import working
    from mobileq.errors import BundleError
    from mobileq.runtimes.arm64_root import CPUS, find_root

    opened = open_bundle(bundle)
    names = [name for name in FILES if name in opened.manifest["files"]]
    if not names:
        raise BundleError(
            f"{bundle}: holds no TFLite file; wanted {' or '.join(FILES)} (export "
            f"again with --formats tflite)"
        )
    found = find_root(root)
    proven = {name: _proven(opened, name) for name in names}
    rows: list[EmulatedRow] = []
    with working() as status:
        for name in names:
            rows += _rows(
                opened,
                name,
                found,
                cpus=cpu or CPUS,
                count=images,
                motions=proven[name],
                progress=status.update,
            )
    if as_json:
        import json

        plain = {"emulator": found.version, "rows": [row.to_dict() for row in rows]}
        typer.echo(json.dumps(plain, indent=1, allow_nan=False))
    else:
        _show(rows, found.version)
    _judge(bundle, rows, proven)


def _proven(bundle: Bundle, name: str) -> tuple[Motion, ...]:
    """Motions that a file's certificate covers.

    Raises:
        BundleError: the manifest is damaged.
    """
    from mobileq.manifest import read_manifest

    certificate = read_manifest(bundle).certificates.get(name)
    if certificate is None:
        return ()
    return tuple((turns, mirrored) for turns, mirrored in certificate.motions)


def _rows(
    bundle: Bundle,
    name: str,
    root: Arm64Root,
    *,
    cpus: Sequence[str],
    count: int,
    motions: Sequence[Motion],
    progress: Callable[[str], None],
) -> tuple[EmulatedRow, ...]:
    """One file on every processor; quarter turns are tried, proven or not.

    Raises:
        InputError: something is missing or damaged.
        RuntimeProcessError: an emulated process failed.
    """
    from mobileq.bench.equivariance import ROTATIONS
    from mobileq.cli.bench_target import network_of_bundle
    from mobileq.runtimes.emulated_rows import compare
    from mobileq.verify.images import verification_images

    bundle.read(name)  # compares its hash with the manifest's
    network = network_of_bundle(bundle, str(bundle.path))
    return compare(
        bundle.path / name,
        verification_images(network.shape, count=count),
        cpus,
        root=root,
        pixels=network.pixels,
        motions=tuple(dict.fromkeys((*ROTATIONS, *motions))),
        progress=progress,
    )


def _show(rows: Sequence[EmulatedRow], version: str) -> None:
    """Print a table for each file."""
    from mobileq.cli.output import console

    screen = console()
    for name in dict.fromkeys(row.file for row in rows):
        screen.print(_table(name, [row for row in rows if row.file == name]))
    screen.print(
        f"Outputs that differ in any bit. XNNPACK of LiteRT for arm64 under qemu "
        f"{version}, against XNNPACK of this machine. Emulated times mean nothing, so "
        f"there are none.",
        soft_wrap=True,
    )


def _table(name: str, rows: Sequence[EmulatedRow]) -> Table:
    """One file on every processor."""
    from rich import box
    from rich.table import Table

    from mobileq.bench.equivariance import ROTATIONS

    mirrored = any(motion[1] for row in rows for motion in row.changed)
    table = Table(
        title=name,
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1),
    )
    for column in ("emulated", "extensions"):
        table.add_column(column, overflow="fold")
    for column in ("not as x86", "at most", "turned"):
        table.add_column(column, justify="right", overflow="fold")
    if mirrored:
        table.add_column("mirrored", justify="right", overflow="fold")
    for row in rows:
        turns = [motion for motion in row.changed if motion in ROTATIONS]
        mirrors = [motion for motion in row.changed if motion[1]]
        table.add_row(
            *(row.cpu, " ".join(row.features)),
            *(f"{row.differing} of {row.images}", _largest(row)),
            _changed(row, turns),
            *([_changed(row, mirrors)] if mirrored else []),
        )
    return table


def _largest(row: EmulatedRow) -> str:
    """The largest difference, with its unit."""
    if row.largest_step is not None:
        return f"{row.largest_step} LSB"
    return f"{row.largest_relative:.2g} relative"


def _changed(row: EmulatedRow, motions: Sequence[Motion]) -> str:
    """How many outputs change, of how many."""
    if not motions:
        return "-"
    return f"{row.changed_under(motions)} of {row.images * len(motions)}"


def _judge(
    path: Path, rows: Sequence[EmulatedRow], proven: Mapping[str, Sequence[Motion]]
) -> None:
    """Check what is proven.

    Raises:
        VerificationError: an integer output changes all the same.
    """
    from mobileq.errors import VerificationError

    for row in rows:
        changed = row.changed_under(proven[row.file])
        if row.integer and changed:
            raise VerificationError(
                f"{path / row.file}: {changed} outputs change on {row.cpu} under "
                f"motions that are proven; wanted none (report it: LiteRT's kernels "
                f"break an assumption that 'mobileq certify' lists)"
            )
