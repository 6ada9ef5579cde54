"""`mobileq reproduce`: one command for each experiment that compares both networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from mobileq.reproduce.training import Display

app = typer.Typer(
    name="reproduce",
    help="Train, export and measure both networks as the paper does.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataOption = Annotated[
    str,
    typer.Option(
        help="Directory with PCam's official HDF5 files, or 'synthetic' for made-up "
        "tissue."
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Use finished runs, continue interrupted ones.")
]
DeviceOption = Annotated[str, typer.Option(help="To train on: auto, cpu or cuda.")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing --out and --plot.")
]


@app.callback()
def reproduce() -> None:
    """Train, export and measure both networks as the paper does."""


@app.command()
def table1(
    data: DataOption,
    preset: Annotated[
        str,
        typer.Option(
            help="paper: 300 epochs, C12, width 1, two strides reduced; small: what a "
            "CPU can do; smoke: seconds."
        ),
    ] = "paper",
    equivariant: Annotated[
        str | None,
        typer.Option(help="Take this checkpoint or shipped name; train nothing."),
    ] = None,
    conventional: Annotated[
        str | None, typer.Option(help="The same for the conventional network.")
    ] = None,
    runs_dir: Annotated[
        Path, typer.Option(help="Where runs and exported files are kept.")
    ] = Path("runs/table1"),
    resume: ResumeOption = False,
    runtime: Annotated[
        Literal["tflite", "onnx"], typer.Option(help="Whose files are measured.")
    ] = "tflite",
    kernels: Annotated[
        Literal["xnnpack", "builtin", "reference"], typer.Option(help="TFLite's.")
    ] = "xnnpack",
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="All figures as JSON. (default: table1.json in --runs-dir)"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="A picture: .svg, .png or .pdf. (default: table1.svg in --runs-dir)"
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure the accuracy of both networks, float and INT8, as exported files."""
    from mobileq.cli.reproduce_table1 import Request, run_table1
    from mobileq.reproduce.plots import table1_plot

    given = {"equivariant": equivariant, "conventional": conventional}
    request = Request(
        data=data,
        preset=preset,
        given={name: value for name, value in given.items() if value is not None},
        runs_dir=runs_dir,
        resume=resume,
        overwrite=overwrite,
        runtime=runtime,
        kernels=kernels,
        seed=seed,
        device=device,
    )
    files = (out or runs_dir / "table1.json", plot or runs_dir / "table1.svg")
    kind = _check_files(*files, overwrite=overwrite)
    with _display() as display:
        report = run_table1(request, _use_threads(threads), display)
    _show(report.tables(), report.notes(), str(report.machine))
    _write(files, report.to_dict(), table1_plot(report, kind))


@app.command("data-efficiency")
def data_efficiency(
    data: DataOption,
    sizes: Annotated[
        str, typer.Option(help="Numbers of training patches; 'all' is a number too.")
    ] = "500,2000,8000,all",
    group: Annotated[str, typer.Option(help="Symmetry group C<N> or D<N>.")] = "C4",
    width: Annotated[float, typer.Option(help="Width multiplier.")] = 0.25,
    reduced_strides: Annotated[
        int, typer.Option(help="Stride-2 layers, from the last, that get stride 1.")
    ] = 1,
    input_size: Annotated[int, typer.Option(help="Images are cropped to this.")] = 95,
    seeds: Annotated[
        str, typer.Option(help="Each decides parts, weights and order.")
    ] = "0,1,2",
    epochs: Annotated[
        int, typer.Option(help="Passes over the largest part; the steps of every run.")
    ] = 12,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 4e-3,
    stain_jitter: Annotated[
        float, typer.Option(help="Strength of the stain augmentation; 0: none.")
    ] = 0.1,
    runs_dir: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path(
        "runs/data-efficiency"
    ),
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="All figures as JSON. (default: data-efficiency.json in --runs-dir)"
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="A picture: .svg, .png or .pdf. (default: data-efficiency.svg in "
            "--runs-dir)"
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure accuracy against the number of training patches."""
    from mobileq.cli.reproduce_efficiency import run_efficiency
    from mobileq.models.spec import ModelSpec
    from mobileq.reproduce.plots import efficiency_plot
    from mobileq.train.config import TrainConfig

    spec = ModelSpec(
        group=group,
        width=width,
        input_size=input_size,
        reduced_strides=reduced_strides,
    )
    config = TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        stain_jitter=stain_jitter,
        device=device,
    )
    name = "data-efficiency"
    files = (out or runs_dir / f"{name}.json", plot or runs_dir / f"{name}.svg")
    kind = _check_files(*files, overwrite=overwrite)
    _use_threads(threads)
    with _display() as display:
        report = run_efficiency(
            data, spec, config, sizes, seeds, runs_dir, resume=resume, display=display
        )
    _show([report.table()], report.notes(), str(report.machine))
    _write(files, report.to_dict(), efficiency_plot(report, kind))


def _check_files(out: Path, plot: Path, *, overwrite: bool) -> str:
    """Find out before hours of work whether its results can be written at its end.

    Returns:
        Format of the picture.

    Raises:
        BundleError: a file exists already, or its directory cannot be written.
        InputError: another format of picture.
    """
    import tempfile

    from mobileq.bench.polar import format_of
    from mobileq.cli.output import refuse_existing
    from mobileq.errors import BundleError

    kind = format_of(plot)
    for path in (out, plot):
        refuse_existing(path, overwrite=overwrite)
        # Directories are made later: bad input leaves nothing behind.
        there = next(one for one in path.absolute().parents if one.exists())
        try:
            if path.is_dir():
                raise IsADirectoryError(0, "is a directory")
            with tempfile.TemporaryFile(dir=there):
                continue
        except OSError as error:
            raise BundleError(
                f"{path}: cannot be written ({error.strerror}); wanted a file name in "
                f"a writable directory"
            ) from error
    return kind


def _use_threads(threads: int) -> int:
    """Set torch's threads; returns how many an inference may use."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    return threads or torch.get_num_threads()


@contextmanager
def _display() -> Iterator[Display]:
    """A line that changes, on a terminal, and lines that stay.

    Yields:
        What the experiments report to.
    """
    from mobileq.cli.output import console, working
    from mobileq.reproduce.training import Display

    screen = console()
    try:
        with working() as status:
            yield Display(
                status.update,
                lambda line: screen.print(line, soft_wrap=True, markup=False),
            )
    except KeyboardInterrupt:
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(
            "interrupted; give the same command with --resume to continue it"
        )
        raise


def _show(tables: list[Table], notes: tuple[str, ...], machine: str) -> None:
    """Print the tables, and what they hold for."""
    from mobileq.cli.output import console

    screen = console()
    for table in tables:
        screen.print(table)
    for line in (*notes, f"Measured on {machine}."):
        screen.print(line, soft_wrap=True, markup=False)


def _write(files: tuple[Path, Path], values: dict[str, object], picture: bytes) -> None:
    """Write figures and picture, each whole or not at all.

    Raises:
        CheckpointError: a file cannot be written.
    """
    from mobileq.cli.bench_inputs import write_file, write_json
    from mobileq.cli.output import console

    out, plot = files
    write_json(values, out)
    write_file(picture, plot)
    for path, what in ((out, "all figures"), (plot, "picture")):
        console().print(f"{path}: {what}", soft_wrap=True, markup=False)
