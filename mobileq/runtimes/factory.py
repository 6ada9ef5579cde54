"""Makes the runner that a `RunnerSpec` describes; imports its runtime and no other."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobileq.bench.spec import RunnerSpec
from mobileq.contract import Head
from mobileq.errors import BundleError, InputError, NotInstalledError
from mobileq.verify.runner import PixelMap, Runner

if TYPE_CHECKING:
    from mobileq.deploy.sources import Network

PACKAGES = {
    "tflite": {"ai_edge_litert": "ai-edge-litert", "flatbuffers": "flatbuffers"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime"},
    "torch": {"torch": "torch", "escnn": "escnn"},
}
"""Distribution by module, for each runtime."""


@dataclass(frozen=True, eq=False)
class Made:
    """A runner that is ready.

    Attributes:
        runner: The network.
        inner: The runtime's own runner, which `runner` may wrap.
        image: (H, W, C) of its images.
    """

    runner: Runner
    inner: Any
    image: tuple[int, int, int]


def missing(runtime: str) -> str | None:
    """What a runtime needs that is not installed, and what to do; None if nothing is.

    Nothing is imported, so this is quick.

    Args:
        runtime: One of `PACKAGES`.
    """
    absent = [
        package
        for module, package in PACKAGES[runtime].items()
        if find_spec(module) is None
    ]
    if not absent:
        return None
    wanted = " ".join(f"'{_requirement(package)}'" for package in absent)
    return f"{' and '.join(absent)} not installed (pip install {wanted})"


def require(runtime: str) -> None:
    """Check that a runtime is installed.

    Raises:
        NotInstalledError: it is not.
    """
    found = missing(runtime)
    if found is not None:
        raise NotInstalledError(f"{runtime}: {found}")


def import_runtime(spec: RunnerSpec) -> None:
    """Import what the runner needs, so that loading can be timed without it."""
    if spec.runtime == "tflite":
        import mobileq_tflite.runner  # noqa: F401
    elif spec.runtime == "onnx":
        import mobileq_onnx.runner  # noqa: F401
        from mobileq_onnx.session import sums_saturate

        # Found out once in a process, about the machine and not about the file.
        sums_saturate()
    else:
        import mobileq.collapse.collapse
        import mobileq.deploy.sources
        import mobileq.models.build
        import mobileq.verify.torch_runner
    if spec.head is not Head.NONE:
        import mobileq.verify.headed  # noqa: F401


def read(spec: RunnerSpec) -> bytes:
    """The file's bytes; none for torch, which reads its checkpoint itself.

    Raises:
        BundleError: there is no such file.
    """
    if spec.runtime == "torch":
        return b""
    try:
        return Path(spec.path).read_bytes()
    except OSError as error:
        raise BundleError(
            f"{spec.path}: cannot be read ({error.strerror}); wanted a "
            f".{spec.runtime} file"
        ) from error


def make(spec: RunnerSpec, data: bytes) -> Made:
    """Make the runner.

    Args:
        spec: What to run.
        data: The file's bytes, from `read`.

    Raises:
        InputError: the file or the checkpoint cannot be run.
    """
    if spec.runtime == "torch":
        return _torch(spec)
    try:
        inner = _of_file(spec, data)
    except BundleError as error:
        # The runners are given bytes, and cannot say whose.
        raise BundleError(f"{spec.path}: {error}") from error
    runner: Runner = inner
    if spec.head is not Head.NONE:
        from mobileq.verify.headed import Unheaded

        runner = Unheaded(inner, spec.head, spec.output)
    return Made(runner, inner, inner.image)


def _of_file(spec: RunnerSpec, data: bytes) -> Any:
    """The runtime's own runner of a file."""
    pixels = spec.pixels or PixelMap()
    if spec.runtime == "tflite":
        from mobileq_tflite.runner import TfliteRunner

        kernel: Any = spec.kernel
        return TfliteRunner(data, kernels=kernel, threads=spec.threads, pixels=pixels)
    from mobileq_onnx.runner import OnnxRunner

    return OnnxRunner(data, threads=spec.threads, pixels=pixels)


def _torch(spec: RunnerSpec) -> Made:
    """The network as it was trained, or without escnn."""
    from mobileq.deploy.sources import Source, load_network
    from mobileq.verify.torch_runner import TorchRunner

    network = load_network(
        Source(spec.path, spec.factory, spec.shape, spec.pixels, spec.trust_pickle)
        if spec.factory is not None or spec.trust_pickle
        else Source(spec.path)
    )
    channels, height, width = network.shape
    inner = TorchRunner(
        _module(spec, network),
        f"torch {spec.kernel}",
        pixels=network.pixels,
        threads=spec.threads,
    )
    return Made(inner, inner, (height, width, channels))


def _module(spec: RunnerSpec, network: Network) -> Any:
    """The torch module to run.

    Raises:
        InputError: the source is collapsed, and holds a graph but no torch module.
    """
    from mobileq.collapse.model import CollapsedModel
    from mobileq.deploy.export import as_collapsed

    if isinstance(network.model, CollapsedModel):
        raise InputError(
            f"{spec.path}: is a collapsed checkpoint, which has no torch modules; "
            f"wanted the network as it was trained (pass its checkpoint for torch)"
        )
    if spec.kernel == "eager":
        return network.model
    return as_collapsed(
        network.model, network.shape, network.pixels, lambda message: None
    ).module


def _requirement(package: str) -> str:
    """What this version of mobileq asks pip for, such as `onnxruntime>=1.31`."""
    try:
        lines = metadata.requires("mobileq") or []
    except metadata.PackageNotFoundError:
        return package
    for line in lines:
        name = line.split(";")[0].strip()
        if name.startswith(package) and not name[len(package) :][:1].isalnum():
            rest = name[len(package) :]
            if not rest or rest[0] in "<>=!~ ":
                return name
    return package
