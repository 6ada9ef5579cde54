"""What `mobileq export` prints about a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mobileq.bundle import Bundle

_UNITS = {
    "relative error": "relative",
    "SQNR, dB": "dB",
    "largest step, LSB": "LSB",
    "changed by the group": "changed",
}
"""Short names of the measures."""


def proven(certificate: Mapping[str, Any]) -> str:
    """What a certificate says, in a sentence."""
    if not certificate["motions"]:
        first = certificate["breaks"][0]
        return f"NOT proven to be symmetric ({first['operator']}: {first['reason']})"
    turned = any(not mirrored for _, mirrored in certificate["motions"])
    mirrored = any(mirrored for _, mirrored in certificate["motions"])
    how = " or ".join(["turning"] * turned + ["mirroring"] * mirrored)
    group = certificate["group"]
    return f"{group} is proven: {how} the image changes no bit of the output"


def show_ladder(rungs: Sequence[Mapping[str, Any]]) -> None:
    """Print the rungs as a table."""
    from rich import box
    from rich.table import Table

    from mobileq.cli.output import console

    screen = console()
    ladder = Table(
        title="Verification ladder",
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1),
    )
    for column in ("checked", "against", "measure"):
        ladder.add_column(column, no_wrap=True)
    for column in ("found", "limit", ""):
        ladder.add_column(column, justify="right", no_wrap=True)
    for rung in rungs:
        ladder.add_row(
            rung["name"].removesuffix(", 1 thread"),
            rung["against"].removesuffix(", 1 thread"),
            _UNITS[rung["measure"]],
            f"{rung['value']:.2g}",
            f"{rung['limit']:g}",
            "ok" if rung["passed"] else "BROKEN",
        )
    screen.print(ladder)


def show(bundle: Bundle) -> None:
    """Print the ladder and the files."""
    from mobileq.cli.output import console

    screen = console()
    show_ladder(bundle.manifest["ladder"])
    for note in bundle.manifest.get("quantization", {}).get("notes", ()):
        screen.print(f"Note: {note}", soft_wrap=True)
    symmetry = bundle.manifest["exact_symmetry"]
    for name, certificate in bundle.manifest["certificates"].items():
        if symmetry["motions"] or certificate["motions"]:
            screen.print(f"{name}: {proven(certificate)}", soft_wrap=True)
    if not symmetry["motions"]:
        screen.print(f"No exact symmetry: {symmetry['why_not']}.", soft_wrap=True)
    for name, entry in bundle.manifest["files"].items():
        screen.print(f"{bundle.path / name}  {entry['bytes']:,} bytes", soft_wrap=True)


MOST_COSTLY = 10
"""Layers in the table on the terminal; explain.json has all."""


def show_explanation(bundle: Bundle) -> None:
    """Print the layers that cost most."""
    import json

    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from mobileq.cli.output import console
    from mobileq.deploy.explain import DATA, Explanation

    found = Explanation.from_dict(json.loads(bundle.read(DATA)))
    table = Table(
        title="What costs most (dB of SQNR; the logits' with one layer quantized)",
        title_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1),
    )
    # On a narrow terminal names are folded; numbers never are.
    table.add_column("layer", overflow="fold")
    columns = ["logits", "weights", "tensor", "factors", "range"]
    absorbed = any(layer.absorbed for layer in found.layers)
    for column in [*columns, "absorbed"] if absorbed else columns:
        table.add_column(column, justify="right", no_wrap=True)
    for layer in found.by_cost[:MOST_COSTLY]:
        weights = layer.weight_sqnr_db
        cells = [
            escape(layer.name),
            f"{layer.cost_db:.1f}",
            "" if weights is None else f"{weights:.1f}",
            f"{layer.tensor_sqnr_db:.1f}",
            f"{layer.factors[0]:.2g}..{layer.factors[1]:.2g}",
            f"{layer.low:.3g}..{layer.high:.3g}",
        ]
        table.add_row(*cells, *([f"{layer.absorbed:.2g}"] if absorbed else []))
    screen = console()
    screen.print(table)
    # Advice names tables of a recipe, such as [ranges], which are no markup.
    screen.print(found.headline, soft_wrap=True, markup=False)
    for note in found.notes:
        screen.print(f"Note: {note}", soft_wrap=True, markup=False)
