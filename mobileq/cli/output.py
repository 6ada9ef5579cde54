"""What the commands print with: one console for results, one for complaints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.status import Status

from mobileq import __version__
from mobileq.errors import BundleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def console() -> Console:
    """Console on standard output."""
    return Console(highlight=False)


def notes_console() -> Console:
    """Console on standard error, for what is no part of the result."""
    return Console(stderr=True, highlight=False)


def working(what: str = "starting") -> Status:
    """A line that says what is being done, on standard error if that is a terminal."""
    return notes_console().status(what)


def print_json(values: Any) -> None:
    """Print plain values as JSON on standard output, and nothing else there."""
    import json

    typer.echo(json.dumps(values, indent=1, allow_nan=False))


def complain(message: str) -> None:
    """Print an error as one line on standard error."""
    line = " ".join(message.split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        "[red]mobileq:[/red]", end=" "
    )
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(line)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Stop before any work is done if the output exists.

    Raises:
        BundleError: it does, and may not be replaced.
    """
    if path.exists() and not overwrite:
        raise BundleError(
            f"{path}: exists already; wanted a new name (or --overwrite to replace it)"
        )


def load_images(path: Path) -> NDArray[np.uint8]:
    """Images of a .npy file.

    Raises:
        DataError: missing, or not an array of plain numbers.
    """
    import numpy as np

    from mobileq.errors import DataError

    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: cannot be read as an array ({error}); wanted a .npy file of "
            f"uint8 images (N, H, W, C)"
        ) from error


def _show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"mobileq {__version__}")
        raise typer.Exit


version_callback = typer.Option(
    False,
    "--version",
    help="Show the version and exit.",
    callback=_show_version,
    is_eager=True,
)


def load_calibration(path: Path, count: int) -> NDArray[np.uint8]:
    """Calibration images of a .npy file, or some of PCam's training split.

    Args:
        path: A file, or a directory with PCam's HDF5 files.
        count: How many patches of a directory are taken, evenly spread.

    Raises:
        DataError: neither, or damaged.
    """
    if not path.is_dir():
        return load_images(path)
    import numpy as np

    from mobileq.data.pcam import open_pcam

    patches = open_pcam(path, "train")
    count = min(len(patches), count)
    return patches.read(np.linspace(0, len(patches) - 1, count).astype(np.int64))
