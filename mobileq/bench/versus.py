"""Two files in processes of their own, compared by the ratio of their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mobileq.bench.noise import Noise, NoiseMeter
from mobileq.bench.paired import Paired, PairedPlan, compare_times
from mobileq.bench.process import ProcessRunner
from mobileq.bench.spec import RunnerSpec
from mobileq.bench.timing import Timer
from mobileq.verify.images import verification_images


def compare_specs(
    a: RunnerSpec,
    b: RunnerSpec,
    plan: PairedPlan | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, rounds: None,
) -> tuple[Paired, Noise]:
    """Compare two networks on an image of synthetic tissue.

    They may take images of different sizes; each gets one of its own.

    Args:
        a: The one whose time is divided.
        b: The one by whose time it is divided.
        plan: How long.
        progress: Told the rounds that are done, and all of them.

    Raises:
        InputError: one of them cannot be run.
        RuntimeProcessError: its process died.
    """
    running: list[ProcessRunner] = []
    ended = 0.0

    def own_seconds() -> float:
        return ended + sum(runner.usage().cpu_seconds for runner in running)

    @contextmanager
    def pair() -> Iterator[tuple[Timer, Timer]]:
        nonlocal ended
        with ProcessRunner(a) as first, ProcessRunner(b) as second:
            running[:] = [first, second]
            yield _timer(first), _timer(second)
            ended = own_seconds()
            running.clear()

    meter = NoiseMeter(own_seconds)

    def after_block(which: int) -> None:
        meter.add(running[which].spin())

    found = compare_times(pair, plan, after_block=after_block, progress=progress)
    return found, meter.finish()


def _timer(runner: ProcessRunner) -> Timer:
    """Inferences of one image that fits."""
    height, width, channels = runner.ready.image
    return runner.timer(verification_images((channels, height, width), count=1))
