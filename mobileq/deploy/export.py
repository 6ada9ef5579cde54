"""Export a checkpoint or a network: from trained weights to a verified bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bundle import Bundle, refuse_existing, write_bundle
from mobileq.certify import certify_files
from mobileq.collapse.model import CollapsedModel
from mobileq.collapsed import SUFFIX, CollapsedCheckpoint, collapsed_bytes
from mobileq.contract import Contract
from mobileq.data.transforms import center_crop
from mobileq.deploy.climb import check_images, climb, not_climbed
from mobileq.deploy.files import FORMATS, Deployment, Report, check_formats, deploy
from mobileq.deploy.manifest import manifest_of
from mobileq.deploy.sources import Source, load_network
from mobileq.errors import InputError, VerificationError
from mobileq.proof import Certificate
from mobileq.recipe import Recipe
from mobileq.verify.images import verification_images
from mobileq.verify.ladder import require
from mobileq.verify.runner import PixelMap
from mobileq.verify.symmetry import asymmetry

if TYPE_CHECKING:
    from torch import nn

GRAPH = f"network{SUFFIX}"
"""The network as it was collapsed, in every bundle."""


def export_checkpoint(
    name: str | Path | Source,
    out: Path,
    *,
    int8: bool = True,
    formats: Sequence[str] = FORMATS,
    recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
    contract: Contract = Contract(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    images: NDArray[np.uint8] | None = None,
    calibration: NDArray[np.uint8] | None = None,
    explain: bool = False,
    require_certificate: bool = False,
    report: Report = lambda message: None,
) -> Bundle:
    """Export a checkpoint to a bundle.

    Args:
        name: Path of a checkpoint, collapsed or not, or the name of a shipped one; or
            a `Source` that says how to make the network.
        out: Directory to make.
        int8: Write INT8 files besides the float ones.
        formats: Some of `onnx`, `tflite`.
        recipe: How to quantize.
        contract: What the files take and return; labels that it does not name are
            those of the checkpoint.
        overwrite: Replace an existing bundle.
        images: (N, H, W, C) uint8 to verify with; synthetic tissue by default.
        calibration: (N, H, W, C) uint8 like those that the network is for; used where
            the recipe asks for images, and in place of missing statistics.
        explain: Add `explain.json` and `explain.svg`: what was done to each layer, and
            what it costs.
        require_certificate: Write nothing unless it is proven for each integer file
            that turning the image changes no bit of the output.
        report: Called with a line before each step.

    Raises:
        MobileqError: bad input, a rung of the ladder that breaks, or a certificate
            that is required and cannot be given.
    """
    refuse_existing(out, overwrite=overwrite)
    source = name if isinstance(name, Source) else Source(name)
    network = load_network(source, report=report)
    contract = replace(
        contract,
        name=contract.name or network.title,
        labels=contract.labels or network.labels,
    )
    origin: dict[str, Any] = {"checkpoint": dict(network.origin)}
    if isinstance(network.model, CollapsedModel):
        origin |= not_climbed(network.climbed)
    return export_module(
        network.model,
        network.shape,
        out=out,
        int8=int8,
        formats=formats,
        recipe=recipe,
        contract=contract,
        overwrite=overwrite,
        pixels=network.pixels,
        images=images,
        calibration=calibration,
        explain=explain,
        require_certificate=require_certificate,
        origin=origin,
        report=report,
    )


def export_module(
    model: nn.Module | CollapsedModel,
    shape: tuple[int, int, int],
    *,
    out: Path,
    int8: bool = True,
    formats: Sequence[str] = FORMATS,
    recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
    contract: Contract = Contract(),  # noqa: B008  (frozen)
    overwrite: bool = False,
    pixels: PixelMap = PixelMap(),  # noqa: B008  (frozen)
    images: NDArray[np.uint8] | None = None,
    calibration: NDArray[np.uint8] | None = None,
    explain: bool = False,
    require_certificate: bool = False,
    origin: Mapping[str, Any] | None = None,
    report: Report = lambda message: None,
) -> Bundle:
    """Export a trained network, of escnn or plain torch modules.

    Args:
        model: Takes normalized images (B, C, H, W), gives logits (B, classes). One
            that is collapsed already is taken as it is, and so are its pixels.
        shape: (C, H, W) of the images.
        out: Directory to make.
        int8: Write INT8 files besides the float ones.
        formats: Some of `onnx`, `tflite`.
        recipe: How to quantize.
        contract: What the files take and return.
        overwrite: Replace an existing bundle.
        pixels: How 8-bit pixels become what the network was trained on.
        images: (N, H, W, C) uint8 to verify with; synthetic tissue by default.
        calibration: (N, H, W, C) uint8 like those that the network is for; used where
            the recipe asks for images, and in place of missing statistics.
        explain: Add `explain.json` and `explain.svg`: what was done to each layer, and
            what it costs.
        require_certificate: Write nothing unless it is proven for each integer file
            that turning the image changes no bit of the output.
        origin: Where the network comes from, for the manifest.
        report: Called with a line before each step.

    Raises:
        MobileqError: bad input, a rung of the ladder that breaks, or a certificate
            that is required and cannot be given; nothing is written then.
    """
    check_formats(formats)
    if explain and not int8:
        raise InputError(
            "an explanation is of a quantized network; wanted --int8 with --explain"
        )
    refuse_existing(out, overwrite=overwrite)
    if images is not None:
        check_images(images, shape)
    if calibration is not None:
        calibration = fitted(calibration, shape)
    trained = None if isinstance(model, CollapsedModel) else model
    made = deploy(
        as_collapsed(model, shape, pixels, report),
        int8=int8,
        formats=formats,
        recipe=recipe,
        contract=contract,
        calibration=calibration,
        report=report,
    )
    report("certifying")
    certificates = certify_files(made.files)
    if require_certificate:
        _require_certificates(made, certificates)
    report("climbing the verification ladder")
    rungs = climb(trained, made, images=images)
    require(rungs)
    files = {**made.files, GRAPH: collapsed_bytes(_stored(made, origin))}
    if explain:
        report("explaining, layer by layer")
        files = {**files, **_explained(made, recipe, out.stem, images)}
    manifest = {
        **(origin or {}),
        **manifest_of(made, recipe, rungs),
        **_calibrated(calibration),
        "certificates": {name: c.to_dict() for name, c in certificates.items()},
    }
    return write_bundle(out, files, manifest, overwrite=overwrite)


def as_collapsed(
    model: nn.Module | CollapsedModel,
    shape: tuple[int, int, int],
    pixels: PixelMap,
    report: Report,
) -> CollapsedModel:
    """The network without escnn.

    Args:
        model: As it was trained, or collapsed already.
        shape: (C, H, W) of its images.
        pixels: How 8-bit pixels become these images.
        report: Called with a line before it is collapsed.

    Raises:
        UnsupportedError: a module or operation has no plain counterpart.
    """
    if isinstance(model, CollapsedModel):
        return model
    # Imported late: what is collapsed already needs neither escnn nor torch.
    from mobileq.collapse.collapse import collapse
    from mobileq.verify.torch_runner import torch_threads

    report("collapsing to plain convolutions")
    # With more threads, the same network would become other bytes.
    with torch_threads(1):
        return collapse(model, shape, pixel_scale=pixels.scale, pixel_zero=pixels.zero)


def _stored(made: Deployment, origin: Mapping[str, Any] | None) -> CollapsedCheckpoint:
    """The network itself, for whoever verifies the bundle or exports it again."""
    checkpoint = (origin or {}).get("checkpoint", {})
    found = made.collapsed
    return CollapsedCheckpoint(found.graph, checkpoint, head=found.head)


def _calibrated(images: NDArray[np.uint8] | None) -> dict[str, Any]:
    """What the manifest says of calibration images, to know them again."""
    if images is None:
        return {}
    return {"calibration": {"count": len(images), "sha256": digest(images)}}


def digest(images: NDArray[np.uint8]) -> str:
    """SHA-256 of pixels, in hexadecimal."""
    return hashlib.sha256(images.tobytes()).hexdigest()


def _require_certificates(
    made: Deployment, certificates: Mapping[str, Certificate]
) -> None:
    """Check that all integer files are proven to have the network's symmetry.

    Raises:
        VerificationError: one is not, or there is nothing to prove.
    """
    wanted = made.graph.input.fields.motions
    reason = asymmetry(made.graph) if certificates else "there is no integer file"
    if reason is not None:
        raise VerificationError(
            f"no certificate can be given: {reason}; wanted INT8 files of a network "
            f"with an exact symmetry (leave --require-certificate out; nothing was "
            f"written)"
        )
    for name, certificate in certificates.items():
        if not certificate.covers(wanted):
            why = certificate.first_break or "other motions than a quarter turn break"
            raise VerificationError(
                f"{name}: only {certificate.group} is proven ({why}); wanted the "
                f"symmetry of the network (nothing was written)"
            )


def _explained(
    made: Deployment, recipe: Recipe, network: str, images: NDArray[np.uint8] | None
) -> Mapping[str, bytes]:
    """Files that say what quantization did to each layer."""
    # Imported late: it draws, and few want it.
    from mobileq.deploy.explain import MOST_IMAGES, explain, explanation_files

    notes: tuple[str, ...] = ()
    if images is None:
        images = verification_images(made.graph.input.shape, count=MOST_IMAGES)
        notes = ("measured on synthetic tissue (give --images for others)",)
    return explanation_files(
        explain(made, recipe, images, network=network, notes=notes)
    )


def fitted(images: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Calibration images, cropped to a square input if they are larger than it.

    Raises:
        DataError: they do not fit.
    """
    square = images.ndim == 4 and shape[1] == shape[2]
    if square and shape[1] < min(images.shape[1:3]):
        images = center_crop(images, shape[1])
    check_images(images, shape)
    return images
