"""What devices give, as the figures that every runtime's rows have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.figures import Cost, HostComparison
from mobileq.bench.latency import Latency
from mobileq.bench.machine import Device
from mobileq.runtimes.device_runner import DeviceRunner
from mobileq.verify.metrics import largest_step, relative_error
from mobileq.verify.runner import Runner
from mobileq_android.plan import Timed
from mobileq_android.session import Session


class Known:
    """A runner whose outputs are known; it is asked for no other images.

    Args:
        runner: Computes them, all in one call.
        images: (N, H, W, C), all that will be asked for.
    """

    def __init__(self, runner: Runner, images: NDArray[np.uint8]) -> None:
        self._runner = runner
        found = runner.outputs(images)
        pairs = zip(images, found, strict=True)
        self._outputs = {image.tobytes(): output for image, output in pairs}

    @property
    def name(self) -> str:
        """The runner's."""
        return self._runner.name

    @property
    def integer(self) -> bool:
        """Whether tensors are int8."""
        return self._runner.integer

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """What the runner has answered to (B, H, W, C) pixels."""
        return np.stack([self._outputs[image.tobytes()] for image in pixels])

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """As the runner."""
        return self._runner.tensors(pixels)

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """As the runner."""
        return self._runner.timed(pixels)


def against_here(
    device: DeviceRunner, known: Runner, images: NDArray[np.uint8]
) -> HostComparison:
    """What the device answers, against this machine."""
    found, wanted = known.outputs(images), device.here.outputs(images)
    one, other = (
        np.ascontiguousarray(each).reshape(len(images), -1).view(np.uint8)
        for each in (found, wanted)
    )
    same = None
    if found.ndim == 2 and found.shape[1] > 1:
        same = float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    return HostComparison(
        len(images),
        int((one != other).any(axis=1).sum()),
        largest_step(found, wanted) if device.integer else None,
        relative_error(found, wanted),
        same,
    )


def cost_of(timed: Timed, threads: int) -> Cost:
    """Figures of a tool; what it does not say is None."""
    timing = timed.timing
    latency = Latency(
        timing.median_ms,
        timing.p90_ms,
        timing.p99_ms,
        timing.mean_ms,
        timing.runs,
        threads,
        timing.p95_ms,
    )
    return Cost(
        latency=latency,
        load_ms=timing.load_ms,
        first_ms=timing.first_ms,
        warmup_runs=timing.warmup_runs or 0,
        steady=not timed.throttled,
        images_per_second=None,
        peak_rss_bytes=timing.peak_bytes,
        model_rss_bytes=timing.model_bytes,
    )


def notes_of(timed: Timed) -> tuple[str, ...]:
    """What to know about a row's figures."""
    notes = list(timed.notes)
    if timed.setting.cores:
        notes.append(f"kept on cores {', '.join(map(str, timed.setting.cores))}")
    return tuple(notes)


def described(session: Session) -> Device:
    """A device, as results have it."""
    device = session.device
    tools = [] if session.tool is None else [str(session.tool)]
    if session.interpreter is not None:
        tools.append(f"LiteRT {session.interpreter} for Python")
    return Device(
        name=device.name,
        kind=device.kind,
        model=device.model,
        soc=device.soc,
        machine=device.machine,
        system=device.system,
        build=device.build,
        kernel=device.kernel,
        max_khz=device.max_khz,
        flags=device.features,
        governor=device.governor,
        memory_bytes=device.memory_bytes,
        tool=" and ".join(tools),
        state=str(session.state()),
    )
