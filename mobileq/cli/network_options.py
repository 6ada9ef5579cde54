"""Options of `mobileq export` and `mobileq collapse` for networks of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mobileq.deploy.sources import Source

Model = Annotated[
    str,
    typer.Argument(
        help="Checkpoint (.pt, .safetensors), collapsed checkpoint, shipped name; or "
        "weights, with --factory."
    ),
]
Factory = Annotated[
    str | None,
    typer.Option(
        metavar="PACKAGE.MODULE:FUNCTION",
        help="Your function that builds the network, whose weights (a state "
        "dictionary) MODEL holds. It is your own code: it is imported, from here or "
        "what is installed, and called without arguments.",
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        metavar="C,H,W",
        help="Shape of the images of your network; 3,95,95 by default.",
    ),
]
PixelScale = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Your network was trained on (pixel - zero) * scale: the scale, as 1/128 "
        "(the default) or 0.0078125.",
    ),
]
PixelZero = Annotated[
    int | None,
    typer.Option(help="The zero of that: a grey level, 128 by default."),
]
TrustPickle = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Open a pickled module (torch.save(model)). This runs whatever code the "
        "file names: only for files that you made yourself.",
    ),
]

LARGEST_SIDE = 65_536


def source_of(
    model: str,
    factory: str | None,
    input_shape: str | None,
    pixel_scale: str | None,
    pixel_zero: int | None,
    trust_pickle: bool,
) -> Source:
    """What these options name together.

    Raises:
        InputError: a shape or a number that is none.
    """
    from mobileq.deploy.sources import Source
    from mobileq.verify.runner import PixelMap

    shape = None if input_shape is None else parsed_shape(input_shape)
    pixels = None
    if pixel_scale is not None or pixel_zero is not None:
        pixels = PixelMap(
            PixelMap().scale if pixel_scale is None else parsed_scale(pixel_scale),
            PixelMap().zero if pixel_zero is None else _grey_level(pixel_zero),
        )
    return Source(model, factory, shape, pixels, trust_pickle)


def parsed_shape(text: str) -> tuple[int, int, int]:
    """(C, H, W) of `3,95,95`.

    Raises:
        InputError: not three positive whole numbers.
    """
    from mobileq.errors import InputError

    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and all(p.isascii() and p.isdigit() for p in parts):
        channels, height, width = (int(part[:12]) for part in parts)
        if all(1 <= side <= LARGEST_SIDE for side in (channels, height, width)):
            return channels, height, width
    raise InputError(
        f"--input-shape is {text[:60]!r}; wanted channels, height and width, such as "
        f"3,95,95"
    )


def parsed_scale(text: str) -> float:
    """A positive number, or a fraction of two.

    Raises:
        InputError: it is neither.
    """
    from mobileq.errors import InputError

    above, slash, below = text.partition("/")
    try:
        scale = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError, OverflowError):
        scale = 0.0
    # Also false for NaN. float32 holds the square of what lies between.
    if not 2.0**-60 <= scale <= 2.0**60:
        raise InputError(
            f"--pixel-scale is {text[:60]!r}; wanted a positive number or fraction, "
            f"such as 1/128"
        )
    return scale


def _grey_level(zero: int) -> int:
    """A grey level.

    Raises:
        InputError: not one of 8 bit.
    """
    from mobileq.errors import InputError

    if not 0 <= zero <= 255:
        raise InputError(f"--pixel-zero is {zero}; wanted a grey level, 0 to 255")
    return zero
