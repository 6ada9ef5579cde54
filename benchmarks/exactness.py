"""Outputs that change in any bit when the image is turned or mirrored, on every kernel.

usage: python benchmarks/exactness.py [--data DIR] [--limit N] [--kernels NAME ...]
           [--] [NAME_OR_BUNDLE ...]

Images are the adversarial ones of the tests and the test split in DIR (PCam's HDF5
files), or synthetic tissue without it. A checkpoint is quantized by the recipes `dfq`
and `dfq-per-tensor`, and with --data by `calibrated` on 32 training patches; a bundle
is measured as it is, without the simulator, since it holds files alone. Networks that
claim no symmetry are turned as well, by the first recipe, for comparison. Prints a
table in Markdown; every image is compared with each of its moved copies. Fails if a
network that claims to be exact is not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobileq.bench.equivariance import ROTATIONS, Motion
from mobileq.bundle import Bundle, open_bundle
from mobileq.checkpoint import load_checkpoint
from mobileq.collapse.collapse import collapse
from mobileq.data.pcam import open_pcam
from mobileq.data.transforms import center_crop
from mobileq.deploy.quantize import quantize
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.recipe import load_recipe
from mobileq.verify.images import verification_images
from mobileq.verify.ladder import check_symmetry
from mobileq.verify.runner import Runner
from mobileq.verify.symmetry import asymmetry
from tests.support.adversarial import adversarial_images
from tests.support.exactness import KERNELS, elements, runner_of, runner_of_file

SHIPPED = ("pcam-equivariant", "pcam-conventional")
TISSUE = CALIBRATION = 32
BATCH = 64


@dataclass(frozen=True, eq=False)
class Subject:
    """Some files or integers of one network.

    Attributes:
        name: For the table.
        recipe: How it was quantized.
        motions: To be tried, without the identity.
        claimed: Whether the network should be exact under them.
        runners: By kernel and threads; made when they are asked for.
    """

    name: str
    recipe: str
    motions: tuple[Motion, ...]
    claimed: bool
    runners: Iterator[tuple[str, int, Runner]]


def images_of(shape: tuple[int, ...], options: argparse.Namespace) -> NDArray[np.uint8]:
    """Adversarial images, then the test split or synthetic tissue, (N, S, S, C)."""
    channels, size, _ = shape
    hard = adversarial_images(size, channels)
    if options.data is None:
        rest = verification_images(shape, count=options.limit or TISSUE)
    else:
        test = open_pcam(options.data, "test", limit=options.limit)
        rest = center_crop(test.read(np.arange(len(test))), size)
    return np.concatenate([hard, rest])


def subjects_of_checkpoint(
    name: str, options: argparse.Namespace
) -> Iterator[tuple[tuple[int, ...], Subject]]:
    """A checkpoint by each recipe, with the shape of its images."""
    checkpoint = load_checkpoint(name)
    size = checkpoint.spec.input_size
    collapsed = collapse(checkpoint.build(), (checkpoint.spec.in_channels, size, size))
    graph = run_pipeline(collapsed.graph, PREPARE)[-1].graph
    recipes, calibration = ["dfq", "dfq-per-tensor"], None
    if options.data is not None:
        recipes.append("calibrated")
        train = open_pcam(options.data, "train")
        spread = np.linspace(0, len(train) - 1, CALIBRATION).astype(np.int64)
        calibration = center_crop(train.read(spread), size)
    motions = elements(graph.input.fields.motions)[1:]
    claimed = asymmetry(graph) is None
    for recipe in recipes if claimed else recipes[:1]:
        made = quantize(graph, load_recipe(recipe), calibration=calibration)
        runners = (
            (kernel, threads, runner_of(kernel, made.graph, made.spec, threads))
            for kernel in options.kernels
            for threads in ((1,) if kernel == "simulator" else (1, 2))
        )
        chosen = motions if claimed else ROTATIONS
        yield graph.input.shape, Subject(name, recipe, chosen, claimed, runners)


def subject_of_bundle(bundle: Bundle, options: argparse.Namespace) -> Subject:
    """The INT8 files of a bundle, and the motions that its manifest claims."""
    manifest = bundle.manifest
    claims = [(int(t), bool(m)) for t, m in manifest["exact_symmetry"]["motions"]]
    return Subject(
        bundle.path.name,
        str(manifest.get("recipe", {}).get("name", "no INT8 files")),
        elements(claims)[1:] or ROTATIONS,
        bool(claims),
        _runners_of_files(bundle, manifest["files"], options.kernels),
    )


def _runners_of_files(
    bundle: Bundle, files: Mapping[str, object], kernels: list[str]
) -> Iterator[tuple[str, int, Runner]]:
    """Runners of the INT8 files that there are."""
    for kernel in kernels:
        data = f"model.int8.{kernel.split()[0]}"
        # The file's tensors are unsigned; a signed one is for tests alone.
        if data not in files or kernel == "onnx int8":
            continue
        for threads in (1, 2):
            yield kernel, threads, runner_of_file(kernel, bundle.read(data), threads)


def measure(subject: Subject, images: NDArray[np.uint8]) -> int:
    """Print a row per kernel; returns how many outputs changed that should not."""
    wrong = 0
    for kernel, threads, runner in subject.runners:
        changed = sum(
            int(check_symmetry(runner, part, subject.motions).value)
            for part in np.array_split(images, -(-len(images) // BATCH))
        )
        compared = len(images) * len(subject.motions)
        print(
            f"| {subject.name} | {subject.recipe} | {kernel} | {threads} "
            f"| {len(images):,} | {len(subject.motions)} | {compared:,} "
            f"| {changed:,}{'' if subject.claimed else ' (no symmetry claimed)'} |",
            flush=True,
        )
        wrong += changed if subject.claimed else 0
    return wrong


def main() -> None:
    """Measure the named networks, or the shipped ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=SHIPPED)
    parser.add_argument("--data", type=Path, help="PCam's HDF5 files")
    parser.add_argument("--limit", type=int, help="use the first patches only")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=KERNELS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| network | recipe | kernel | threads | images | motions | compared |", end=""
    )
    print(" changed |\n|---|---|---|---|---|---|---|---|")
    wrong = 0
    for name in options.networks:
        if Path(name).is_dir():
            bundle = open_bundle(Path(name))
            shape = tuple(bundle.manifest["input"]["shape"])
            found = iter([(shape, subject_of_bundle(bundle, options))])
        else:
            found = subjects_of_checkpoint(name, options)
        for shape, subject in found:
            wrong += measure(subject, images_of(shape, options))
    if wrong:
        sys.exit(f"{wrong:,} outputs changed that should not")


if __name__ == "__main__":
    main()
