"""`mobileq export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mobileq.bundle import Bundle
    from mobileq.recipe import Recipe

_UNITS = {
    "relative error": "relative",
    "SQNR, dB": "dB",
    "largest step, LSB": "LSB",
    "changed by the group": "changed",
}
"""Short names of the measures."""


def export(
    model: Annotated[
        str, typer.Argument(help="Checkpoint (.pt, .safetensors) or a shipped name.")
    ],
    int8: Annotated[
        bool, typer.Option("--int8", help="Write INT8 files besides the float ones.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Bundle to make; by default <model>.mobileq here."),
    ] = None,
    formats: Annotated[
        str, typer.Option(help="onnx, tflite, or both with a comma.")
    ] = "onnx,tflite",
    recipe: Annotated[
        str, typer.Option(help="Name of a shipped recipe, or a TOML file.")
    ] = "dfq",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Images that a recipe may ask for: .npy, uint8, (N, H, W, C), or a "
            "directory with PCam's HDF5 files (their training split)."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Images to verify with: .npy, uint8, (N, H, W, C). Synthetic tissue "
            "by default."
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Say what was done to each layer and what it costs."
        ),
    ] = False,
    require_certificate: Annotated[
        bool,
        typer.Option(
            "--require-certificate",
            help="Write nothing unless it is proven that turning the image changes no "
            "bit of the integer output.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the bundle's path.")
    ] = False,
) -> None:
    """Export a checkpoint to verified ONNX and TFLite files."""
    from mobileq.bundle import SUFFIX
    from mobileq.bundle import refuse_existing as refuse_existing_bundle
    from mobileq.checkpoint import resolve
    from mobileq.cli.output import console
    from mobileq.errors import InputError
    from mobileq.recipe import load_recipe

    if explain and not int8:
        raise InputError(
            "an explanation is of a quantized network; wanted --int8 with --explain"
        )
    if require_certificate and not int8:
        raise InputError(
            "a certificate is of integer files; wanted --int8 with "
            "--require-certificate"
        )
    target = out or Path(Path(model).stem + SUFFIX)
    # Whatever can be refused is refused before anything heavy is imported.
    chosen = load_recipe(recipe)
    resolve(model)
    refuse_existing_bundle(target, overwrite=overwrite)
    pictures = None if images is None else _load_images(images)
    given = None if calibration is None else _load_calibration(calibration, chosen)
    from mobileq.deploy import export_checkpoint

    screen = console()
    with screen.status("starting") as status:
        bundle = export_checkpoint(
            model,
            target,
            int8=int8,
            formats=tuple(part.strip() for part in formats.split(",") if part.strip()),
            recipe=chosen,
            overwrite=overwrite,
            images=pictures,
            calibration=given,
            explain=explain,
            require_certificate=require_certificate,
            report=lambda message: status.update(message),
        )
    if quiet:
        typer.echo(str(bundle.path))
        return
    _show(bundle)
    if explain:
        _show_explanation(bundle)


def _proven(certificate: Mapping[str, Any]) -> str:
    """What a certificate says, in a sentence."""
    if not certificate["motions"]:
        first = certificate["breaks"][0]
        return f"NOT proven to be symmetric ({first['operator']}: {first['reason']})"
    turned = any(not mirrored for _, mirrored in certificate["motions"])
    mirrored = any(mirrored for _, mirrored in certificate["motions"])
    how = " or ".join(["turning"] * turned + ["mirroring"] * mirrored)
    group = certificate["group"]
    return f"{group} is proven: {how} the image changes no bit of the output"


def _load_calibration(path: Path, recipe: Recipe) -> NDArray[np.uint8]:
    """Calibration images of a .npy file or of PCam's training split.

    Raises:
        DataError: neither, or damaged.
    """
    if not path.is_dir():
        return _load_images(path)
    import numpy as np

    from mobileq.data.pcam import open_pcam

    patches = open_pcam(path, "train")
    count = min(len(patches), recipe.image_count)
    return patches.read(np.linspace(0, len(patches) - 1, count).astype(np.int64))


def _load_images(path: Path) -> NDArray[np.uint8]:
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


def _show(bundle: Bundle) -> None:
    """Print the ladder and the files."""
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
    for rung in bundle.manifest["ladder"]:
        ladder.add_row(
            rung["name"].removesuffix(", 1 thread"),
            rung["against"].removesuffix(", 1 thread"),
            _UNITS[rung["measure"]],
            f"{rung['value']:.2g}",
            f"{rung['limit']:g}",
            "ok" if rung["passed"] else "BROKEN",
        )
    screen.print(ladder)
    for note in bundle.manifest.get("quantization", {}).get("notes", ()):
        screen.print(f"Note: {note}", soft_wrap=True)
    symmetry = bundle.manifest["exact_symmetry"]
    for name, certificate in bundle.manifest["certificates"].items():
        if symmetry["motions"] or certificate["motions"]:
            screen.print(f"{name}: {_proven(certificate)}", soft_wrap=True)
    if not symmetry["motions"]:
        screen.print(f"No exact symmetry: {symmetry['why_not']}.", soft_wrap=True)
    for name, entry in bundle.manifest["files"].items():
        screen.print(f"{bundle.path / name}  {entry['bytes']:,} bytes", soft_wrap=True)


MOST_COSTLY = 10
"""Layers in the table on the terminal; explain.json has all."""


def _show_explanation(bundle: Bundle) -> None:
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
