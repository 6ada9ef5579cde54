"""`mobileq.export`: a network that is in memory, to a verified bundle, in one call.

    import mobileq
    bundle = mobileq.export(network, torch.zeros(1, 3, 95, 95), out="mine.mobileq")

It is an attribute of the package that is looked up when it is first used, so that
`import mobileq` itself loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bundle import Bundle
from mobileq.contract import Contract
from mobileq.deploy.export import export_module
from mobileq.deploy.files import FORMATS
from mobileq.errors import InputError
from mobileq.recipe import Recipe, load_recipe
from mobileq.verify.runner import PixelMap

if TYPE_CHECKING:
    from torch import Tensor, nn


def export(
    model: nn.Module,
    example_input: Tensor | NDArray[Any],
    *,
    out: str | Path,
    int8: bool = True,
    formats: Sequence[str] = FORMATS,
    recipe: str | Path | Recipe = "dfq",
    contract: Contract = Contract(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    pixel_scale: float = 1 / 128,
    pixel_zero: int = 128,
    images: NDArray[np.uint8] | None = None,
    calibration: NDArray[np.uint8] | None = None,
    explain: bool = False,
    require_certificate: bool = False,
) -> Bundle:
    """Export a trained network of escnn's modules, plain torch, or both.

    Args:
        model: Takes normalized images (B, C, H, W), gives logits or their softmax,
            (B, classes), or for every pixel (B, classes, H, W). Its weights are not
            changed; it is left in evaluation mode.
        example_input: An image or a batch as the network takes it, (B, C, H, W). Only
            its shape is used.
        out: Directory to make.
        int8: Write INT8 files besides the float ones.
        formats: Some of `onnx`, `tflite`.
        recipe: How to quantize: a shipped recipe's name, a TOML file, or a `Recipe`.
        contract: What the files take and return: types, head, labels, batch.
        overwrite: Replace an existing bundle.
        pixel_scale: The network was trained on (pixel - pixel_zero) * pixel_scale.
        pixel_zero: Grey level of real 0, 0 to 255.
        images: (N, H, W, C) uint8 to verify with; synthetic tissue by default.
        calibration: (N, H, W, C) uint8 like those that the network is for; used where
            the recipe asks for images, and in place of missing statistics.
        explain: Add what was done to each layer, and what it costs.
        require_certificate: Write nothing unless it is proven for each integer file
            that turning the image changes no bit of the output.

    Returns:
        The bundle, which is on disk.

    Raises:
        MobileqError: bad input, a module that cannot be deployed, a rung of the ladder
            that breaks, or a certificate that is required and cannot be given; nothing
            is written then.
    """
    if not (pixel_scale > 0 and np.isfinite(pixel_scale) and 0 <= pixel_zero <= 255):
        raise InputError(
            f"pixel_scale is {pixel_scale}, pixel_zero {pixel_zero}; wanted a positive "
            f"number and a grey level of 0 to 255"
        )
    return export_module(
        model,
        _image_shape(example_input),
        out=Path(out),
        int8=int8,
        formats=formats,
        recipe=recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe)),
        contract=contract,
        overwrite=overwrite,
        pixels=PixelMap(pixel_scale, pixel_zero),
        images=images,
        calibration=calibration,
        explain=explain,
        require_certificate=require_certificate,
    )


def _image_shape(example: Tensor | NDArray[Any]) -> tuple[int, int, int]:
    """(C, H, W) of a batch.

    Raises:
        InputError: it is no batch of images.
    """
    shape = tuple(getattr(example, "shape", ()))
    if len(shape) != 4 or min(shape) < 1:
        found = f"shape {shape}" if shape else f"a {type(example).__name__}"
        raise InputError(
            f"example_input: found {found}; wanted a tensor or an array of shape "
            f"(B, C, H, W)"
        )
    channels, height, width = (int(extent) for extent in shape[1:])
    return channels, height, width
