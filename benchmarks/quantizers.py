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
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import machine
from benchmarks.harness.contenders import Contender, contenders
from benchmarks.harness.paired import Plan, interleaved, ratio
from benchmarks.harness.results import Goal, Grid, Result
from mobileq.bench.accuracy import agreement, predicted
from mobileq.bench.equivariance import ROTATIONS, exact_symmetry
from mobileq.bench.statistics import Estimate, compare, wilson
from mobileq.checkpoint import load_checkpoint
from mobileq.data.patches import ArrayPatches, Patches
from mobileq.data.pcam import open_pcam
from mobileq.data.transforms import center_crop

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
