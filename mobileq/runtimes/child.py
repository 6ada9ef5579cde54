"""The process behind `mobileq.bench.process.ProcessRunner`.

    python -m mobileq.runtimes.child HANDLE CORES

It reads requests from an inherited socket and answers each. It ends when the socket is
closed, also when that happens because the other side is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobileq.bench.spec import Ready, RunnerSpec
    from mobileq.bench.timing import CallTimer
    from mobileq.runtimes.factory import Made

LEAST_PASSES = 2
"""Of a throughput measurement."""


class Server:
    """Answers requests for one runner.

    Args:
        spec: What to run.

    Raises:
        InputError: it cannot be run.
    """

    def __init__(self, spec: RunnerSpec) -> None:
        from mobileq.bench.memory import resident_bytes
        from mobileq.runtimes.factory import import_runtime, make, read, require

        require(spec.runtime)
        started = perf_counter_ns()
        import_runtime(spec)
        self._import_ms = (perf_counter_ns() - started) / 1e6
        self._imported_bytes = resident_bytes()
        data = read(spec)
        started = perf_counter_ns()
        self._made: Made = make(spec, data)
        self._load_ms = (perf_counter_ns() - started) / 1e6
        self._has_run = False
        self._timer: CallTimer | None = None

    def ready(self) -> Ready:
        """What there is to say before the first request."""
        from mobileq.bench.spec import Ready

        runner = self._made.runner
        modules = sorted({name.partition(".")[0] for name in sys.modules})
        return Ready(
            runner.name,
            runner.integer,
            self._made.image,
            self._import_ms,
            self._load_ms,
            self._imported_bytes,
            tuple(modules),
        )

    def answer(self, what: str, *values: Any) -> Any:
        """Do what a request says; `mobileq.bench.process` lists them."""
        return getattr(self, f"_{what}")(*values)

    def _outputs(self, pixels: Any) -> Any:
        """Logits."""
        self._has_run = True
        return self._made.runner.outputs(pixels)

    def _tensors(self, pixels: Any) -> Any:
        """Every tensor."""
        self._has_run = True
        return dict(self._made.runner.tensors(pixels))

    def _begin(self, pixels: Any) -> int | None:
        """Prepare one image; nanoseconds of the first inference, if it is."""
        from mobileq.bench.timing import CallTimer

        call = self._made.runner.timed(pixels)
        self._timer = CallTimer(call)
        if self._has_run:
            return None
        self._has_run = True
        started = perf_counter_ns()
        call()
        return perf_counter_ns() - started

    def _block(self, repetitions: int) -> list[int]:
        """Times of several inferences."""
        assert self._timer is not None
        return self._timer.block(repetitions)

    def _throughput(self, pixels: Any, seconds: float) -> int:
        """Nanoseconds of the fastest pass over all images."""
        end = perf_counter_ns() + seconds * 1e9
        times: list[int] = []
        self._has_run = True
        while len(times) < LEAST_PASSES or perf_counter_ns() < end:
            started = perf_counter_ns()
            self._made.runner.outputs(pixels)
            times.append(perf_counter_ns() - started)
        return min(times)

    def _spin(self) -> int:
        """Nanoseconds of a fixed loop."""
        from mobileq.bench.timing import spin

        return spin()

    def _usage(self) -> Any:
        """Memory and processor time."""
        from mobileq.bench.memory import peak_bytes
        from mobileq.bench.spec import Usage

        spent = os.times()
        return Usage(peak_bytes(), spent.user + spent.system)

    def _profile(self, pixels: Any, runs: int) -> Any:
        """Time per operator."""
        self._has_run = True
        return self._made.inner.profile(pixels, runs)


def serve(connection: Connection) -> None:
    """Make a runner and answer until the other side is gone."""
    server: Server | None = None
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if server is None:
                server = Server(*request)
                value = server.ready()
            else:
                value = server.answer(*request)
            connection.send(("done", value))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            # Whatever a runtime raises is the other side's to report.
            traceback.print_exc()
            connection.send(("failed", type(error).__name__, str(error)))


def main(arguments: list[str]) -> None:
    """Run as a process."""
    # Ctrl-C reaches the whole group; the other side decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle, cores = arguments
    from mobileq.bench.cores import pin

    # Before anything that starts threads: they inherit it.
    pin(tuple(int(core) for core in cores.split(",") if core))
    with Connection(int(handle)) as connection:
        serve(connection)


if __name__ == "__main__":
    main(sys.argv[1:])
