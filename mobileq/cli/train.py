"""`mobileq train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    data: Annotated[
        str,
        typer.Option(
            help="Directory with PCam's official HDF5 files, or 'synthetic' for a "
            "small made-up tissue set."
        ),
    ] = "synthetic",
    out: Annotated[
        Path, typer.Option(help="Checkpoint to write: .pt or .safetensors.")
    ] = Path("model.pt"),
    group: Annotated[
        str, typer.Option(help="Symmetry group C<N> or D<N>, or 'conventional'.")
    ] = "C12",
    width: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    channel_multiple: Annotated[
        int,
        typer.Option(
            help="Round channels up to multiples of this (0: the group's order). Give "
            "the conventional twin its partner's order."
        ),
    ] = 0,
    reduced_strides: Annotated[
        int, typer.Option(help="Stride-2 layers, from the last, that get stride 1.")
    ] = 2,
    input_size: Annotated[int, typer.Option(help="Images are cropped to this.")] = 95,
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 12,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 4e-3,
    weight_decay: Annotated[float, typer.Option(help="AdamW's decay.")] = 0.02,
    label_smoothing: Annotated[float, typer.Option(help="0 to 0.9.")] = 0.05,
    stain_jitter: Annotated[
        float, typer.Option(help="Strength of the stain augmentation; 0: none.")
    ] = 0.1,
    average: Annotated[
        float, typer.Option(help="Decay of the averaged weights; 0: none.")
    ] = 0.998,
    symmetries: Annotated[
        bool, typer.Option(help="Turn and mirror every image at random.")
    ] = True,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads of each process; 0: all cores.")
    ] = 0,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Let torch.compile make kernels: minutes at the start, faster steps "
            "on a GPU.",
        ),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=2, help="Use the first images only.")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Where the run is kept; by default runs/<name of --out>."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Start from the weights of this checkpoint or shipped name."),
    ] = None,
    save_every: Annotated[
        float, typer.Option(min=0, help="Seconds between two saved states.")
    ] = 120.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --out.")
    ] = False,
) -> None:
    """Train a MobileNetV2, equivariant or conventional.

    torchrun --nproc-per-node N -m mobileq train ... shares every batch between N
    processes, each on its own GPU where there are any; the result is that of one.
    """
    from mobileq.checkpoint import load_checkpoint
    from mobileq.cli.output import refuse_existing
    from mobileq.data.source import open_split
    from mobileq.models.spec import ModelSpec
    from mobileq.train.config import TrainConfig
    from mobileq.train.ranks import joined_ranks
    from mobileq.train.session import DataSets, check_output, run_training

    with joined_ranks(device) as ranks:
        with ranks.alone():
            spec = ModelSpec(
                group=group,
                width=width,
                channel_multiple=channel_multiple,
                input_size=input_size,
                reduced_strides=reduced_strides,
            )
            config = TrainConfig(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                label_smoothing=label_smoothing,
                stain_jitter=stain_jitter,
                average=average,
                symmetries=symmetries,
                precision=precision,
                seed=seed,
                device=device,
            )
            refuse_existing(out, overwrite=overwrite)
            check_output(out)
            initial = None if init is None else load_checkpoint(init)
            data_sets = DataSets(
                open_split(data, "train", limit=limit),
                open_split(data, "valid", limit=limit),
                open_split(data, "test", limit=limit),
            )
        run_training(
            spec,
            config,
            data_sets,
            out=out,
            run_dir=run_dir or Path("runs") / out.stem,
            initial=initial,
            resume=resume,
            threads=threads,
            save_seconds=save_every,
            ranks=ranks,
            compiled=compiled,
        )
