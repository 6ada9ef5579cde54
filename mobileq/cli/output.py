"""What the commands print with: one console for results, one for complaints."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from mobileq import __version__
from mobileq.errors import BundleError


def console() -> Console:
    """Console on standard output."""
    return Console(highlight=False)


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
