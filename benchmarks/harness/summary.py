"""The part of docs/benchmarks.md that is measured, between two markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.machine import BUSY
from benchmarks.harness.results import Result, goals_markdown
from mobileq.errors import InputError

BEGIN = "<!-- measured: begin (python benchmarks/run_all.py --update) -->"
END = "<!-- measured: end -->"

TITLES = {
    "speed_ratios": "Latency",
    "quantizers": "Against other quantizers",
    "export_cost": "Cost of an export",
}


def document(results: Sequence[Result]) -> str:
    """All results in Markdown, with a heading each; no date.

    Args:
        results: Of one machine.
    """
    parts = []
    for result in results:
        parts += [f"## {TITLES[result.name]}", where(result.machine)]
        if result.goals:
            parts.append(goals_markdown(result.goals))
        parts += [f"### {g.title}\n\n{g.markdown()}" for g in result.grids]
        if result.notes:
            parts.append("\n".join(f"- {note}" for note in result.notes))
    return "\n\n".join(parts)


def where(machine: Mapping[str, Any]) -> str:
    """The machine in a sentence or two, with what may have disturbed it."""
    names = {"onnxruntime": "ONNX Runtime", "ai-edge-litert": "LiteRT"}
    versions = ", ".join(
        f"{names.get(name, name)} {version}"
        for name, version in machine["packages"].items()
    )
    flags = ", ".join(machine["flags"]) or "no special instructions"
    cores = machine["cores"]
    text = (
        f"{machine['processor']} ({flags}), {cores} core{'' if cores == 1 else 's'}, "
        f"{machine['system']}; Python {machine['python']}, {versions}."
    )
    # The measurement itself is a load of one.
    others = max(0.0, machine["load"] - 1)
    if others / cores > BUSY:
        text += (
            f" Other programs ran beside it (load {machine['load']:.1f}): intervals "
            f"are wider than on a quiet machine."
        )
    return text


def updated(page: str, measured: str) -> str:
    """The page with other figures.

    Args:
        page: Has both markers, each in a line of its own.
        measured: What goes between them.

    Raises:
        InputError: a marker is missing, or they are in another order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(
            f"page without the lines {BEGIN!r} and {END!r}; wanted both, in this order"
        )
    return f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}"
