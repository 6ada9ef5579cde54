"""What `mobileq bench` does with a result: show it, write it, hold it to conditions."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from mobileq.bench.gate import violations
from mobileq.bench.report import lines, tables
from mobileq.bench.result import Result
from mobileq.cli.bench_inputs import write_file, write_json
from mobileq.cli.bench_request import Gate, Outputs
from mobileq.cli.output import console
from mobileq.errors import VerificationError


def show(result: Result, lost: Sequence[str]) -> None:
    """Print the tables, and what they hold for."""
    screen = console()
    for table in tables(result):
        screen.print(table)
    for line in (*lost, *lines(result)):
        screen.print(line, soft_wrap=True, markup=False)


def write(
    result: Result, page: bytes | None, outputs: Outputs, screen: Console
) -> None:
    """Write all files, each whole or not at all, and name them on `screen`.

    Raises:
        CheckpointError: one cannot be written.
    """
    for path in outputs.json_files:
        write_json(result.to_dict(), path)
        screen.print(f"{path}: all figures", soft_wrap=True, markup=False)
    for path in outputs.reports:
        assert page is not None
        write_file(page, path)
        screen.print(f"{path}: report", soft_wrap=True, markup=False)


def check(gate: Gate, result: Result, screen: Console) -> None:
    """Compare a result with what must not happen, and say so on `screen`.

    Raises:
        InputError: a condition that no row can answer.
        VerificationError: one holds.
    """
    old = gate.baseline
    before = None if old is None else old.rows
    verdict = violations(gate.conditions, result.rows, before)
    notes = list(verdict.notes)
    if old is not None and str(old.machine) != str(result.machine):
        notes.append(
            f"{gate.path} was measured on another machine ({old.machine}): its times "
            f"and sizes in memory say little here."
        )
    if old is not None and old.data_sha256 != result.data_sha256:
        notes.append(f"{gate.path} was measured on other images.")
    for line in (*verdict.failures, *notes):
        screen.print(line, soft_wrap=True, markup=False)
    if verdict.failures:
        count = len(verdict.failures)
        raise VerificationError(
            f"{count} figure{'' if count == 1 else 's'} of {result.target} "
            f"fail{'s' if count == 1 else ''} --fail-if; wanted none (the lines above "
            f"say which)"
        )
    count = len(gate.conditions)
    screen.print(
        "1 condition checked: it does not hold."
        if count == 1
        else f"{count} conditions checked: none of them holds."
    )
