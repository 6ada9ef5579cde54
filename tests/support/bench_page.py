"""A report as a benchmark of a small network makes it, with every section."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from mobileq.bench.equivariance import AngleError, ExactSymmetry
from mobileq.bench.figures import (
    Accuracy,
    Agreement,
    Cost,
    HostComparison,
    Label,
    Operator,
    Row,
)
from mobileq.bench.html import ChannelRanges, Example, Layer, Page, Turn
from mobileq.bench.latency import Latency
from mobileq.bench.layer_report import LayerErrors, TensorError
from mobileq.bench.machine import Device, this_machine
from mobileq.bench.noise import Noise
from mobileq.bench.result import Result
from mobileq.bench.statistics import (
    Comparison,
    Estimate,
    mcnemar,
    paired_difference,
    wilson,
)
from mobileq.bench.turning import turned

ANGLES = tuple(range(0, 360, 15))
CLASSES = ("normal", "tumour")
COUNT = 32_768

RUNNERS: tuple[tuple[str, str, str, float, int], ...] = (
    ("torch", "eager", "float", 61.2, 2_418),
    ("torch", "collapsed", "float", 9.84, 2_402),
    ("onnx", "cpu", "float", 4.61, 2_376),
    ("onnx", "cpu", "int8", 2.93, 821),
    ("tflite", "xnnpack", "float", 3.92, 2_373),
    ("tflite", "xnnpack", "int8", 1.27, 858),
    ("tflite", "builtin", "int8", 2.05, 858),
    ("tflite", "reference", "int8", 96.4, 858),
)
"""Runtime, kernel, precision, median in ms, KiB."""


def page(**changes: Any) -> Page:
    """A full report, some of its fields replaced by `changes`."""
    values: dict[str, Any] = {
        "title": "pcam-equivariant",
        "group": "D4",
        "machine": {
            "processor": "AMD EPYC 9V74 80-Core Processor",
            "cores": 2,
            "system": "Linux x86_64",
            "governor": None,
            "load": 0.42,
            "flags": ["avx2", "avx512f", "avx512_vnni", "fma", "sse4_2"] * 4,
            "packages": {"numpy": "1.26.4", "torch": "2.13.0", "onnxruntime": "1.31.0"},
        },
        "noise": "An empty loop's 90th percentile is 1.7 times its median: another "
        "program was running.",
        "images": "tissue patches of the PCam test part",
        "image_count": 64,
        "data": "PCam test part",
        "rows": (*rows(), on_phone(rows()[-2])),
        "notes": (
            "Intervals do not say how another seed would have trained.",
            "The phone was not measured: no device is connected.",
        ),
        "examples": examples(),
        "ladder": LADDER,
        "certificates": CERTIFICATES,
        "layers": layers(),
        "symmetry": symmetry(),
        "commands": (
            "mobileq bench pcam-equivariant.mobileq --data pcam.h5 --runtime all",
            "mobileq compare model.float.tflite model.int8.tflite --threads 1",
        ),
        "classes": CLASSES,
        "devices": {phone().name: phone().facts()},
    }
    return Page(**{**values, **changes})


QUIET = Noise(1.02, 0.0, 0.0, 0.1)


def result_of(found: tuple[Row, ...], data: str | None = "some data") -> Result:
    """A result with given rows."""
    return Result(
        target="[bold]net",
        group="C4",
        classes=("normal", "tumour"),
        command="mobileq bench",
        measured="2026-01-01T00:00:00+00:00",
        machine=this_machine(),
        noise=QUIET,
        images="tissue",
        image_count=3,
        data=data,
        data_sha256=None if data is None else "ab" * 32,
        rows=found,
        notes=("one note",),
    )


def rows() -> tuple[Row, ...]:
    """All runtimes, and one that is not installed."""
    missing = Label("executorch", "xnnpack", "int8", 1, "model.int8.pte", 0)
    return (
        *(row(*runner) for runner in RUNNERS),
        Row(missing, unavailable="executorch is missing; pip install executorch"),
    )


def row(
    runtime: str,
    kernel: str,
    precision: str,
    median: float,
    kibibytes: int,
    *,
    threads: int = 1,
    file: str | None = None,
) -> Row:
    """Everything of one file.

    Args:
        runtime: Such as `tflite`.
        kernel: Such as `xnnpack`.
        precision: `float` or `int8`.
        median: Of the latency, ms.
        kibibytes: Size of the file.
        threads: Of one inference.
        file: Its name; by default one that fits.
    """
    integer = precision == "int8"
    name = file or (
        "model.pt" if runtime == "torch" else f"model.{precision}.{runtime}"
    )
    label = Label(
        runtime, kernel, precision, threads, name, 1024 * kibibytes, "ab" * 32
    )
    times = Latency(median, 1.09 * median, 1.6 * median, 1.03 * median, 400, threads)
    memory = 190 * 2**20
    cost = Cost(
        times, 12.5, 4 * median, 30, kernel != "reference",
        None if kernel == "reference" else 1050 / median, memory, memory // 4,
    )  # fmt: skip
    return Row(
        label,
        cost=cost,
        operators=_operators(median) if runtime == "tflite" else (),
        accuracy=_accuracy(27_951 - 23 * integer),
        agreement=_agreement() if integer else None,
        rotations=_moved(3, 12 if runtime == "onnx" and integer else 0),
        mirrors=_moved(4, 0),
        angles=_angles(0.104 + 0.006 * integer + median / 1e4),
    )


def phone() -> Device:
    """What is known of a phone."""
    return Device(
        name="A1 <b>",
        kind="android",
        model="Google Pixel 8",
        soc="Google Tensor G3",
        machine="aarch64",
        system="Android 14 (SDK 34)",
        build="google/shiba/shiba:14/UQ1A/1:user/release-keys",
        kernel="5.15.110",
        max_khz=(1704000, 1704000, 2914000, 0),
        flags=("asimd", "asimddp"),
        governor="unknown",
        memory_bytes=2**33,
        tool="benchmark_model (SHA-256 0123456789ab...)",
        state="battery 80 %, charging",
    )


def on_phone(one: Row) -> Row:
    """A row as it comes from a phone."""
    found = sparse(one)
    label = replace(found.label, runtime="android", device=phone().name)
    step = 1 if label.precision == "int8" else None
    host = HostComparison(64, 3, step, 0.004, 1.0)
    return replace(
        found,
        label=label,
        host=host,
        notes=("thermal status 2: heat lowers the clocks",),
    )


def sparse(one: Row) -> Row:
    """A row as a phone's tool has it: mean time, and little else."""
    assert one.cost is not None
    latency = replace(one.cost.latency, median_ms=None, p90_ms=None, p99_ms=None)
    cost = replace(
        one.cost,
        latency=latency,
        load_ms=None,
        first_ms=None,
        images_per_second=None,
        peak_rss_bytes=None,
        model_rss_bytes=None,
    )
    return replace(one, cost=cost)


def _operators(median: float) -> tuple[Operator, ...]:
    """Twenty, the slowest first."""
    parts = [0.82**place for place in range(20)]
    return tuple(
        Operator(
            f"block{place}/pointwise;block{place}/relu",
            ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")[place % 3],
            median * part / sum(parts),
            part / sum(parts),
        )
        for place, part in enumerate(parts)
    )


def _accuracy(right: int) -> Accuracy:
    """Scores of 32,768 images, of which `right` are right."""
    half = COUNT // 2
    found = right // 2 - 900
    others = right - found
    return Accuracy(
        count=COUNT,
        accuracy=wilson(right, COUNT),
        auc=Estimate(0.9312, 0.9285, 0.9339),
        sensitivity=wilson(found, half),
        specificity=wilson(others, half),
        f1=Estimate(0.8441, 0.8399, 0.8482),
        calibration_error=Estimate(0.0413, 0.0378, 0.0451),
        loss=0.3621,
        confusion=((others, half - others), (half - found, found)),
    )


def _agreement() -> Agreement:
    """104 images that only INT8 gets right, 127 that only the float network does."""
    difference = paired_difference(104, 127, COUNT)
    compared = Comparison(difference, 104, 127, mcnemar(104, 127), COUNT)
    return Agreement(wilson(COUNT - 231, COUNT), compared)


def _moved(motions: int, changed: int) -> ExactSymmetry:
    """64 images under some motions."""
    return ExactSymmetry(64 * motions, changed, 0.011 * (changed > 0), changed // 8)


def _angles(size: float) -> tuple[AngleError, ...]:
    """Four petals."""
    means = [size * abs(math.sin(2 * math.radians(angle))) for angle in ANGLES]
    on_grid = [angle % 90 == 0 for angle in ANGLES]
    means = [0.0 if still else mean for mean, still in zip(means, on_grid, strict=True)]
    return tuple(
        AngleError(angle, mean, 3 * mean, mean / 8)
        for angle, mean in zip(ANGLES, means, strict=True)
    )


@cache
def examples() -> tuple[Example, ...]:
    """Two patches, one of which changes its class under way."""
    return tuple(
        Example(name, tuple(_turns(seed, flips)))
        for name, seed, flips in (
            ("patch 17 (tumour)", 17, ()),
            ("patch 4,021 (normal)", 4021, (30, 45, 210)),
        )
    )


def _turns(seed: int, flips: tuple[int, ...]) -> list[Turn]:
    """One patch at all angles."""
    found = []
    for angle in ANGLES:
        png = io.BytesIO()
        Image.fromarray(turned(patch(seed)[None], angle)[0]).save(png, "png")
        name = CLASSES[(seed == 17) ^ (angle in flips)]
        found.append(Turn(angle, png.getvalue(), name, 0.5 + 0.4 * (angle % 90 == 0)))
    return found


def patch(seed: int, side: int = 64) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pink ground with violet nuclei, (S, S, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    image = np.empty((side, side, 3))
    image[:] = (232, 190, 214)
    for _ in range(26):
        middle, radius = rng.uniform(0, side, 2), rng.uniform(2.5, 5.5)
        inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
        image[inside] = np.array((112, 66, 140)) + rng.normal(0, 14, 3)
    noisy = image + rng.normal(0, 6, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def symmetry() -> LayerErrors:
    """Three tensors; INT8 breaks the symmetry in the last one, of unknown group."""
    tensors = (
        TensorError("image", "Input", (3, 9, 9), (), math.inf, 0.0, 0.0, 0, 0.1, 0.1),
        TensorError(
            *("stem", "Conv", (8, 5, 5), ("image",)), 31.5, 2e-7, 0.0, 0, 0.12, 0.13
        ),
        TensorError(
            *("head", "Linear", (2,), ("stem",)), 28.0, 3e-7, 0.0123, 7, None, None
        ),
    )
    return LayerErrors("net", "C8", 16, ((1, False),), 45.0, tensors)


def layers() -> tuple[Layer, ...]:
    """A stem, twelve blocks of two, a sum, and the classifier."""
    names = ["stem", *(f"block{k}.{part}" for k in range(12) for part in ("dw", "pw"))]
    found = [layer(name, seed) for seed, name in enumerate(names)]
    found.insert(9, Layer("block4.add", "add", None, None, None, 38.2, 47.5))
    return (*found, layer("classifier", 99, "linear"))


def layer(name: str, seed: int, kind: str = "pointwise") -> Layer:
    """One layer with weights, whose ranges are far apart as trained."""
    rng = np.random.default_rng(seed)
    before, after = (
        ChannelRanges(tuple((-width).tolist()), tuple((0.9 * width).tolist()))
        for width in (rng.lognormal(0, 1.1, 32), rng.lognormal(0, 0.15, 32))
    )
    noise = float(rng.uniform(28, 44))
    exact = float("inf") if name == "stem" else 41.5
    return Layer(name, kind, before, after, exact, noise, noise + 12)


LADDER: tuple[dict[str, Any], ...] = (
    {
        "name": "collapsed, 1 thread",
        "against": "network as trained, 1 thread",
        "measure": "relative error",
        "value": 7.97e-08,
        "limit": 1e-4,
        "passed": True,
        "first_wrong": None,
    },
    {
        "name": "simulator int8",
        "against": "INT8: deployable",
        "measure": "SQNR, dB",
        "value": 36.72211355323609,
        "limit": 6.0,
        "passed": True,
        "first_wrong": None,
    },
    {
        "name": "onnx int8, cpu, 1 thread",
        "against": "simulator int8",
        "measure": "largest step, LSB",
        "value": 31.0,
        "limit": 24,
        "passed": False,
        "first_wrong": "block4.add",
    },
)

CERTIFICATES: dict[str, dict[str, Any]] = {
    "model.int8.tflite": {
        "sha256": "ab" * 32,
        "group": "D4",
        "motions": [
            [turns, mirrored]
            for mirrored in (False, True)
            for turns in range(4)
            if turns or mirrored
        ],
    },
    "model.int8.onnx": {"sha256": "cd" * 32, "group": "C1", "motions": []},
}
