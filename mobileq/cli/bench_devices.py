"""The part of `mobileq bench` that works with phones and boards."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.plan import Bench
from mobileq.bench.subject import Candidate
from mobileq.bundle import Bundle
from mobileq.cli.bench_candidates import Choice, candidates_of
from mobileq.cli.bench_inputs import spread
from mobileq.cli.bench_target import Network
from mobileq.errors import InputError, NotInstalledError
from mobileq.runtimes.device_rows import DevicePlan, DeviceRows, device_rows
from mobileq_android.devices import Wanted, find
from mobileq_android.errors import PhoneError, StoppedError
from mobileq_android.process import Stop


@dataclass(frozen=True)
class DeviceRequest:
    """What the command line asks of devices.

    Attributes:
        wanted: Which devices, and how they are worked with.
        delegates: What computes there; the usual ones if there are none.
        threads: Of one inference.
    """

    wanted: Wanted
    delegates: tuple[str, ...]
    threads: tuple[int, ...]


def measured_on_devices(
    request: DeviceRequest, bundle: Bundle, network: Network, bench: Bench
) -> DeviceRows:
    """Run a bundle's TFLite files on all devices.

    Args:
        request: Which, and how.
        bundle: Where the files are.
        network: What is known of the network.
        bench: Images, and where results are kept.

    Raises:
        InputError: a device, a tool or a file cannot be used.
        KeyboardInterrupt: the user stopped us; the devices are clean.
    """
    choice = Choice(("tflite",), {"tflite": ("xnnpack",)})
    candidates = candidates_of(bundle, network, choice)
    for candidate in candidates:
        if candidate.unavailable is not None:
            raise NotInstalledError(
                f"to compare devices with this machine: {candidate.unavailable}"
            )
    labels = None
    if bench.labelled is not None:
        rows = spread(len(bench.labelled.patches), len(bench.images))
        labels = bench.labelled.patches.labels[rows]
    stop = Stop()
    try:
        with _ending_as_interruption():
            return _measured(request, candidates, bench, labels, stop)
    except StoppedError as error:
        raise KeyboardInterrupt from error
    except PhoneError as error:
        raise InputError(str(error)) from error


def _measured(
    request: DeviceRequest,
    candidates: Sequence[Candidate],
    bench: Bench,
    labels: NDArray[np.integer[Any]] | None,
    stop: Stop,
) -> DeviceRows:
    """Find the devices and measure.

    Raises:
        PhoneError: something cannot be used.
    """
    plan = DevicePlan(find(request.wanted, stop), request.delegates, request.threads)
    return device_rows(plan, candidates, bench, labels, stop)


@contextmanager
def _ending_as_interruption() -> Iterator[None]:
    """SIGTERM is Ctrl-C: devices are left as they were in both cases."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
