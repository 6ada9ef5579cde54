"""Export a MobileNetV2 of other people: not equivariant, not trained here.

usage: python examples/stock_mobilenetv2.py --weights FILE.npz --out DIR
           [--data PCAM_DIR] [--images FOLDER_OR_NPY] [--recipe NAME]

A file without a classifier (of Keras) gets one for PCam: its features stay as they are,
a logistic regression is fitted on the training patches of --data, and accuracy on the
test patches is printed for every exported file. For a file with a classifier (of
ImageNet) it is how often a file names the same class as the float one, on --images or
else on crops of scikit-image's photographs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples import frozen_features as frozen
from examples.photographs import natural_images, read_images
from examples.stock_networks import PIXELS, StockNetwork, load_network, needs_head
from mobileq.bench.accuracy import BATCH, agreement, real_logits
from mobileq.bundle import Bundle
from mobileq.data.pcam import open_pcam
from mobileq.data.scores import score
from mobileq.data.transforms import center_crop
from mobileq.deploy import export_module
from mobileq.errors import InputError, MobileqError
from mobileq.quant.affine import Affine
from mobileq.recipe import DEFAULT, load_recipe
from mobileq.verify.runner import Runner

VERIFIED = 8
"""Images that the ladder is climbed with."""
PATCH, PHOTOGRAPH = 96, 224
"""Default input size in pixels, of a network for PCam and for ImageNet."""


@dataclass(frozen=True, eq=False)
class Task:
    """A network and what to try it on.

    Attributes:
        network: Plain torch modules.
        verify: (N, H, W, 3) uint8 to climb the ladder with.
        pixels: (N, H, W, 3) uint8 to measure with.
        labels: (N,) classes of these, where known.
    """

    network: StockNetwork
    verify: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None


def pcam_task(options: argparse.Namespace) -> Task:
    """A network without a classifier: fit one on frozen features.

    Raises:
        MobileqError: the data or the file of the head are missing or do not fit.
    """
    if options.data is None:
        raise InputError(
            f"{options.weights}: has no classifier; wanted --data with PCam's HDF5 "
            f"files, to fit one"
        )
    size = options.size or PATCH
    valid = open_pcam(options.data, "valid")
    test = open_pcam(options.data, "test")
    network = load_network(options.weights, _head(options, size))
    spread = np.linspace(0, len(valid) - 1, VERIFIED).astype(np.int64)
    return Task(
        network,
        np.ascontiguousarray(center_crop(valid.read(spread), size)),
        np.ascontiguousarray(center_crop(test.read(np.arange(len(test))), size)),
        test.labels,
    )


def _head(options: argparse.Namespace, size: int) -> frozen.Head:
    """The cached classifier, or a new one."""
    if options.head is not None and options.head.exists():
        return frozen.load_head(options.head)
    train = open_pcam(options.data, "train")
    print(f"fitting a classifier on {min(options.limit, len(train)):,} patches")
    backbone = load_network(options.weights)
    head = frozen.fit_head(
        *frozen.frozen_features(backbone, train, size=size, limit=options.limit)
    )
    if options.head is not None:
        frozen.save_head(options.head, head)
    return head


def photograph_task(options: argparse.Namespace) -> Task:
    """A network with a classifier: photographs without labels.

    Raises:
        MobileqError: the images cannot be read.
    """
    size = options.size or PHOTOGRAPH
    if options.images is not None:
        pixels = read_images(options.images, size)
    else:
        pixels = natural_images(size, options.count)
    return Task(load_network(options.weights), pixels[:VERIFIED], pixels)


def runner_of(bundle: Bundle, name: str) -> Runner:
    """A runner for one file of a bundle, one thread."""
    data = bundle.read(name)
    if name.endswith(".onnx"):
        from mobileq_onnx.runner import OnnxRunner

        return OnnxRunner(data, pixels=PIXELS)
    from mobileq_tflite.runner import TfliteRunner

    return TfliteRunner(data, kernels="xnnpack", pixels=PIXELS)


def logits_of(bundle: Bundle, name: str, task: Task) -> NDArray[np.float64]:
    """Real logits of one file, (N, classes)."""
    runner = runner_of(bundle, name)
    output = bundle.manifest["quantization"]["output"]
    affine = Affine(output["scale"], output["zero_point"])
    parts = [
        real_logits(runner, task.pixels[start : start + BATCH], affine)
        for start in range(0, len(task.pixels), BATCH)
    ]
    return np.concatenate(parts)


def report(bundle: Bundle, task: Task) -> None:
    """Print a line for each file."""
    wanted = logits_of(bundle, "model.float.tflite", task)
    for name in sorted(bundle.manifest["contract"]["files"]):
        found = logits_of(bundle, name, task)
        line = f"{name:20} same class as float: {agreement(found, wanted):7.2%}"
        if task.labels is not None:
            line += f", {score(found, task.labels)}"
        print(line, flush=True)


def run(options: argparse.Namespace) -> None:
    """Build, export, measure.

    Raises:
        MobileqError: bad input, or a rung of the ladder that breaks.
    """
    recipe = load_recipe(options.recipe)
    task = (pcam_task if needs_head(options.weights) else photograph_task)(options)
    _, height, width, channels = task.verify.shape
    bundle = export_module(
        task.network,
        (channels, height, width),
        out=options.out,
        recipe=recipe,
        overwrite=options.overwrite,
        pixels=PIXELS,
        images=task.verify,
        origin={"weights": options.weights.name},
        report=print,
    )
    report(bundle, task)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="an .npz file")
    parser.add_argument("--out", type=Path, required=True, help="bundle to make")
    parser.add_argument("--data", type=Path, help="PCam's HDF5 files")
    parser.add_argument("--images", type=Path, help="a folder, or a .npy file")
    parser.add_argument("--recipe", default=DEFAULT, help="name or TOML file")
    parser.add_argument("--size", type=int, help="input size, pixels")
    parser.add_argument("--limit", type=int, default=6000, help="patches for the fit")
    parser.add_argument("--head", type=Path, help="keep the fitted classifier: .npz")
    parser.add_argument("--count", type=int, default=100, help="crops to measure with")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and return the exit code."""
    options = parse(arguments)
    try:
        run(options)
    except MobileqError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
