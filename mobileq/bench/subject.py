"""What is measured: a network in this process, or a file that gets its own."""

from __future__ import annotations

from dataclasses import dataclass

from mobileq.bench.figures import Label
from mobileq.bench.spec import RunnerSpec
from mobileq.data.patches import Patches
from mobileq.quant.affine import Affine
from mobileq.verify.runner import Runner


@dataclass(frozen=True, eq=False)
class Subject:
    """A runner to measure.

    Attributes:
        label: What it is.
        runner: The network.
        dequantize: Scale and zero point of an integer runner's logits.
    """

    label: Label
    runner: Runner
    dequantize: Affine | None = None


@dataclass(frozen=True)
class Candidate:
    """A file on a runtime, to be measured.

    Attributes:
        label: What it is.
        spec: How to run it; None where it cannot be.
        dequantize: Scale and zero point of an integer runner's logits.
        unavailable: Why it cannot be run, and what to do.
        quality: Whether more than time and memory is measured. Outputs do not depend
            on the number of threads, so one row of each file is enough.
    """

    label: Label
    spec: RunnerSpec | None
    dequantize: Affine | None = None
    unavailable: str | None = None
    quality: bool = True


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images with their classes.

    Attributes:
        patches: The images.
        name: What the command line called them.
        checksum: Of pixels and labels (`mobileq.data.fingerprint`).
    """

    patches: Patches
    name: str
    checksum: str
