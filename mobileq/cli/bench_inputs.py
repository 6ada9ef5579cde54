"""What the commands that measure take: runtimes, networks, images; where results go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobileq.bench.measure import Subject
    from mobileq.bundle import Bundle
    from mobileq.cli.bench_target import Network
    from mobileq.data.patches import Patches

RUNTIMES = ("tflite", "onnx", "torch")
KERNELS = ("xnnpack", "builtin", "reference")
Split = Literal["train", "valid", "test"]


def chosen_of(
    option: str, values: Sequence[str], known: Sequence[str]
) -> tuple[str, ...]:
    """Values of a repeatable option, each once.

    Raises:
        InputError: one is unknown.
    """
    from mobileq.errors import InputError

    for value in values:
        if value not in known:
            raise InputError(f"{option} is {value!r}; wanted {' or '.join(known)}")
    return tuple(dict.fromkeys(values))


def prepare(
    found: Bundle | str,
    runtimes: Sequence[str],
    kernels: Sequence[str],
    *,
    threads: int,
    report: Callable[[str], None],
) -> tuple[Network, list[Subject]]:
    """The network's properties and its runners; a checkpoint is exported first.

    Raises:
        InputError: something is missing or damaged.
        VerificationError: the export disagrees with the checkpoint.
    """
    from tempfile import TemporaryDirectory

    from mobileq.checkpoint import load_checkpoint
    from mobileq.cli import bench_target as targets

    formats = tuple(name for name in runtimes if name in targets.FILE_RUNTIMES)
    with TemporaryDirectory(prefix="mobileq-bench-") as folder:
        if not isinstance(found, str):
            bundle = found
            network = targets.network_of_bundle(bundle, str(bundle.path))
        elif formats:
            from mobileq.deploy import export_checkpoint

            out = Path(folder) / "model.mobileq"
            bundle = export_checkpoint(found, out, formats=formats, report=report)
            network = targets.network_of_bundle(bundle, found)
        else:
            checkpoint = load_checkpoint(found)
            network = targets.network_of_checkpoint(checkpoint)
            return network, [
                targets.torch_subject(checkpoint, network, threads=threads)
            ]
        subjects: list[Subject] = []
        for name in runtimes:
            report(f"loading {name}")
            if name == "torch":
                checkpoint = targets.checkpoint_of(bundle)
                subjects.append(
                    targets.torch_subject(checkpoint, network, threads=threads)
                )
            else:
                subjects += targets.file_subjects(
                    bundle, network, name, kernels=kernels, threads=threads
                )
    return network, subjects


def check_data(network: Network, patches: Patches, data: str) -> None:
    """Check that data and network fit.

    Raises:
        DataError: another number of classes, or images that are too small.
    """
    from mobileq.errors import DataError

    if network.classes != 2:
        raise DataError(
            f"{data}: two classes; {network.name} has {network.classes} (leave --data "
            f"out, or measure a network of two classes)"
        )
    if min(patches.size) < network.size:
        height, width = patches.size
        raise DataError(
            f"{data}: images of {height}x{width} px; {network.name} wants at least "
            f"{network.size}x{network.size} (leave --data out, or measure another "
            f"network)"
        )


def images_of(
    size: int, patches: Patches | None, count: int, data: str
) -> tuple[NDArray[np.uint8], str]:
    """Images to turn, and where they come from.

    Args:
        size: Their height and width S, in pixels.
        patches: Where to take them; synthetic tissue without.
        count: How many at most.
        data: What the patches are called.

    Returns:
        (N, S, S, 3) pixels, and a name for them.

    Raises:
        DataError: the patches are smaller.
    """
    import numpy as np

    from mobileq.data.transforms import center_crop
    from mobileq.verify.images import verification_images

    if patches is None:
        shape = (3, size, size)
        return verification_images(shape, count=count), "synthetic tissue"
    # Spread over all of them: some data sets are sorted by label.
    rows = np.linspace(0, len(patches) - 1, min(count, len(patches))).astype(np.int64)
    read = patches.read(rows)
    return np.ascontiguousarray(center_crop(read, size)), data


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write plain values as JSON, whole or not at all.

    Raises:
        CheckpointError: the file cannot be written.
    """
    import json

    text = json.dumps(values, indent=1, allow_nan=False)
    write_file(f"{text}\n".encode(), path)


def write_file(data: bytes, path: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    from mobileq.checkpoint import write_atomically

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, write)
