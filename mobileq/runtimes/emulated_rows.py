"""Do arm64 kernels answer as x86 ones do, and does turning the image change anything?

For each emulated processor g and motion m, over all images x:

    differing = #{x : f_g(x) != f_x86(x)}
    changed[m] = #{x : f_g(m x) != m f_g(x)}

Both compare bits. There is no time in here: an emulator's says nothing of a phone's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.equivariance import ROTATIONS, Motion, moved, moved_output
from mobileq.errors import BundleError
from mobileq.runtimes.arm64_root import CPUS, Arm64Root, find_root
from mobileq.runtimes.emulated import PATIENCE, EmulatedRunner
from mobileq.verify.metrics import largest_step, relative_error
from mobileq.verify.runner import PixelMap

KERNELS: Final = "xnnpack"
"""What a phone uses by default, and what the files are compared on."""


@dataclass(frozen=True)
class EmulatedRow:
    """One file on one emulated processor, against XNNPACK on this machine.

    Attributes:
        file: Its name.
        cpu: Processor.
        features: Extensions of its that kernels are chosen by.
        integer: Whether the file computes in int8.
        images: Number of images.
        differing: How many of their outputs differ from this machine's in any bit.
        largest_step: Largest difference of an integer file, in its output's steps; None
            of a float file.
        largest_relative: Largest difference of a float file, divided by the largest
            output; None of an integer file.
        changed: For each motion, quarter turns and whether mirrored before, how many
            outputs it changes in any bit on the emulated processor.
    """

    file: str
    cpu: str
    features: tuple[str, ...]
    integer: bool
    images: int
    differing: int
    largest_step: int | None
    largest_relative: float | None
    changed: Mapping[Motion, int]

    @property
    def equal(self) -> bool:
        """Whether every output is this machine's, to the bit."""
        return self.differing == 0

    def changed_under(self, motions: Iterable[Motion]) -> int:
        """How many outputs change under some of the motions that were tried."""
        return sum(self.changed[motion] for motion in motions if motion in self.changed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        plain = asdict(self)
        plain["features"] = list(self.features)
        plain["changed"] = [
            {"turns": turns, "mirrored": mirrored, "outputs": count}
            for (turns, mirrored), count in self.changed.items()
        ]
        return plain


def compare(
    path: Path,
    images: NDArray[np.uint8],
    cpus: Sequence[str] = CPUS,
    *,
    root: Arm64Root | None = None,
    pixels: PixelMap = PixelMap(),  # noqa: B008  (frozen)
    motions: Sequence[Motion] = ROTATIONS,
    threads: int = 1,
    patience: float = PATIENCE,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[EmulatedRow, ...]:
    """Run a file on emulated processors and compare.

    Args:
        path: A TFLite file.
        images: (N, H, W, C).
        cpus: Processors, as the emulator names them.
        root: The emulated system; by default what the environment names.
        pixels: How the pixels of a file are normalized that takes real numbers.
        motions: What is done to the images; of images that are not square, only what
            keeps their shape is.
        threads: Threads of one inference, there and here.
        patience: Seconds for each processor.
        progress: Told what is going on.

    Returns:
        A row for each processor, in their order.

    Raises:
        InputError: there is no emulated system, no such file or processor, or there are
            no images of the file's size.
        RuntimeProcessError: an emulated process failed.
    """
    from mobileq_tflite.runner import TfliteRunner

    if images.ndim != 4 or not len(images):
        raise BundleError(
            f"images for {path}: shape {images.shape}; wanted (N, H, W, C) with at "
            f"least one image"
        )
    root = root or find_root()
    runners = [
        EmulatedRunner(
            path, cpu, KERNELS, threads, root=root, pixels=pixels, patience=patience
        )
        for cpu in dict.fromkeys(cpus)
    ]
    tried = keeping(images, motions)
    here = TfliteRunner(
        path.read_bytes(), kernels=KERNELS, threads=threads, pixels=pixels
    ).outputs(images)
    rows = []
    for cpu, runner in zip(dict.fromkeys(cpus), runners, strict=True):
        progress(f"{path.name} on {cpu}")
        rows.append(_row(path.name, cpu, runner, images, tried, here))
    return tuple(rows)


def keeping(images: NDArray[np.uint8], motions: Iterable[Motion]) -> tuple[Motion, ...]:
    """Motions that keep the shape of images, each once.

    Args:
        images: (N, H, W, C); a quarter turn exchanges H and W.
        motions: To choose from.
    """
    square = images.shape[1] == images.shape[2]
    return tuple(m for m in dict.fromkeys(motions) if square or m[0] % 2 == 0)


def _row(
    name: str,
    cpu: str,
    runner: EmulatedRunner,
    images: NDArray[np.uint8],
    motions: Sequence[Motion],
    here: NDArray[Any],
) -> EmulatedRow:
    """What one processor answers.

    Args:
        name: The file's.
        cpu: Processor.
        runner: The file on it.
        images: (N, H, W, C).
        motions: What is done to them.
        here: Outputs of the images on this machine.
    """
    # In one call: most of the time goes into starting Python.
    stacked = [images, *(moved(images, motion) for motion in motions)]
    found = np.split(runner.outputs(np.concatenate(stacked)), len(stacked))
    still = found[0]
    step = largest_step(still, here) if runner.integer else None
    return EmulatedRow(
        name,
        cpu,
        runner.features,
        runner.integer,
        len(images),
        _differing(still, here),
        step,
        None if runner.integer else relative_error(still, here),
        {
            motion: _differing(one, moved_output(still, motion))
            for motion, one in zip(motions, found[1:], strict=True)
        },
    )


def _differing(found: NDArray[Any], wanted: NDArray[Any]) -> int:
    """How many rows of two arrays differ in any bit; -0.0 is not 0.0 here."""
    rows = [np.ascontiguousarray(a).reshape(len(a), -1) for a in (found, wanted)]
    one, other = (a.view(np.uint8) for a in rows)
    return int((one != other).any(axis=1).sum())
