"""`mobileq compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mobileq.bench.noise import Noise
    from mobileq.bench.paired import Paired
    from mobileq.bench.spec import RunnerSpec

FORMAT = "mobileq-compare"
VERSION = 1
"""Of the JSON; raised when a key changes its meaning or goes."""

DEFAULT_FILE = "model.int8.tflite"


@dataclass(frozen=True)
class Contestant:
    """One side.

    Attributes:
        given: What the user named.
        path: The file.
        sha256: Of the file, in hexadecimal.
        bytes: Its size.
    """

    given: str
    path: Path
    sha256: str
    bytes: int


def compare(
    a: Annotated[str, typer.Argument(help=".tflite or .onnx file, or a bundle.")],
    b: Annotated[str, typer.Argument(help="Likewise; the one to compare with.")],
    file: Annotated[
        str, typer.Option("--file", help="Which file of a bundle.")
    ] = DEFAULT_FILE,
    kernels: Annotated[
        str, typer.Option(help="Of TFLite files: xnnpack, builtin or reference.")
    ] = "xnnpack",
    threads: Annotated[int, typer.Option(min=1, help="Of one inference.")] = 1,
    rounds: Annotated[
        int,
        typer.Option(min=3, help="Pairs of fresh processes."),
    ] = 10,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Of inference in each round.")
    ] = 1.0,
    json_file: Annotated[
        Path | None, typer.Option(help="Write all figures to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --json-file.")
    ] = False,
) -> None:
    """Compare the speed of two files, in turns, by the ratio of their times.

    Absolute times are not stable on shared machines; ratios of times taken in turns
    are. Each file runs in a process of its own, and in several of them one after the
    other.
    """
    from mobileq.bench.paired import PairedPlan
    from mobileq.bench.versus import compare_specs
    from mobileq.cli.bench_inputs import write_json
    from mobileq.cli.output import (
        console,
        notes_console,
        print_json,
        refuse_existing,
        working,
    )

    if json_file is not None:
        refuse_existing(json_file, overwrite=overwrite)
    sides = (find_file(a, file), find_file(b, file))
    specs = [spec_of(side.path, kernels, threads) for side in sides]
    with working() as status:

        def progress(done: int, every: int) -> None:
            status.update(f"round {min(done + 1, every)} of {every}")

        found, noise = compare_specs(
            specs[0], specs[1], PairedPlan(rounds, seconds), progress=progress
        )
    values = values_of(specs, sides, found, noise)
    if as_json:
        print_json(values)
    else:
        _print(specs, sides, _names(sides), found, noise)
    if json_file is not None:
        write_json(values, json_file)
        screen = notes_console() if as_json else console()
        screen.print(f"{json_file}: all figures", soft_wrap=True, markup=False)


def find_file(given: str, name: str) -> Contestant:
    """The file that a user means.

    Args:
        given: A bundle's directory, or a file.
        name: Which file of a bundle.

    Raises:
        BundleError: there is none, or it is not the one that was exported.
        InputError: a file of another kind.
    """
    from hashlib import sha256

    from mobileq.bundle import open_bundle
    from mobileq.errors import BundleError, InputError

    path = Path(given)
    if path.is_dir():
        bundle = open_bundle(path)
        if name not in bundle.manifest["files"]:
            files = sorted(n for n in bundle.manifest["files"] if _runtime(Path(n)))
            raise BundleError(
                f"{given}: holds no {name}; wanted one of {', '.join(files)} (--file)"
            )
        path, data = path / name, bundle.read(name)
    else:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(
                f"{given}: cannot be read ({error.strerror}); wanted a .tflite or "
                f".onnx file or a bundle"
            ) from error
    if not _runtime(path):
        raise InputError(
            f"{path}: is neither .tflite nor .onnx; wanted a file that can be run "
            f"(mobileq export makes both)"
        )
    return Contestant(given, path, sha256(data).hexdigest(), len(data))


def spec_of(path: Path, kernels: str, threads: int) -> RunnerSpec:
    """How to run a file.

    Raises:
        InputError: unknown kernels.
    """
    from mobileq.bench.spec import RunnerSpec

    if _runtime(path) == "tflite":
        return RunnerSpec("tflite", kernels, str(path), threads)
    return RunnerSpec("onnx", "cpu", str(path), threads)


def values_of(
    specs: list[RunnerSpec],
    sides: tuple[Contestant, Contestant],
    found: Paired,
    noise: Noise,
) -> dict[str, Any]:
    """Plain values for JSON."""
    from dataclasses import asdict

    from mobileq import __version__
    from mobileq.bench.machine import busy_machine
    from mobileq.bench.tables import plain

    described = [
        {
            "path": str(side.path),
            "sha256": side.sha256,
            "bytes": side.bytes,
            "runtime": spec.runtime,
            "kernel": spec.kernel,
            "threads": spec.threads,
        }
        for side, spec in zip(sides, specs, strict=True)
    ]
    values: dict[str, Any] = plain(
        {
            "format": FORMAT,
            "version": VERSION,
            "mobileq": __version__,
            "a": described[0],
            "b": described[1],
            **asdict(found),
            "real": found.real,
            "machine": asdict(busy_machine()),
            "noise": {**asdict(noise), "noisy": noise.noisy},
        }
    )
    return values


def _print(
    specs: list[RunnerSpec],
    sides: tuple[Contestant, Contestant],
    names: tuple[str, str],
    found: Paired,
    noise: Noise,
) -> None:
    """Print a table and what it means."""
    from mobileq.bench.machine import this_machine
    from mobileq.bench.tables import empty_table
    from mobileq.cli.output import console

    headers = ("runtime", "kernels", "threads", "KiB", "median ms", "runs")
    plural = f"{found.rounds} pairs of processes, {found.blocks} blocks each"
    table = empty_table(f"Time of one image ({plural})", headers)
    medians = (found.median_a_ms, found.median_b_ms)
    runs = (found.runs_a, found.runs_b)
    for index, (spec, side) in enumerate(zip(specs, sides, strict=True)):
        table.add_row(
            names[index],
            spec.runtime,
            spec.kernel,
            f"{spec.threads}",
            f"{side.bytes / 1024:,.0f}",
            f"{medians[index]:.3f}",
            f"{runs[index]:,}",
        )
    screen = console()
    screen.print(table)
    lines = [found.sentence(*names), noise.sentence, f"Measured on {this_machine()}."]
    for line in filter(None, lines):
        screen.print(line, soft_wrap=True, markup=False)


def _names(sides: tuple[Contestant, Contestant]) -> tuple[str, str]:
    """Names that tell the two apart: of files, with their folder's, or A and B."""
    a, b = (side.path.name for side in sides)
    if a == b:
        a, b = (f"{side.path.absolute().parent.name}/{a}" for side in sides)
    return (a, b) if a != b else (f"A ({a})", f"B ({b})")


def _runtime(path: Path) -> str | None:
    """What runs a file of this name."""
    return {".tflite": "tflite", ".onnx": "onnx"}.get(path.suffix)
