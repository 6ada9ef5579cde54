"""`mobileq models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import JustifyMethod


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the checkpoints that come with mobileq."""
    import json

    from rich import box
    from rich.table import Table

    from mobileq.checkpoint import load_checkpoint, shipped_checkpoints
    from mobileq.cli.output import console

    found = {name: load_checkpoint(name) for name in shipped_checkpoints()}
    if as_json:
        content = {
            name: {
                "path": str(shipped_checkpoints()[name]),
                "sha256": checkpoint.sha256,
                "spec": checkpoint.spec.to_dict(),
                "training": dict(checkpoint.training),
            }
            for name, checkpoint in found.items()
        }
        typer.echo(json.dumps(content, indent=1))
        return
    # Fits 80 columns, so that nothing is cut off.
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    for column in ("name", "group", "width", "weights", "accuracy", "AUC"):
        side: JustifyMethod = "left" if column == "name" else "right"
        table.add_column(column, justify=side, no_wrap=True)
    for name, checkpoint in found.items():
        test = checkpoint.training.get("test", {})
        count = sum(t.numel() for k, t in checkpoint.weights.items() if _free(k))
        table.add_row(
            name,
            checkpoint.spec.group,
            f"{checkpoint.spec.width:g}",
            f"{count:,}",
            f"{test['accuracy']:.4f}" if test else "-",
            f"{test['auc']:.4f}" if test else "-",
        )
    console().print(table)
    typer.echo("Accuracy and AUC: the test split of each card, other slides.")


def _free(name: str) -> bool:
    """Whether an entry of a state dictionary was learned."""
    return name.endswith((".weight", ".bias"))
