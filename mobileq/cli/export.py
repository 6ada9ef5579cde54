"""`mobileq export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobileq.cli.network_options import (
    Factory,
    InputShape,
    Model,
    PixelScale,
    PixelZero,
    TrustPickle,
    source_of,
)

if TYPE_CHECKING:
    from mobileq.contract import Contract


def export(
    model: Model,
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
    input_type: Annotated[
        str | None,
        typer.Option(
            help="uint8 pixels, int8 (integer TFLite files) or float32 (normalized); "
            "by default uint8 for INT8 files and float32 for float ones."
        ),
    ] = None,
    head: Annotated[
        str, typer.Option(help="What follows the logits: none, softmax or sigmoid.")
    ] = "none",
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Text file with the name of a class in each line; by default the "
            "checkpoint's."
        ),
    ] = None,
    batch: Annotated[
        str, typer.Option(help="Images that an ONNX file takes at once, or dynamic.")
    ] = "1",
    description: Annotated[
        str, typer.Option(help="What the network is for, in a line; goes into files.")
    ] = "",
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
    factory: Factory = None,
    input_shape: InputShape = None,
    pixel_scale: PixelScale = None,
    pixel_zero: PixelZero = None,
    trust_pickle: TrustPickle = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the bundle's path.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifest as JSON.")
    ] = False,
) -> None:
    """Export a checkpoint, or a network of your own, to verified ONNX and TFLite files.

    A collapsed checkpoint (see 'mobileq collapse') is exported without torch.
    """
    from mobileq.bundle import SUFFIX
    from mobileq.bundle import refuse_existing as refuse_existing_bundle
    from mobileq.checkpoint import resolve
    from mobileq.cli.export_report import show, show_explanation
    from mobileq.cli.output import load_calibration, load_images, print_json, working
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
    target = out or Path(Path(model).stem.removesuffix(".collapsed") + SUFFIX)
    # Whatever can be refused is refused before anything heavy is imported.
    chosen = load_recipe(recipe)
    contract = _contract(input_type, head, labels, batch, description)
    resolve(model)
    refuse_existing_bundle(target, overwrite=overwrite)
    pictures = None if images is None else load_images(images)
    given = None
    if calibration is not None:
        given = load_calibration(calibration, chosen.image_count)
    source = source_of(
        model, factory, input_shape, pixel_scale, pixel_zero, trust_pickle
    )
    from mobileq.deploy import export_checkpoint

    with working() as status:
        bundle = export_checkpoint(
            source,
            target,
            int8=int8,
            formats=tuple(part.strip() for part in formats.split(",") if part.strip()),
            recipe=chosen,
            contract=contract,
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
    if as_json:
        print_json({"bundle": str(bundle.path), "manifest": dict(bundle.manifest)})
        return
    show(bundle)
    if explain:
        show_explanation(bundle)


def _contract(
    input_type: str | None,
    head: str,
    labels: Path | None,
    batch: str,
    description: str,
) -> Contract:
    """What the options say about the ends of the files.

    Raises:
        InputError: an unknown value, or a file of labels that cannot be read.
    """
    from mobileq.contract import (
        Contract,
        parse_batch,
        parse_end,
        parse_head,
        read_labels,
    )

    return Contract(
        end_type=None if input_type is None else parse_end(input_type),
        head=parse_head(head),
        labels=() if labels is None else read_labels(labels),
        description=description,
        batch=parse_batch(batch),
    )
