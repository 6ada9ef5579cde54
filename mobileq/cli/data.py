"""`mobileq data`: one command for each data set that can be fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from mobileq.data.archives import PcamFiles
    from mobileq.data.fetch import Outcome
    from mobileq.data.steps import Step

app = typer.Typer(
    name="data",
    help="Fetch data sets.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DOING = {"fetch": "fetching", "check": "checking", "unpack": "unpacking"}


@app.callback()
def data() -> None:
    """Fetch data sets."""


@app.command()
def pcam(
    directory: Annotated[
        Path, typer.Argument(help="Where the HDF5 files go; made if missing.")
    ],
    base_url: Annotated[
        str | None,
        typer.Option(
            help="Folder with the six .h5.gz files on another server. "
            "(default: the official record on zenodo.org)"
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="train, valid or test; may be repeated. (default: all)"),
    ] = None,
    keep_archives: Annotated[
        bool,
        typer.Option("--keep-archives", help="Leave the .h5.gz files after unpacking."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing but errors.")
    ] = False,
) -> None:
    """Fetch PatchCamelyon: 8 GB of archives, 9 GB unpacked.

    An interrupted run goes on where it stopped. Archives that were put into the
    directory by hand are checked and unpacked; files that are there stay.
    """
    from mobileq.data.archives import OFFICIAL, SPLITS

    files = OFFICIAL if base_url is None else OFFICIAL.mirrored(base_url)
    fetch_and_show(
        directory,
        files,
        split or SPLITS,
        keep_archives=keep_archives,
        quiet=quiet,
    )


def fetch_and_show(
    directory: Path,
    files: PcamFiles,
    splits: Sequence[str],
    *,
    keep_archives: bool = False,
    quiet: bool = False,
) -> None:
    """Fetch `files`; draw progress bars on a terminal, else print lines.

    Raises:
        DataError: as `mobileq.data.fetch.fetch_pcam` says.
    """
    from mobileq.cli.output import console
    from mobileq.data.fetch import fetch_pcam

    screen = console()
    screen.quiet = quiet
    with _bars(screen) as bars:
        outcomes = fetch_pcam(
            directory,
            files,
            splits=splits,
            keep_archives=keep_archives,
            report=_Display(screen, bars),
        )
    _show(screen, directory, files, outcomes)


def _bars(screen: Console) -> Progress:
    """Return bars that vanish at the end; none off a terminal."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    )


class _Display:
    """Shows steps: a bar for the stage that goes on, or a line where it begins."""

    def __init__(self, screen: Console, bars: Progress) -> None:
        self.screen = screen
        self.bars = bars
        self.task: TaskID | None = None
        self.title = ""

    def __call__(self, step: Step) -> None:
        title = f"{_DOING[step.stage]} {step.name}"
        if self.task is None or title != self.title:
            if self.task is not None:
                self.bars.remove_task(self.task)
            self.task, self.title = self.bars.add_task(title, total=step.total), title
            if not self.screen.is_terminal:
                self._line(f"{title} ({_size(step.total)})")
        self.bars.update(self.task, completed=step.done)
        if step.note:
            self._line(f"{step.name}: {step.note}")

    def _line(self, text: str) -> None:
        self.screen.print(text, soft_wrap=True, markup=False)


def _show(
    screen: Console, directory: Path, files: PcamFiles, outcomes: Sequence[Outcome]
) -> None:
    """Print what was done for each file and what can be done now."""
    names = {outcome.name for outcome in outcomes}
    for outcome in outcomes:
        fetched = f" ({_size(outcome.received)} received)" if outcome.received else ""
        what = {"kept": "was there already, kept"}.get(outcome.how, outcome.how)
        screen.print(f"{outcome.name}: {what}{fetched}", soft_wrap=True, markup=False)
    if all(outcome.how == "kept" for outcome in outcomes):
        screen.print("Nothing to fetch.", markup=False)
    counts = {a.split: a.patches for a in files.archives if a.name in names}
    listed = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    screen.print(
        f"{directory}: verified, patches: {listed}. Use it with --data {directory}",
        soft_wrap=True,
        markup=False,
    )


def _size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count} bytes"
