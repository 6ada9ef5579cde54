"""The `mobileq` command.

Nothing heavy is imported here or at the top of a command's file, so that `--help`
answers at once; a command imports what it needs when it runs.
"""

from __future__ import annotations

import sys

import typer
from typer.exceptions import TyperException

from mobileq.cli.arm64 import arm64
from mobileq.cli.bench import bench
from mobileq.cli.certify import certify
from mobileq.cli.collapse import collapse
from mobileq.cli.compare import compare
from mobileq.cli.data import app as data
from mobileq.cli.doctor import doctor
from mobileq.cli.equivariance import equivariance
from mobileq.cli.export import export
from mobileq.cli.inspect import inspect
from mobileq.cli.interrupts import Interrupts
from mobileq.cli.models import models
from mobileq.cli.output import complain, version_callback
from mobileq.cli.report import report
from mobileq.cli.reproduce import app as reproduce
from mobileq.cli.train import train
from mobileq.cli.verify import verify
from mobileq.errors import MobileqError
from mobileq.extras import as_not_installed

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the signal's number."""

app = typer.Typer(
    name="mobileq",
    help="From a trained rotation-equivariant CNN to verified INT8 files on a phone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(export)
app.command()(collapse)
app.command()(certify)
app.command()(verify)
app.command()(bench)
app.command()(arm64)
app.command()(compare)
app.command()(report)
app.command()(equivariance)
app.command()(inspect)
app.command()(doctor)
app.command()(models)
app.add_typer(data)
app.add_typer(reproduce)


@app.callback()
def root(version: bool = version_callback) -> None:
    """From a trained rotation-equivariant CNN to verified INT8 files on a phone."""


def main() -> None:
    """Run the command line; the exit code is 0, 1 or 2 as `errors` says."""
    with Interrupts() as interrupts:
        sys.exit(_run(interrupts))


def _run(interrupts: Interrupts) -> int:
    """Run the command; what it raises becomes a line and an exit code."""
    try:
        # Not standalone: typer would frame its own complaints over several lines.
        return app(standalone_mode=False, prog_name="mobileq") or 0
    except MobileqError as error:
        complain(str(error))
        return error.exit_code
    except TyperException as error:
        message = error.format_message()
        if message:  # none where the help was printed instead
            complain(f"{message} (see mobileq --help)")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if interrupts.pressed:
            return INTERRUPTED
        lacking = None
        if isinstance(error, ModuleNotFoundError):
            lacking = as_not_installed(error)
        if lacking is None:
            raise
        complain(str(lacking))
        return lacking.exit_code


if __name__ == "__main__":
    main()
