"""What is measured of one file on one runtime, as plain frozen values.

    Label        which file, runtime, kernels, precision, threads
    Cost         load time, first inference, latency, throughput, memory
    Operator     time of one operator
    Accuracy     scores on labelled images, with intervals
    Agreement    with the float network, on the same images
    HostComparison   a device against this machine
    Row          all of it for one label; parts that were not measured are None

Every figure says what it was measured with; times are in milliseconds, sizes in bytes,
shares from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from mobileq.bench.equivariance import AngleError, ExactSymmetry
from mobileq.bench.latency import Latency
from mobileq.bench.statistics import Comparison, Estimate


@dataclass(frozen=True)
class Label:
    """What a row of the report is about.

    Attributes:
        runtime: `tflite`, `onnx` or `torch`; `android` and `linux` are TFLite files on
            phones and boards.
        kernel: Which of the runtime's kernels, or of a phone's delegates.
        precision: `float` or `int8`.
        threads: Threads of one inference.
        file: Name of the file.
        file_bytes: Its size in bytes.
        sha256: Of the file, in hexadecimal; empty where it is not known.
        device: Phone or board that it ran on; empty for this machine.
    """

    runtime: str
    kernel: str
    precision: str
    threads: int
    file: str
    file_bytes: int
    sha256: str = ""
    device: str = ""

    def __str__(self) -> str:
        """For a terminal."""
        where = f" on {self.device}" if self.device else ""
        return f"{self.runtime} {self.precision} {self.kernel}{where}"


@dataclass(frozen=True)
class Cost:
    """What running a file costs, in a process of its own.

    Attributes:
        latency: Times of single inferences of one image, after the warm-up.
        load_ms: From the file's bytes to a runner that is ready; without imports. None,
            like the next and like the memory, where a tool of others does not say.
        first_ms: The first inference, which may pack weights and allocate memory.
        warmup_runs: Inferences before any was timed.
        steady: Whether the warm-up ended because times had become stable.
        images_per_second: Throughput over many images in one call; None if it was not
            measured.
        peak_rss_bytes: Most resident memory of the process.
        model_rss_bytes: How much of it came after the runtime was imported.
    """

    latency: Latency
    load_ms: float | None
    first_ms: float | None
    warmup_runs: int
    steady: bool
    images_per_second: float | None
    peak_rss_bytes: int | None
    model_rss_bytes: int | None


@dataclass(frozen=True)
class Operator:
    """Time of one operator of a file, as the runtime's profiler has it.

    Attributes:
        name: Of the operator or of the tensor that it makes.
        kind: Such as CONV_2D.
        mean_ms: In one inference.
        share: Of all operators' time, 0 to 1.
    """

    name: str
    kind: str
    mean_ms: float
    share: float


@dataclass(frozen=True)
class Accuracy:
    """How often a network is right, with 95 % intervals.

    Attributes:
        count: Images.
        accuracy: Share of correct predictions (Wilson).
        auc: Area under the ROC curve (DeLong); None unless there are two classes, and
            images of both.
        sensitivity: Share of class 1 that is found (Wilson); None likewise.
        specificity: Share of class 0 that is left alone (Wilson); None likewise.
        f1: Harmonic mean of precision and sensitivity of class 1, or the mean over
            classes if there are more than two (bootstrap); NaN where class 1 neither
            occurs nor is predicted.
        calibration_error: Expected calibration error over 15 equal bins of the winning
            class's probability (bootstrap).
        loss: Mean cross-entropy in nats.
        confusion: Images by true class (rows) and predicted class (columns).
    """

    count: int
    accuracy: Estimate
    auc: Estimate | None
    sensitivity: Estimate | None
    specificity: Estimate | None
    f1: Estimate
    calibration_error: Estimate
    loss: float
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Agreement:
    """A network and the float network that it was made from, on the same images.

    Attributes:
        same_class: Share of images that both put into the same class (Wilson).
        accuracy: Paired difference of their accuracies, this one's minus the float
            network's, and McNemar's test.
    """

    same_class: Estimate
    accuracy: Comparison


@dataclass(frozen=True)
class HostComparison:
    """What a device answers, against the same file on this machine (XNNPACK).

    Attributes:
        images: How many were compared.
        differing: How many of their outputs differ in any bit.
        largest_step: Largest difference of an integer file, in steps of its output;
            None of a float file.
        largest_relative: Largest difference, divided by the largest output.
        same_class: Share of images that both put into the same class; None of maps.
    """

    images: int
    differing: int
    largest_step: int | None
    largest_relative: float
    same_class: float | None


@dataclass(frozen=True)
class Row:
    """Figures of one file on one runtime.

    Attributes:
        label: What it is.
        unavailable: Why nothing was measured, and what to do (a `pip install` line);
            None where something was.
        cost: Time and memory.
        operators: The slowest first; empty if no profile was asked for.
        accuracy: None without labelled images.
        agreement: None without them, and for the float network itself.
        rotations: Outputs under turns of 90, 180 and 270 degrees.
        mirrors: Outputs under the four mirror images.
        angles: Error at other angles; empty if it was not measured.
        host: Against this machine; None for what ran here.
        notes: What to know about these figures, such as heat; a line each.
    """

    label: Label
    unavailable: str | None = None
    cost: Cost | None = None
    operators: tuple[Operator, ...] = ()
    accuracy: Accuracy | None = None
    agreement: Agreement | None = None
    rotations: ExactSymmetry | None = None
    mirrors: ExactSymmetry | None = None
    angles: tuple[AngleError, ...] = ()
    host: HostComparison | None = None
    notes: tuple[str, ...] = ()
