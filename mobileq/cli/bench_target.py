"""What is measured: the bundle or checkpoint, and what is known of the network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mobileq.bundle import SUFFIX, Bundle, is_bundle, open_bundle
from mobileq.checkpoint import Checkpoint, resolve
from mobileq.checkpoint_labels import labels_of
from mobileq.contract import Head
from mobileq.errors import BundleError, CheckpointError
from mobileq.graph.base import Shape
from mobileq.graph.fields import NO_GROUP
from mobileq.manifest import read_manifest
from mobileq.models.spec import CONVENTIONAL
from mobileq.quant.affine import Affine
from mobileq.quant.heads import SCORES
from mobileq.reading import read_bounded
from mobileq.verify.runner import PixelMap

DEFAULT_CHECKPOINT = "pcam-equivariant"


@dataclass(frozen=True)
class Network:
    """What the measurements need to know about a network.

    Attributes:
        name: Checkpoint or bundle.
        group: Symmetry group.
        shape: (C, H, W) of its images.
        classes: Number of logits.
        pixels: How pixels are normalized.
        output: Scale and zero point of what the INT8 files return, logits or scores;
            None without such files.
        head: What follows the logits in the files.
        labels: Names of the classes; none where they are not known.
    """

    name: str
    group: str
    shape: Shape
    classes: int
    pixels: PixelMap
    output: Affine | None
    head: Head = Head.NONE
    labels: tuple[str, ...] = ()

    @property
    def turns(self) -> bool:
        """Whether its images can be turned: they are square."""
        return self.shape[1] == self.shape[2]


def find_target(target: str | None, folder: Path) -> Bundle | str:
    """The bundle or checkpoint to measure.

    Args:
        target: A bundle, a checkpoint's path or a shipped name; None: what lies in
            `folder`, else the shipped equivariant network.
        folder: The current directory.

    Returns:
        A bundle, or a checkpoint's path or name.

    Raises:
        BundleError: no bundle, a damaged one, or several to choose from.
        CheckpointError: neither such a file nor such a name.
    """
    if target is not None:
        if Path(target).is_dir() or target.endswith(SUFFIX):
            return open_bundle(Path(target))
        resolve(target)
        return target
    if is_bundle(folder):
        return open_bundle(folder)
    found = sorted(path for path in folder.glob(f"*{SUFFIX}") if is_bundle(path))
    if len(found) > 1:
        raise BundleError(
            f"{len(found)} bundles here ({', '.join(path.name for path in found)}); "
            f"wanted one (name it: mobileq bench {found[0].name})"
        )
    if found:
        return open_bundle(Path(found[0].name) if folder == Path.cwd() else found[0])
    resolve(DEFAULT_CHECKPOINT)
    return DEFAULT_CHECKPOINT


def network_of_bundle(bundle: Bundle, name: str) -> Network:
    """Read a bundle's manifest.

    Raises:
        BundleError: an entry is missing or has an impossible value.
    """
    manifest = read_manifest(bundle)
    image, group = manifest.input, manifest.group
    if group == NO_GROUP:
        group = CONVENTIONAL
    pixels = PixelMap(image.pixel_scale, image.pixel_zero)
    head = Head(manifest.contract.head)
    output = None
    if manifest.quantization is not None:
        told = manifest.quantization.output
        # Files with a head return scores, which have a meaning of their own.
        logits = Affine(told.scale, told.zero_point)
        output = logits if head is Head.NONE else SCORES
    channels, height, width = image.shape
    shape = (channels, height, width)
    return Network(
        name,
        group,
        shape,
        manifest.classes,
        pixels,
        output,
        head,
        tuple(manifest.contract.labels),
    )


def network_of_checkpoint(checkpoint: Checkpoint) -> Network:
    """Read a checkpoint's model spec."""
    spec = checkpoint.spec
    return Network(
        checkpoint.source,
        spec.group,
        (spec.in_channels, spec.input_size, spec.input_size),
        spec.num_classes,
        PixelMap(),
        None,
        labels=labels_of(checkpoint.source, checkpoint.training, spec.num_classes),
    )


def checkpoint_of(bundle: Bundle, purpose: str = "--runtime torch") -> Path:
    """The checkpoint that a bundle was made from.

    Args:
        bundle: With a manifest that names it.
        purpose: The option that needs it, for the message.

    Raises:
        BundleError: the manifest names none, it is gone, or it has changed.
    """
    remedy = f"pass the checkpoint instead of the bundle for {purpose}"
    origin = bundle.manifest.get("checkpoint")
    if not isinstance(origin, dict) or not {"source", "sha256"} <= set(origin):
        raise BundleError(
            f"{bundle.path}: the manifest names no checkpoint; wanted source and "
            f"sha256 ({remedy})"
        )
    try:
        path = resolve(str(origin["source"]))
        found = hashlib.sha256(read_bounded(path)).hexdigest()
    except (CheckpointError, OSError) as error:
        raise BundleError(f"{bundle.path}: {error} ({remedy})") from error
    if found != origin["sha256"]:
        raise BundleError(
            f"{bundle.path}: SHA-256 of {origin['source']} is {found[:12]}..., the "
            f"manifest says {str(origin['sha256'])[:12]}...; wanted the file that was "
            f"exported ({remedy})"
        )
    return path
