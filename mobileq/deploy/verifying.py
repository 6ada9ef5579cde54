"""Verify a bundle once more, from its files alone.

    hashes          each file is the one that was exported
    certificates    proven again, from the integer files
    ladder          climbed again: from the graph that lies in the bundle to its files
    reproduction    the graph is exported again in memory; are the bytes the same?

Only the last may fail without anything being wrong: another version of a runtime or of
numpy may round otherwise, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bundle import Bundle, open_bundle
from mobileq.certify import certify_files
from mobileq.collapse.model import CollapsedModel
from mobileq.collapsed import load_collapsed
from mobileq.contract import Contract, Head
from mobileq.deploy.climb import check_images, climb
from mobileq.deploy.export import GRAPH, as_collapsed, digest, fitted
from mobileq.deploy.files import FORMATS, Deployment, Report, deploy
from mobileq.deploy.sources import Source, load_network
from mobileq.errors import BundleError, InputError, VerificationError
from mobileq.manifest import Manifest, read_manifest
from mobileq.proof import Certificate
from mobileq.recipe import Recipe
from mobileq.verify.ladder import Rung, require


@dataclass(frozen=True, eq=False)
class Verification:
    """What was found.

    Attributes:
        rungs: Of the ladder, all of which hold.
        certificates: Of the integer files, by name; equal to the manifest's.
        reproduced: Whether exporting again makes the same bytes, by file.
    """

    rungs: tuple[Rung, ...]
    certificates: Mapping[str, Certificate]
    reproduced: Mapping[str, bool]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ladder": [rung.to_dict() for rung in self.rungs],
            "certificates": {n: c.to_dict() for n, c in self.certificates.items()},
            "reproduced": dict(self.reproduced),
        }


def verify_bundle(
    path: Path,
    *,
    source: Source | None = None,
    images: NDArray[np.uint8] | None = None,
    calibration: NDArray[np.uint8] | None = None,
    report: Report = lambda message: None,
) -> Verification:
    """Verify a bundle.

    Args:
        path: Its directory.
        source: The network that was exported; the ladder then begins with it, and with
            the graph in the bundle otherwise.
        images: (N, H, W, C) uint8 to verify with; synthetic tissue by default.
        calibration: (N, H, W, C) uint8, the images that the bundle was made with, if it
            was made with any.
        report: Called with a line before each step.

    Raises:
        BundleError: a file or the manifest is missing, damaged or changed.
        InputError: another network or other images than those of the export.
        VerificationError: a rung breaks, or a certificate is not what the manifest
            says.
    """
    bundle = open_bundle(path)
    manifest = read_manifest(bundle)
    report("checking hashes")
    files = {name: bundle.read(name) for name in manifest.files}
    report("certifying")
    certificates = certify_files(files)
    _require_certificates(bundle, certificates)
    collapsed = _graph(bundle, manifest)
    if images is not None:
        check_images(images, collapsed.graph.input.shape)
    trained = None
    if source is not None:
        trained, module = _trained(bundle, manifest, source, report)
        collapsed = replace(collapsed, module=module)
    networks = {name for name in files if name.endswith(FORMATS)}
    again = deploy(
        collapsed,
        int8=manifest.recipe is not None,
        formats=[name for name in FORMATS if f"model.float.{name}" in networks],
        recipe=_recipe(bundle, manifest),
        contract=_contract(manifest),
        calibration=_calibration(bundle, manifest, collapsed, calibration),
        report=report,
    )
    if set(again.files) != networks:
        raise BundleError(
            f"{path}: holds {', '.join(sorted(networks))}; wanted "
            f"{', '.join(sorted(again.files))} (export again)"
        )
    report("climbing the verification ladder")
    made = replace(again, files={name: files[name] for name in again.files})
    rungs = climb(trained, made, images=images)
    require(rungs)
    return Verification(rungs, certificates, _reproduced(again, files))


def _require_certificates(bundle: Bundle, found: Mapping[str, Certificate]) -> None:
    """Check that what can be proven is what the manifest says.

    Raises:
        VerificationError: it is not.
    """
    told = bundle.manifest["certificates"]
    for name in {**told, **found}:
        here = found[name].to_dict() if name in found else None
        if here != told.get(name):
            group = "nothing" if here is None else here["group"]
            said = told[name]["group"] if name in told else "nothing"
            raise VerificationError(
                f"{bundle.path / name}: {group} is proven, and the manifest says "
                f"{said} with other details; wanted the same (export again)"
            )


def _graph(bundle: Bundle, manifest: Manifest) -> CollapsedModel:
    """The network as it lies in the bundle.

    Raises:
        BundleError: it does not, or its ends are not the manifest's.
    """
    if GRAPH not in manifest.files:
        raise BundleError(
            f"{bundle.path}: holds no {GRAPH}, with which the ladder begins; wanted a "
            f"bundle of this version (export again)"
        )
    stored = load_collapsed(bundle.path / GRAPH)
    graph = stored.graph
    image = graph.input
    found = (list(image.shape), image.pixel_scale, image.pixel_zero)
    told = manifest.input
    if found != (told.shape, told.pixel_scale, told.pixel_zero):
        raise BundleError(
            f"{bundle.path / GRAPH}: input is {found}, the manifest says {told.shape}, "
            f"{told.pixel_scale}, {told.pixel_zero}; wanted the same (export again)"
        )
    return CollapsedModel(None, graph, stored.head)


def _trained(bundle: Bundle, manifest: Manifest, source: Source, report: Report) -> Any:
    """The network that was exported, as a module.

    Raises:
        InputError: it is another one, or has no modules.
    """
    network = load_network(source, report=report)
    told = manifest.checkpoint.sha256 if manifest.checkpoint else None
    found = network.origin.get("sha256")
    if told != found:
        raise InputError(
            f"{source.name}: SHA-256 is {str(found)[:12]}..., and {bundle.path} was "
            f"made from {str(told)[:12]}...; wanted the checkpoint that was exported"
        )
    if isinstance(network.model, CollapsedModel):
        raise InputError(
            f"{source.name}: is collapsed already, and lies in the bundle as well; "
            f"wanted the network as it was trained, or no --model"
        )
    again = as_collapsed(network.model, network.shape, network.pixels, report)
    return network.model, again.module


def _recipe(bundle: Bundle, manifest: Manifest) -> Recipe:
    """How the integers were made.

    Raises:
        BundleError: the manifest's recipe has other entries than a recipe.
    """
    if manifest.recipe is None:
        return Recipe()
    try:
        return Recipe(**manifest.recipe)
    except TypeError as error:
        raise BundleError(
            f"{bundle.path}: recipe in the manifest cannot be read ({error}); wanted "
            f"one of this version (export again)"
        ) from None


def _contract(manifest: Manifest) -> Contract:
    """What the files take and return."""
    told = manifest.contract
    return Contract(
        end_type=told.input_type,
        head=Head(told.head),
        labels=tuple(told.labels),
        name=told.name,
        description=told.description,
        batch=None if told.batch == "dynamic" else told.batch,
    )


def _calibration(
    bundle: Bundle,
    manifest: Manifest,
    collapsed: CollapsedModel,
    images: NDArray[np.uint8] | None,
) -> NDArray[np.uint8] | None:
    """The images that the bundle was made with.

    Raises:
        InputError: they are not given, are others, or there were none.
    """
    told = manifest.calibration
    if images is None and told is None:
        return None
    if images is None or told is None:
        how = "without" if told is None else f"with {told.count}"
        raise InputError(
            f"{bundle.path}: was made {how} calibration images; wanted the same "
            f"(--calibration)"
        )
    channels, height, width = collapsed.graph.input.shape
    images = fitted(images, (channels, height, width))
    if digest(images) != told.sha256:
        raise InputError(
            f"{bundle.path}: was made with {told.count} other calibration images; "
            f"wanted the same in the same order (--calibration)"
        )
    return images


def _reproduced(again: Deployment, files: Mapping[str, bytes]) -> dict[str, bool]:
    """Whether each file came out as it lies in the bundle."""
    return {name: data == files[name] for name, data in again.files.items()}
