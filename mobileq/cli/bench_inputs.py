"""What the commands that measure take: runtimes, networks, images; where results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobileq.bench.subject import Subject
    from mobileq.bundle import Bundle
    from mobileq.cli.bench_target import Network
    from mobileq.data.patches import Patches
    from mobileq.deploy.sources import Source
    from mobileq.graph.base import Shape

RUNTIMES = ("tflite", "onnx", "torch")
FORMATS = ("tflite", "onnx")
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


@contextmanager
def opened(
    found: Bundle | str | Source,
    runtimes: Sequence[str],
    *,
    report: Callable[[str], None],
) -> Iterator[tuple[Bundle | None, Network]]:
    """The network's files and properties; a checkpoint is exported first.

    Args:
        found: A bundle, a checkpoint, or how to make a network of one's own.
        runtimes: What the files are for; torch alone needs none.
        report: Told what is going on.

    Yields:
        The bundle, which goes when the block ends if it was made for it; and what is
        known of the network.

    Raises:
        InputError: something is missing or damaged.
        VerificationError: the export disagrees with the checkpoint.
    """
    from tempfile import TemporaryDirectory

    from mobileq.bundle import Bundle
    from mobileq.cli import bench_target as targets

    if isinstance(found, Bundle):
        yield found, targets.network_of_bundle(found, str(found.path))
        return
    formats = _formats(runtimes)
    if not formats and isinstance(found, str):
        from mobileq.checkpoint import load_checkpoint

        yield None, targets.network_of_checkpoint(load_checkpoint(found))
        return
    from mobileq.deploy import export_checkpoint

    with TemporaryDirectory(prefix="mobileq-bench-") as folder:
        out = Path(folder) / "model.mobileq"
        bundle = export_checkpoint(
            found, out, formats=formats or FORMATS, report=report
        )
        name = found if isinstance(found, str) else str(found.name)
        yield bundle, targets.network_of_bundle(bundle, name)


def _formats(runtimes: Sequence[str]) -> tuple[str, ...]:
    """What is exported for some runtimes: files of those that can be run here."""
    from mobileq.runtimes.factory import missing

    return tuple(name for name in FORMATS if name in runtimes and missing(name) is None)


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
    from mobileq.cli.bench_candidates import Choice, candidates_of, subjects_of

    with opened(found, runtimes, report=report) as (bundle, network):
        report("loading")
        sets = {"tflite": kernels, "onnx": ("cpu",), "torch": ("eager",)}
        choice = Choice(tuple(runtimes), sets, (threads,))
        return network, subjects_of(candidates_of(bundle, network, choice))


def check_data(network: Network, patches: Patches, data: str) -> None:
    """Check that data and network fit.

    Raises:
        DataError: more classes than the network has, or images that are too small.
    """
    from mobileq.errors import DataError

    largest = int(patches.labels.max())
    if largest >= network.classes:
        raise DataError(
            f"{data}: has {largest + 1} classes or more; {network.name} has "
            f"{network.classes} (leave --data out, or measure a network of these "
            f"classes)"
        )
    height, width = patches.size
    wanted = network.shape[1:]
    if height < wanted[0] or width < wanted[1]:
        raise DataError(
            f"{data}: images of {height}x{width} px; {network.name} wants at least "
            f"{wanted[0]}x{wanted[1]} (leave --data out, or measure another network)"
        )


def images_of(
    shape: Shape, patches: Patches | None, count: int, data: str
) -> tuple[NDArray[np.uint8], str]:
    """Images to turn, and where they come from.

    Args:
        shape: (C, H, W) of a network's images.
        patches: Where to take them; synthetic tissue without.
        count: How many at most.
        data: What the patches are called.

    Returns:
        (N, H, W, C) pixels, and a name for them.

    Raises:
        DataError: the patches are smaller.
    """
    from mobileq.data.transforms import read_cropped
    from mobileq.verify.images import verification_images

    if patches is None:
        return verification_images(shape, count=count), "synthetic tissue"
    rows = spread(len(patches), count)
    return read_cropped(patches, rows, (shape[1], shape[2])), data


def spread(total: int, count: int) -> NDArray[np.int64]:
    """Which of many images are turned: some data sets are sorted by label.

    Args:
        total: Number of images.
        count: How many of them are wanted, at most.
    """
    import numpy as np

    return np.linspace(0, total - 1, min(count, total)).astype(np.int64)


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
