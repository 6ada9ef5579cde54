"""`mobileq report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="bench.json files, or directories; all bench.json in these are taken."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("report.html"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Put results of 'mobileq bench' side by side in one HTML report."""
    from mobileq.bench.html import render
    from mobileq.bench.merge import merged
    from mobileq.bench.report import lines
    from mobileq.bench.result import read_result
    from mobileq.cli.bench_inputs import write_file
    from mobileq.cli.bench_page import page_of
    from mobileq.cli.output import console, refuse_existing

    refuse_existing(out, overwrite=overwrite)
    result = merged([read_result(path) for path in found_in(results)])
    write_file(render(page_of(result)), out)
    screen = console()
    for line in (*lines(result), f"{out}: report"):
        screen.print(line, soft_wrap=True, markup=False)


def found_in(paths: list[Path]) -> list[Path]:
    """The files that are meant, each once, those of a directory by name.

    Raises:
        InputError: a directory without any.
    """
    from mobileq.cli.bench_request import JSON
    from mobileq.errors import InputError

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(path.rglob(JSON))
        if not inside:
            raise InputError(
                f"{path}: holds no {JSON}; wanted a directory of 'mobileq bench --out'"
            )
        found += inside
    return list(dict.fromkeys(found))
