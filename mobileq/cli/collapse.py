"""`mobileq collapse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def collapse(
    model: Model,
    out: Annotated[
        Path | None,
        typer.Option(help="File to make; <model>.collapsed.safetensors here."),
    ] = None,
    factory: Factory = None,
    input_shape: InputShape = None,
    pixel_scale: PixelScale = None,
    pixel_zero: PixelZero = None,
    trust_pickle: TrustPickle = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Images to verify with: .npy, uint8, (N, H, W, C). Synthetic tissue "
            "by default."
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the file's path.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a network into a file that is exported without escnn and torch.

    The file holds plain convolutions, BatchNorm statistics and what the group does to
    each channel, and no code. 'mobileq export' takes it in place of a checkpoint.
    """
    from mobileq.checkpoint import resolve
    from mobileq.cli.output import (
        console,
        load_images,
        print_json,
        refuse_existing,
        working,
    )

    suffix = ".collapsed.safetensors"
    target = out or Path(Path(model).name.removesuffix(Path(model).suffix) + suffix)
    refuse_existing(target, overwrite=overwrite)
    resolve(model)
    pictures = None if images is None else load_images(images)
    source = source_of(
        model, factory, input_shape, pixel_scale, pixel_zero, trust_pickle
    )
    from mobileq.deploy.collapsing import collapse_checkpoint

    screen = console()
    with working() as status:
        made = collapse_checkpoint(
            source,
            target,
            overwrite=overwrite,
            images=pictures,
            report=lambda message: status.update(message),
        )
    if quiet:
        typer.echo(str(target))
        return
    graph = made.graph
    if as_json:
        print_json(
            {
                "file": str(target),
                "bytes": target.stat().st_size,
                "nodes": len(graph.nodes),
                "group": str(graph.input.fields.group),
                "ladder": [dict(rung) for rung in made.ladder],
            }
        )
        return
    for rung in made.ladder:
        screen.print(
            f"{rung['name'].removesuffix(', 1 thread')} against "
            f"{rung['against'].removesuffix(', 1 thread')}: relative error "
            f"{rung['value']:.2g} of {rung['limit']:g}, ok",
            soft_wrap=True,
        )
    screen.print(
        f"{target}  {target.stat().st_size:,} bytes, {len(graph.nodes)} nodes, group "
        f"{graph.input.fields.group}",
        soft_wrap=True,
        markup=False,
    )
