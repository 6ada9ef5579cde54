"""How much of the time of a run over many images is the kernels' own.

usage: python benchmarks/harness_overhead.py [BUNDLE] [--data DATA] [--images 3000]

For every file of a bundle (by default, one is exported from the shipped equivariant
network): labelled images go through the whole harness (reading, cropping, preparing,
running, collecting logits), and as many inferences of one image, which is in place
already, are the kernels' own time. Both take turns in blocks on the same machine, and
the median of the blocks' ratios is printed: a share that a busy machine changes little.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np

from mobileq.bench.accuracy import predicted
from mobileq.bundle import Bundle, open_bundle
from mobileq.data.patches import ArrayPatches, Patches
from mobileq.data.source import SYNTHETIC, open_split
from mobileq.data.transforms import center_crop
from mobileq.manifest import read_manifest
from mobileq.quant.affine import Affine
from mobileq.verify.runner import PixelMap, Runner
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite.runner import TfliteRunner

BLOCK = 256
"""Images before it is the other side's turn; seconds would let the clock change."""


@contextmanager
def bundle_of(path: str | None) -> Iterator[Bundle]:
    """The given bundle, or one of the shipped network."""
    if path is not None:
        yield open_bundle(Path(path))
        return
    from mobileq.deploy import export_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        yield export_checkpoint("pcam-equivariant", Path(folder) / "x.mobileq")


def runner_of(name: str, data: bytes, pixels: PixelMap, threads: int) -> Runner:
    """What runs a file of a bundle."""
    if name.endswith(".onnx"):
        return OnnxRunner(data, threads=threads, pixels=pixels)
    return TfliteRunner(data, kernels="xnnpack", threads=threads, pixels=pixels)


def blocks_of(patches: Patches, count: int) -> list[ArrayPatches]:
    """Sets of `BLOCK` images, the data's again and again, `count` in all."""
    rows = np.arange(count) % len(patches)
    parts = np.split(rows, range(BLOCK, count, BLOCK))
    return [ArrayPatches(patches.read(part), patches.labels[part]) for part in parts]


def seconds(call: Callable[[], object], times: int = 1) -> float:
    """Time of some calls in a row."""
    started = perf_counter()
    for _ in range(times):
        call()
    return perf_counter() - started


def measure(
    runner: Runner, blocks: list[ArrayPatches], size: int, output: Affine | None
) -> str:
    """A line of the table."""
    once = runner.timed(np.ascontiguousarray(center_crop(blocks[0].images[:1], size)))
    seconds(once, 50)
    own, whole = [], []
    for number, block in enumerate(blocks):

        def harness(block: ArrayPatches = block) -> object:
            return predicted(runner, block, input_size=size, dequantize=output)

        # Whoever comes second finds warmer caches, so they change places.
        first = seconds(once, len(block)) if number % 2 else 0.0
        whole.append(seconds(harness))
        own.append(first or seconds(once, len(block)))
    share = float(np.median(np.asarray(own) / np.asarray(whole)))
    total, images = sum(whole), sum(len(block) for block in blocks)
    return f"{runner.name:32} {total:8.2f} {images / total:9.0f} {share:15.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--data", default=SYNTHETIC)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    blocks = blocks_of(open_split(options.data, "test"), options.images)
    print(f"{f'{options.images:,} images':32}  seconds  images/s  kernels' share")
    with bundle_of(options.bundle) as bundle:
        manifest = read_manifest(bundle)
        image, quantization = manifest.input, manifest.quantization
        pixels = PixelMap(image.pixel_scale, image.pixel_zero)
        names = [
            n for n in bundle.manifest["files"] if n.endswith((".onnx", ".tflite"))
        ]
        for name in sorted(names):
            runner = runner_of(name, bundle.read(name), pixels, options.threads)
            output = None
            if runner.integer and quantization is not None:
                told = quantization.output
                output = Affine(told.scale, told.zero_point)
            print(measure(runner, blocks, image.shape[1], output), flush=True)


if __name__ == "__main__":
    main()
