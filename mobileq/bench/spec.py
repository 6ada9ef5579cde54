"""What a process of its own is told to run, and what it says of itself.

Both sides of `mobileq.bench.process` import this file, so nothing heavy may be here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mobileq.contract import Head
from mobileq.errors import InputError
from mobileq.quant.affine import Affine
from mobileq.verify.runner import PixelMap

RuntimeName = Literal["tflite", "onnx", "torch"]

KERNELS: Mapping[str, tuple[str, ...]] = {
    "tflite": ("xnnpack", "builtin", "reference"),
    "onnx": ("cpu",),
    "torch": ("eager", "collapsed"),
}
"""Kernels by runtime. Of torch: as the network was trained, and without escnn."""


@dataclass(frozen=True)
class RunnerSpec:
    """A network on a runtime.

    Attributes:
        runtime: `tflite`, `onnx` or `torch`.
        kernel: One of the runtime's `KERNELS`.
        path: Of the file; for torch a checkpoint's path or a shipped name.
        threads: Of one inference.
        pixels: How pixels become real numbers, for a file that takes real ones and for
            a network of one's own; None for what is usual.
        head: What follows the logits in the file. With a head, the runner returns the
            logits that have the file's scores.
        output: What integer scores of a file with a head stand for.
        factory: `package.module:function`, for torch and weights of one's own.
        shape: (C, H, W) of the images of a network of one's own.
        trust_pickle: Whether code in the checkpoint may run.
    """

    runtime: RuntimeName
    kernel: str
    path: str
    threads: int = 1
    pixels: PixelMap | None = None
    head: Head = Head.NONE
    output: Affine | None = None
    factory: str | None = None
    shape: tuple[int, int, int] | None = None
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        """Check.

        Raises:
            InputError: an unknown runtime or kernel, or no thread.
        """
        if self.runtime not in KERNELS:
            raise InputError(
                f"runtime is {self.runtime!r}; wanted {' or '.join(KERNELS)}"
            )
        known = KERNELS[self.runtime]
        if self.kernel not in known:
            raise InputError(
                f"kernel of {self.runtime} is {self.kernel!r}; wanted "
                f"{' or '.join(known)}"
            )
        if self.threads < 1:
            raise InputError(f"threads is {self.threads}; wanted 1 or more")

    @property
    def title(self) -> str:
        """For messages, such as `model.int8.tflite (tflite, xnnpack)`."""
        return f"{Path(self.path).name} ({self.runtime}, {self.kernel})"


@dataclass(frozen=True)
class Ready:
    """What a process says when its runner is ready.

    Attributes:
        name: Of the runner.
        integer: Whether its tensors are int8.
        image: (H, W, C) of the images.
        import_ms: To import the runtime.
        load_ms: From the file's bytes to the runner; for torch, from the checkpoint.
        imported_bytes: Resident memory after the imports, before the file was read.
        modules: Top-level packages that were imported, sorted.
    """

    name: str
    integer: bool
    image: tuple[int, int, int]
    import_ms: float
    load_ms: float
    imported_bytes: int
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Usage:
    """What a process has used so far.

    Attributes:
        peak_bytes: Most resident memory.
        cpu_seconds: Of all its threads.
    """

    peak_bytes: int
    cpu_seconds: float
