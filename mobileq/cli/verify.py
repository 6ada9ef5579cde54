"""`mobileq verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobileq.cli.network_options import (
    Factory,
    InputShape,
    PixelScale,
    PixelZero,
    TrustPickle,
    source_of,
)

if TYPE_CHECKING:
    from mobileq.deploy.verifying import Verification


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle that 'mobileq export' made.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="The checkpoint that was exported: the ladder then begins with the "
            "network as it was trained."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Images to verify with: .npy, uint8, (N, H, W, C). Synthetic tissue "
            "by default."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="The images that the bundle was made with, if it was made with any; "
            "as for 'mobileq export'."
        ),
    ] = None,
    factory: Factory = None,
    input_shape: InputShape = None,
    pixel_scale: PixelScale = None,
    pixel_zero: PixelZero = None,
    trust_pickle: TrustPickle = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was found as JSON.")
    ] = False,
) -> None:
    """Check a bundle again: hashes, certificates, and the ladder from its files.

    Exit code 2 if anything is not as it was exported.
    """
    from mobileq.bundle import open_bundle
    from mobileq.cli.output import load_calibration, load_images, working
    from mobileq.errors import InputError
    from mobileq.manifest import read_manifest

    own = (factory, input_shape, pixel_scale, pixel_zero, trust_pickle or None)
    if model is None and any(value is not None for value in own):
        raise InputError(
            "--factory and its companions say how --model is made; wanted --model"
        )
    source = None
    if model is not None:
        source = source_of(
            model, factory, input_shape, pixel_scale, pixel_zero, trust_pickle
        )
    pictures = None if images is None else load_images(images)
    from mobileq.deploy.verifying import verify_bundle

    given = None
    if calibration is not None:
        told = read_manifest(open_bundle(bundle)).calibration
        given = load_calibration(calibration, told.count if told else 1)
    with working() as status:
        found = verify_bundle(
            bundle,
            source=source,
            images=pictures,
            calibration=given,
            report=lambda message: status.update(message),
        )
    if as_json:
        import json

        typer.echo(json.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        _show(bundle, found)


def _show(bundle: Path, found: Verification) -> None:
    """Print the ladder, certificates and files."""
    from mobileq.cli.export_report import proven, show_ladder
    from mobileq.cli.output import console

    screen = console()
    plain = found.to_dict()
    show_ladder(plain["ladder"])
    for name, certificate in plain["certificates"].items():
        screen.print(f"{name}: {proven(certificate)}", soft_wrap=True)
    other = [name for name, same in found.reproduced.items() if not same]
    if other:
        screen.print(
            f"Exporting again gives other bytes for {', '.join(other)}: made with "
            f"other versions (see environment in the manifest). The files that lie "
            f"here hold up all the same.",
            soft_wrap=True,
        )
    else:
        screen.print("Exporting again gives the same bytes.")
    screen.print(f"{bundle}: verified", soft_wrap=True, markup=False)
