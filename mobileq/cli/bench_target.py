"""What `mobileq bench` measures: it finds the network and makes its runners."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobileq.bundle import SUFFIX, Bundle, is_bundle, open_bundle
from mobileq.checkpoint import Checkpoint, load_checkpoint, resolve
from mobileq.contract import Head
from mobileq.errors import BundleError, CheckpointError, UnsupportedError
from mobileq.graph.fields import NO_GROUP
from mobileq.manifest import read_manifest
from mobileq.models.spec import CONVENTIONAL
from mobileq.quant.affine import Affine
from mobileq.quant.heads import SCORES
from mobileq.verify.headed import Unheaded
from mobileq.verify.runner import PixelMap, Runner

if TYPE_CHECKING:
    from mobileq.bench.measure import Subject

DEFAULT_CHECKPOINT = "pcam-equivariant"
FILE_RUNTIMES = ("tflite", "onnx")
PRECISIONS = ("float", "int8")


@dataclass(frozen=True)
class Network:
    """What the measurements need to know about a network.

    Attributes:
        name: Checkpoint or bundle.
        group: Symmetry group.
        size: Height and width of its square RGB images, in pixels.
        classes: Number of logits.
        pixels: How pixels are normalized.
        output: Scale and zero point of what the INT8 files return, logits or scores;
            None without such files.
        head: What follows the logits in the files.
    """

    name: str
    group: str
    size: int
    classes: int
    pixels: PixelMap
    output: Affine | None
    head: Head = Head.NONE


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
        UnsupportedError: the images are not square, or not RGB.
    """
    manifest = read_manifest(bundle)
    image, group = manifest.input, manifest.group
    if group == NO_GROUP:
        group = CONVENTIONAL
    pixels = PixelMap(image.pixel_scale, image.pixel_zero)
    head, shape = Head(manifest.contract.head), image.shape
    output = None
    if manifest.quantization is not None:
        told = manifest.quantization.output
        # Files with a head return scores, which have a meaning of their own.
        logits = Affine(told.scale, told.zero_point)
        output = logits if head is Head.NONE else SCORES
    _check_shape(name, shape)
    return Network(name, group, shape[1], manifest.classes, pixels, output, head)


def network_of_checkpoint(checkpoint: Checkpoint) -> Network:
    """Read a checkpoint's model spec.

    Raises:
        UnsupportedError: the images are not RGB.
    """
    spec = checkpoint.spec
    _check_shape(
        checkpoint.source, [spec.in_channels, spec.input_size, spec.input_size]
    )
    return Network(
        checkpoint.source,
        spec.group,
        spec.input_size,
        spec.num_classes,
        PixelMap(),
        None,
    )


def checkpoint_of(bundle: Bundle, purpose: str = "--runtime torch") -> Checkpoint:
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
        checkpoint = load_checkpoint(str(origin["source"]))
    except CheckpointError as error:
        raise BundleError(f"{bundle.path}: {error} ({remedy})") from error
    if checkpoint.sha256 != origin["sha256"]:
        raise BundleError(
            f"{bundle.path}: SHA-256 of {origin['source']} is "
            f"{checkpoint.sha256[:12]}..., the manifest says "
            f"{str(origin['sha256'])[:12]}...; wanted the file that was exported "
            f"({remedy})"
        )
    return checkpoint


def torch_subject(checkpoint: Checkpoint, network: Network, *, threads: int) -> Subject:
    """The network as it was trained.

    Raises:
        BundleError: the bundle says that it takes other images or has other classes.
    """
    from mobileq.bench.measure import Label, Subject
    from mobileq.verify.torch_runner import TorchRunner

    spec = checkpoint.spec
    found = (spec.input_size, spec.num_classes)
    if found != (network.size, network.classes):
        raise BundleError(
            f"{network.name}: takes images of {network.size} px to {network.classes} "
            f"classes; its checkpoint {checkpoint.source} wants {found[0]} px and has "
            f"{found[1]} (export again)"
        )
    path = resolve(checkpoint.source)
    label = Label("torch", "eager", "float", threads, path.name, path.stat().st_size)
    runner = TorchRunner(
        checkpoint.build(), "torch eager", pixels=network.pixels, threads=threads
    )
    return Subject(label, runner)


def file_subjects(
    bundle: Bundle,
    network: Network,
    runtime: str,
    *,
    kernels: Sequence[str],
    threads: int,
) -> Iterator[Subject]:
    """Runners of a bundle's files for one of `FILE_RUNTIMES`.

    Args:
        bundle: Where the files are.
        network: What the manifest says.
        runtime: `tflite` or `onnx`.
        kernels: Sets of TFLite's kernels.
        threads: Of one inference.

    Raises:
        BundleError: the bundle has no file for this runtime, or a damaged one.
    """
    from mobileq.bench.measure import Label, Subject

    make, sets = _maker(runtime, kernels, network.pixels, threads)
    names = {p: f"model.{p}.{runtime}" for p in PRECISIONS}
    present = [p for p in PRECISIONS if names[p] in bundle.manifest["files"]]
    for precision in present or PRECISIONS[:1]:
        data = bundle.read(names[precision])
        if precision == "int8" and network.output is None:
            raise BundleError(
                f"{bundle.path}: the manifest has no quantization of the output; "
                f"wanted scale and zero_point (export again)"
            )
        for kernel in sets:
            label = Label(
                runtime, kernel, precision, threads, names[precision], len(data)
            )
            dequantize = network.output if precision == "int8" else None
            runner: Runner = make(data, kernel)
            if network.head is not Head.NONE:
                # Everything is measured on logits, which such files keep inside.
                runner = Unheaded(runner, network.head, dequantize)
                dequantize = None
            yield Subject(label, runner, dequantize)


def _maker(
    runtime: str, kernels: Sequence[str], pixels: PixelMap, threads: int
) -> tuple[Callable[[bytes, str], Any], Sequence[str]]:
    """What makes a runner from a file and a set of kernels, and the sets."""
    if runtime == "onnx":
        from mobileq_onnx.runner import OnnxRunner

        def onnx(data: bytes, kernel: str) -> OnnxRunner:
            return OnnxRunner(data, threads=threads, pixels=pixels)

        return onnx, ("cpu",)
    from mobileq_tflite.runner import TfliteRunner

    def tflite(data: bytes, kernel: Any) -> TfliteRunner:
        return TfliteRunner(data, kernels=kernel, threads=threads, pixels=pixels)

    return tflite, kernels


def _check_shape(name: str, shape: Sequence[int]) -> None:
    """Check that a network takes square RGB images.

    Raises:
        UnsupportedError: it does not.
    """
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise UnsupportedError(
            f"{name}: the input is {tuple(shape)} (channels, height, width); wanted "
            f"three channels and a square for 'mobileq bench'"
        )
