"""Our INT8 files against those of the runtimes' own quantizers, from the same network.

usage: python benchmarks/quantizers.py --data PCAM_DIR [--calibration 512] [--limit N]
           [--rounds 60] [--json FILE] [NETWORK ...]

Each network is exported. ONNX Runtime's `quantize_static` and LiteRT's
`ai_edge_quantizer` get its float files and images of the training split; our recipe
`dfq` gets no images, our `calibrated` the same ones. All files of a network are run on
PCam's test split, XNNPACK and ONNX Runtime's CPU kernels, one thread, and timed in one
run, in turns. Agreement is with the float file of the same format. Changed outputs are
of all test images under the three quarter turns; the group is what `mobileq certify`
proves of the file.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import machine
from benchmarks.harness.others import (
    LITERT_INSTALL,
    MOST_KEPT,
    ORT_METHODS,
    OtherOnnx,
    OtherTflite,
    left_in_float,
    litert_static,
    ort_static,
)
from benchmarks.harness.paired import Plan, interleaved, ratio
from benchmarks.harness.results import Goal, Grid, Result
from mobileq.bench.accuracy import agreement, predicted
from mobileq.bench.equivariance import ROTATIONS, exact_symmetry
from mobileq.bench.statistics import Estimate, compare, wilson
from mobileq.certify import certify
from mobileq.checkpoint import load_checkpoint
from mobileq.collapse.collapse import collapse
from mobileq.data.patches import ArrayPatches, Patches
from mobileq.data.pcam import open_pcam
from mobileq.data.transforms import center_crop
from mobileq.deploy.files import deploy
from mobileq.errors import InputError
from mobileq.quant.affine import Affine
from mobileq.recipe import load_recipe
from mobileq.verify.runner import PixelMap, Runner
from mobileq.verify.torch_runner import torch_threads
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite.runner import TfliteRunner

NETWORKS = ("pcam-equivariant", "pcam-equivariant-large", "pcam-conventional-large")
HEADER = (
    "file",
    "images for ranges",
    "accuracy, %",
    "INT8 minus float, points",
    "agreement, %",
    "time, INT8 : our dfq file",
    "time, INT8 : float",
    "changed by quarter turns",
    "proven",
    "in float",
)
WORST_LOSS = 0.1
"""Points of accuracy that INT8 may lose."""
CAVEAT = (
    "Patches of PCam that were encoded as JPEG again: accuracies are not comparable "
    "with published figures of PCam, only with each other."
)


@dataclass(frozen=True, eq=False)
class Contender:
    """One file.

    Attributes:
        name: Who made it.
        format: `TFLite` or `ONNX`.
        images: How many it was made with.
        runner: What runs it.
        dequantize: Of an integer runner's logits.
        group: What is proven of it, or why nothing was.
        left: Operators that are not in integers.
    """

    name: str
    format: str
    images: int
    runner: Runner
    dequantize: Affine | None = None
    group: str = ""
    left: tuple[str, ...] = ()


def contenders(
    name: str, calibration: NDArray[np.uint8]
) -> tuple[list[Contender], list[str]]:
    """All files of one network, float ones first in their format, and remarks."""
    checkpoint = load_checkpoint(name)
    size = checkpoint.spec.input_size
    pixels = PixelMap()
    with torch_threads(1):
        collapsed = collapse(checkpoint.build(), (3, size, size))
        made = {
            recipe: deploy(
                collapsed,
                recipe=load_recipe(recipe),
                calibration=None if recipe == "dfq" else calibration,
            )
            for recipe in ("dfq", "calibrated")
        }
    files = made["dfq"].files
    onnx, tflite = files["model.float.onnx"], files["model.float.tflite"]
    found = [
        Contender("float", "TFLite", 0, OtherTflite(tflite, pixels)),
        Contender("float", "ONNX", 0, OtherOnnx(onnx, pixels, integer=False)),
    ]
    for recipe, deployment in made.items():
        count = 0 if recipe == "dfq" else len(calibration)
        quantized = deployment.quantized
        assert quantized is not None
        output = quantized.spec.activations[quantized.graph.output]
        for kind in ("TFLite", "ONNX"):
            data = deployment.files[f"model.int8.{kind.lower()}"]
            runner: Runner = (
                TfliteRunner(data, kernels="xnnpack", pixels=pixels)
                if kind == "TFLite"
                else OnnxRunner(data, pixels=pixels)
            )
            group, left = proven(data), left_in_float(data, tflite=kind == "TFLite")
            who = f"mobileq, {recipe}"
            found.append(Contender(who, kind, count, runner, output, group, left))
    others, notes = _others(onnx, tflite, calibration, pixels)
    return found + others, notes


def _others(
    onnx: bytes, tflite: bytes, calibration: NDArray[np.uint8], pixels: PixelMap
) -> tuple[list[Contender], list[str]]:
    """Files by the runtimes' own quantizers."""
    images, count = pixels.normalize(calibration), len(calibration)
    found, notes = [], []
    for method in ORT_METHODS:
        name = f"ONNX Runtime, {method}"
        given = images if method == "MinMax" else images[:: -(-count // MOST_KEPT)]
        started = time.perf_counter()
        try:
            data = ort_static(onnx, given, method)
        except Exception as error:
            # What another quantizer cannot do is a result.
            notes.append(f"{name}: no file ({type(error).__name__}: {error}).")
            continue
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        runner: Runner = OtherOnnx(data, pixels)
        group, left = proven(data), left_in_float(data, tflite=False)
        found.append(Contender(name, "ONNX", len(given), runner, None, group, left))
    try:
        data = litert_static(tflite, images)
    except InputError:
        notes.append(f"LiteRT's quantizer is not installed ({LITERT_INSTALL}).")
        return found, notes
    group = proven(data)
    runner, left = OtherTflite(data, pixels), left_in_float(data, tflite=True)
    who = "LiteRT, static_wi8_ai8"
    found.append(Contender(who, "TFLite", count, runner, None, group, left))
    return found, notes


def proven(data: bytes) -> str:
    """The group of a file's certificate, or the reason for there being none."""
    try:
        certificate = certify(data, "file.tflite" if data[4:8] == b"TFL3" else "file")
    except InputError as error:
        return f"not read: {error}"
    if certificate.group == "C1":
        return f"none: {certificate.first_break}"
    return certificate.group


def measure(name: str, options: argparse.Namespace) -> Result:
    """All figures of one network."""
    size = load_checkpoint(name).spec.input_size
    test, train = open_pcam(options.data, "test"), open_pcam(options.data, "train")
    spread = np.linspace(0, len(train) - 1, options.calibration).astype(np.int64)
    files, notes = contenders(name, center_crop(train.read(spread), size))
    count = min(options.limit or len(test), len(test))
    images = center_crop(test.read(np.arange(count)), size)
    patches = ArrayPatches(images, test.labels[:count])
    times = interleaved(
        {f"{file.format} {file.name}": file.runner for file in files},
        images[:1],
        Plan(rounds=options.rounds),
    )
    logits = [
        predicted(f.runner, patches, input_size=size, dequantize=f.dequantize)
        for f in files
    ]
    rows, goals = [], []
    for kind in ("TFLite", "ONNX"):
        rows += list(_rows(kind, files, logits, patches, times))
    for file, found in zip(files, logits, strict=True):
        if file.name == "mobileq, dfq":
            goals.append(_loss(name, file, found, files, logits, patches.labels))
            ours, other = f"{file.format} {file.name}", _rival(file.format)
            if other in times:
                what = f"{name}: time of ours : {other}"
                goals.append(Goal.of(what, ratio(times[ours], times[other]), 1.02))
    grid = Grid(f"{name}, {count:,} test patches", HEADER, tuple(rows))
    said = (CAVEAT, *(f"{name}: {note}" for note in notes))
    return Result("quantizers", tuple(goals), (grid,), said, machine.describe())


def _rival(kind: str) -> str:
    """The other quantizer of the same format, by its default method."""
    if kind == "ONNX":
        return "ONNX ONNX Runtime, MinMax"
    return "TFLite LiteRT, static_wi8_ai8"


def _rows(
    kind: str,
    files: Sequence[Contender],
    logits: Sequence[NDArray[np.float64]],
    patches: Patches,
    times: dict[str, NDArray[np.float64]],
) -> Iterator[tuple[str, ...]]:
    """One row per file of a format."""
    pixels = patches.read(np.arange(len(patches)))
    wanted = next(
        found
        for file, found in zip(files, logits, strict=True)
        if (file.format, file.name) == (kind, "float")
    )
    for file, found in zip(files, logits, strict=True):
        if file.format != kind:
            continue
        right = found.argmax(1) == patches.labels
        share = wilson(int(right.sum()), len(right))
        symmetry = exact_symmetry(
            file.runner, pixels, ROTATIONS, dequantize=file.dequantize
        )
        own = times[f"{kind} {file.name}"]
        compared = compare(right, wanted.argmax(1) == patches.labels)
        integer = file.name != "float"
        print(f"measured: {kind} {file.name}", file=sys.stderr)
        yield (
            f"{kind}: {file.name}",
            f"{file.images}" if file.images else "none",
            _percent(share),
            _points(compared.difference) if integer else "",
            f"{100 * agreement(found, wanted):.2f}" if integer else "",
            _times(ratio(own, times[f"{kind} mobileq, dfq"])),
            _times(ratio(own, times[f"{kind} float"])) if integer else "",
            f"{symmetry.changed:,} of {symmetry.compared:,}",
            file.group,
            ", ".join(file.left) or "nothing" if integer else "",
        )


def _loss(
    name: str,
    file: Contender,
    found: NDArray[np.float64],
    files: Sequence[Contender],
    logits: Sequence[NDArray[np.float64]],
    labels: NDArray[np.uint8],
) -> Goal:
    """Points of accuracy that our data-free INT8 file loses."""
    wanted = next(
        values
        for other, values in zip(files, logits, strict=True)
        if (other.format, other.name) == (file.format, "float")
    )
    lost = compare(wanted.argmax(1) == labels, found.argmax(1) == labels).difference
    value, low, high = (100 * x for x in (lost.value, lost.low, lost.high))
    what = f"{name}: {file.format}, accuracy lost by INT8 (dfq)"
    return Goal(what, value, low, high, WORST_LOSS, unit="points")


def _percent(found: Estimate) -> str:
    """A share."""
    value, low, high = (100 * x for x in (found.value, found.low, found.high))
    return f"{value:.2f} ({low:.1f} to {high:.1f})"


def _points(found: Estimate) -> str:
    """A difference of accuracies."""
    value, low, high = (100 * x for x in (found.value, found.low, found.high))
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _times(found: Estimate) -> str:
    """A ratio of times."""
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def joined(results: Sequence[Result]) -> Result:
    """Results of several networks as one; a note is said once."""
    return Result(
        "quantizers",
        tuple(goal for result in results for goal in result.goals),
        tuple(grid for result in results for grid in result.grids),
        tuple(dict.fromkeys(note for result in results for note in result.notes)),
        results[-1].machine,
    )


def main() -> None:
    """Measure the named networks, or three shipped ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--data", type=Path, help="PCam's HDF5 files")
    parser.add_argument("--calibration", type=int, default=512, help="training images")
    parser.add_argument("--limit", type=int, help="use the first test patches only")
    parser.add_argument("--rounds", type=int, default=60, help="blocks of each file")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    if options.data is None:
        print("skipped: --data names no directory with PCam's HDF5 files")
        return
    result = joined([measure(name, options) for name in options.networks])
    if options.json is not None:
        result.write(options.json)
    print(result.markdown())


if __name__ == "__main__":
    main()
