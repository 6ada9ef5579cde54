"""`mobileq doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mobileq.bench.machine import Machine
    from mobileq.runtimes.doctor import Finding


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not import the packages.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what is installed, which kernels will be used, and what to do.

    Exit code 1 if something that mobileq needs is missing, too old or broken.
    """
    from mobileq.bench.machine import this_machine
    from mobileq.cli.output import console, working
    from mobileq.runtimes.doctor import examine

    machine = this_machine()
    with working("looking") as status:
        findings = examine(
            machine,
            imports=not quick,
            progress=lambda name: status.update(f"importing {name}"),
        )
    bad = [finding for finding in findings if finding.state.bad]
    if as_json:
        import json
        from dataclasses import asdict

        rows = [{**asdict(one), "state": one.state.value} for one in findings]
        plain = {"machine": asdict(machine), "findings": rows, "healthy": not bad}
        typer.echo(json.dumps(plain, indent=1, allow_nan=False))
    else:
        _show(machine, findings)
        screen = console()
        if bad:
            names = ", ".join(finding.name for finding in bad)
            screen.print(f"To mend: {names}.", soft_wrap=True, markup=False)
        else:
            screen.print("Nothing to mend.")
    if bad:
        raise typer.Exit(1)


def _show(machine: Machine, findings: Sequence[Finding]) -> None:
    """Print what was found."""
    from rich import box
    from rich.table import Table

    from mobileq.cli.output import console

    screen = console()
    for line in (f"{machine}, Python {machine.python}", machine.details):
        screen.print(line, soft_wrap=True, markup=False)
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    for column in ("what", "", "found", "to do"):
        table.add_column(column, overflow="fold")
    for one in findings:
        table.add_row(*map(_plain, (one.name, one.state.value, one.found, one.remedy)))
    screen.print(table)


def _plain(text: str) -> str:
    """Text of others, without markup."""
    from rich.markup import escape

    return escape(text)
