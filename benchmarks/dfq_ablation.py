"""What each pass of data-free quantization is worth, measured on exported files.

usage: python benchmarks/dfq_ablation.py --data PCAM_DIR [--stock DIR] [--head FILE.npz]
           [--limit N] [NETWORK ...]

The rows are those of the DFQ paper's ablation (arXiv:1906.04721, tables 1 and 2):
float, naive, then one pass after the other, per tensor and per channel; then ways to
find the ranges of activations. Every row writes an INT8 TFLite and an INT8 ONNX file,
and runs both on every image: XNNPACK and ONNX Runtime's CPU kernels, one thread.
Accuracy is of PCam's test split; agreement is with the float TFLite file; SQNR is the
mean over the tensors of the graph, of eight images, in the integer simulator.

Networks: the shipped two; with --stock, MobileNetV2 0.35 with a classifier fitted on
frozen features (kept in --head), and MobileNetV2 1.0 of ImageNet on photographs, which
have no labels. Synthesised images are searched for once per network; calibration images
are of the training split (of photographs, other crops). Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples import frozen_features as frozen
from examples.photographs import natural_images
from examples.stock_networks import PIXELS, load_network
from mobileq.bench.accuracy import BATCH, agreement, real_logits
from mobileq.checkpoint import load_checkpoint
from mobileq.collapse.collapse import collapse
from mobileq.data.pcam import open_pcam
from mobileq.data.scores import score
from mobileq.data.transforms import center_crop
from mobileq.deploy.quantize import Quantized, quantize
from mobileq.graph.graph import Graph
from mobileq.graph.moments import has_statistics
from mobileq.passes.pipeline import FINISH, PREPARE, run_pipeline
from mobileq.quant.affine import Affine
from mobileq.quant.noise import smooth_images
from mobileq.quant.simulate import SimulatorRunner
from mobileq.quant.synthesise import synthesised_images
from mobileq.recipe import Recipe, load_recipe
from mobileq.verify.graph_runner import GraphRunner
from mobileq.verify.metrics import sqnr_db
from mobileq.verify.runner import PixelMap, Runner
from mobileq.verify.torch_runner import torch_threads
from mobileq_onnx.qdq_writer import write_int8 as write_onnx
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite.float_writer import write_float
from mobileq_tflite.int8_writer import write_int8 as write_tflite
from mobileq_tflite.runner import TfliteRunner

SHIPPED = ("pcam-equivariant", "pcam-conventional")
BACKBONE, IMAGENET = "mobilenetv2-0.35", "mobilenetv2-1.0-imagenet"
FILES = {
    BACKBONE: "mobilenetv2_0.35_backbone_bn_float.npz",
    IMAGENET: "mobilenetv2_1.0_224_imagenet_dequant_float.npz",
}
PATCH, PHOTOGRAPH = 96, 224
SIMULATED = 8
SYNTHESISED = CALIBRATION = 32


@dataclass(frozen=True, eq=False)
class Task:
    """A network and what to try it on.

    Attributes:
        name: For the table.
        fused: BatchNorm folded, orbits snapped, activations fused.
        pixels: (N, H, W, C) uint8 to measure with.
        labels: (N,), where known.
        calibration: (N, H, W, C) uint8.
    """

    name: str
    fused: Graph
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    calibration: NDArray[np.uint8]

    @property
    def map(self) -> PixelMap:
        """How pixels become real values."""
        image = self.fused.input
        return PixelMap(image.pixel_scale, image.pixel_zero)


def rows(granularity: str, *, relu6: bool) -> Iterator[tuple[str, Recipe, str]]:
    """Label, recipe, and which images it is given, of every row."""
    base = Recipe("ablation", passes=(), granularity=granularity)
    cap: tuple[str, ...] = ("cap-relu6",) if relu6 else ()
    bias = ("correct-bias",)
    final = ("merge-pointwise", "balance", *bias)
    passes: dict[str, tuple[str, ...]] = {
        "naive": (),
        "+ bias correction": bias,
        "+ equalization": (*cap, "equalize"),
        "+ equalization, absorption": (*cap, "equalize", "absorb"),
        "+ equalization, absorption, bias (DFQ)": (*cap, "equalize", "absorb", *bias),
        "+ balance": (*cap, "balance"),
        "+ balance, bias": (*cap, "balance", *bias),
        "+ balance, absorption, bias": (*cap, "balance", "absorb", *bias),
        "+ merge, balance, bias (recipe)": (*cap, *final),
    }
    if relu6:
        passes["the same, ReLU6 replaced"] = ("replace-relu6", *final)
    for label, names in passes.items():
        # The paper's equalization looks at weights alone.
        yield label, replace(base, passes=names, activation_weight=0.0), "none"
    best = replace(base, passes=(*cap, *final), image_source="calibration")
    for images in ("synthesised", "calibration"):
        for method in ("min-max", "percentile", "mse"):
            label = f"recipe, ranges {method}, {images}"
            yield label, replace(best, range_method=method), images
    calibrated = replace(load_recipe("calibrated"), granularity=granularity)
    yield "recipe calibrated", calibrated, "calibration"


def logits(runner: Runner, task: Task, output: Affine | None) -> NDArray[np.float64]:
    """Real logits of all images, (N, classes)."""
    parts = [
        real_logits(runner, task.pixels[start : start + BATCH], output)
        for start in range(0, len(task.pixels), BATCH)
    ]
    return np.concatenate(parts)


def mean_sqnr(task: Task, made: Quantized) -> float:
    """Mean SQNR of all tensors, in dB."""
    pixels = task.pixels[:: max(1, len(task.pixels) // SIMULATED)][:SIMULATED]
    with torch_threads(1):
        integers = SimulatorRunner(made.graph, made.spec).tensors(pixels)
        floats = GraphRunner(made.graph, "float").tensors(pixels)
    found = [
        sqnr_db(made.spec.activations[name].dequantize(values), floats[name])
        for name, values in integers.items()
        if name in floats and name != made.graph.input.name
    ]
    return float(np.mean(found))


def cells(task: Task, found: NDArray[np.float64], wanted: NDArray[np.float64]) -> str:
    """Accuracy and agreement of one file."""
    agreed = f"{100 * agreement(found, wanted):.2f}"
    if task.labels is None:
        return agreed
    return f"{100 * score(found, task.labels).accuracy:.2f} / {agreed}"


def measure(task: Task) -> None:
    """Print the table of one network."""
    graph = run_pipeline(task.fused, (FINISH,))[-1].graph
    runner = TfliteRunner(write_float(graph), kernels="xnnpack", pixels=task.map)
    wanted = logits(runner, task, None)
    what = "agreement, %" if task.labels is None else "accuracy / agreement, %"
    print(f"\n### {task.name}, {len(task.pixels):,} images\n")
    print(f"| weights | passes | TFLite: {what} | ONNX: {what} | mean SQNR, dB |")
    print("|---|---|---|---|---|")
    print(f"| float | | {cells(task, wanted, wanted)} | | |", flush=True)
    relu6 = any("RELU6" in str(getattr(n, "activation", "")) for n in graph.nodes)
    images = {"none": None, "calibration": task.calibration}
    if has_statistics(task.fused):
        images["synthesised"] = synthesised_images(task.fused, count=SYNTHESISED)
    else:
        images["synthesised"] = smooth_images(task.fused, count=SYNTHESISED)
    for granularity in ("per-tensor", "per-channel"):
        for label, recipe, given in rows(granularity, relu6=relu6):
            made = quantize(task.fused, recipe, calibration=images[given])
            output = made.spec.activations[made.graph.output]
            tflite = TfliteRunner(
                write_tflite(made.graph, made.spec), kernels="xnnpack", pixels=task.map
            )
            onnx = OnnxRunner(write_onnx(made.graph, made.spec), pixels=task.map)
            print(
                f"| {granularity} | {label} "
                f"| {cells(task, logits(tflite, task, output), wanted)} "
                f"| {cells(task, logits(onnx, task, output), wanted)} "
                f"| {mean_sqnr(task, made):.1f} |",
                flush=True,
            )


def shipped(name: str, options: argparse.Namespace) -> Task:
    """One of our networks, on PCam."""
    checkpoint = load_checkpoint(name)
    size = checkpoint.spec.input_size
    collapsed = collapse(checkpoint.build(), (3, size, size))
    return _pcam(name, run_pipeline(collapsed.graph, PREPARE)[-1].graph, options)


def stock(name: str, options: argparse.Namespace) -> Task:
    """A network of other people, on PCam or on photographs."""
    path = options.stock / FILES[name]
    size, head = PHOTOGRAPH, None
    if name == BACKBONE:
        size, head = PATCH, _head(path, options)
    collapsed = collapse(
        load_network(path, head),
        (3, size, size),
        pixel_scale=PIXELS.scale,
        pixel_zero=PIXELS.zero,
    )
    fused = run_pipeline(collapsed.graph, PREPARE)[-1].graph
    if name == BACKBONE:
        return _pcam(name, fused, options)
    count = min(options.limit or 100, 100)
    calibration = natural_images(size, CALIBRATION, seed=1)
    return Task(name, fused, natural_images(size, count), None, calibration)


def _head(path: Path, options: argparse.Namespace) -> frozen.Head:
    """The classifier of frozen features, fitted on all training patches once."""
    if options.head is not None and options.head.exists():
        return frozen.load_head(options.head)
    train = open_pcam(options.data, "train")
    features = frozen.frozen_features(
        load_network(path), train, size=PATCH, limit=len(train)
    )
    head = frozen.fit_head(*features)
    if options.head is not None:
        frozen.save_head(options.head, head)
    return head


def _pcam(name: str, fused: Graph, options: argparse.Namespace) -> Task:
    """A network on PCam's test split."""
    size = fused.input.shape[1]
    test, train = (open_pcam(options.data, split) for split in ("test", "train"))
    count = min(options.limit or len(test), len(test))
    spread = np.linspace(0, len(train) - 1, CALIBRATION).astype(np.int64)
    return Task(
        name,
        fused,
        np.ascontiguousarray(center_crop(test.read(np.arange(count)), size)),
        test.labels[:count],
        np.ascontiguousarray(center_crop(train.read(spread), size)),
    )


def main() -> None:
    """Measure the named networks, or all that there are files for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"{', '.join((*SHIPPED, *FILES))}")
    parser.add_argument("--data", type=Path, help="PCam's HDF5 files")
    parser.add_argument("--stock", type=Path, help="the stock networks' .npz files")
    parser.add_argument("--head", type=Path, help="keep the fitted classifier: .npz")
    parser.add_argument("--limit", type=int, help="use the first images only")
    options = parser.parse_args()
    if options.data is None:
        print("skipped: --data names no directory with PCam's HDF5 files")
        return
    names = options.networks or [*SHIPPED, *(FILES if options.stock else ())]
    for name in names:
        make = stock if name in FILES else shipped
        measure(make(name, options))
    if not options.stock and not options.networks:
        print("\nstock networks skipped: --stock names no directory with their files")


if __name__ == "__main__":
    main()
