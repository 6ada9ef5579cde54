"""A runner in a process of its own, behind the usual `Runner` interface.

One runtime's memory and threads do not disturb another's, and one that crashes takes
nobody along. The process is `python -m mobileq.runtimes.child`; requests and answers go
through a pair of sockets, one at a time.

    what to run -> `Ready`; then any number of
    ("outputs", pixels), ("tensors", pixels), ("begin", pixels), ("block", repetitions),
    ("throughput", pixels, seconds), ("spin",), ("usage",), ("profile", pixels, runs)
    -> ("done", value) or ("failed", kind of error, message)
"""

from __future__ import annotations

import subprocess
import tempfile
import weakref
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from mobileq import errors
from mobileq.bench.cores import choose_cores
from mobileq.bench.launch import ending, start
from mobileq.bench.spec import Ready, RunnerSpec, Usage
from mobileq.bench.timing import NS_PER_MS
from mobileq.errors import MobileqError, RuntimeProcessError
from mobileq.verify.profile import Profile

_PATIENCE = 5.0
"""Seconds that a process may take to end by itself."""


class ProcessRunner:
    """A `mobileq.verify.runner.Runner` whose work is done by another process.

    It is a context manager; without `with`, the process ends together with this object
    or with the program.

    Args:
        spec: What to run.

    Raises:
        InputError: what the spec names cannot be run.
        RuntimeProcessError: the process died.
    """

    def __init__(self, spec: RunnerSpec) -> None:
        self._spec = spec
        self.cores = choose_cores(spec.threads)
        ours, theirs = Pipe()
        # What a runtime prints belongs neither into a table nor into JSON.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  (closed by _end)
        with theirs:
            self._process = start(theirs, self.cores, spec.threads, self._printed)
        self._connection = ours
        self._end = weakref.finalize(self, _end, self._process, ours, self._printed)
        self._first_ms: float | None = None
        try:
            self.ready = cast(Ready, self._ask(spec))
        except BaseException:
            # Whoever keeps the error keeps this object, and so the process.
            self.close()
            raise

    def __enter__(self) -> ProcessRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def spec(self) -> RunnerSpec:
        """What is run."""
        return self._spec

    @property
    def name(self) -> str:
        """Runtime, kernels and threads, as the runner itself says."""
        return self.ready.name

    @property
    def integer(self) -> bool:
        """Whether tensors are int8."""
        return self.ready.integer

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def load_ms(self) -> float:
        """From the file's bytes to a runner that is ready."""
        return self.ready.load_ms

    @property
    def imported_bytes(self) -> int:
        """Resident memory after the imports."""
        return self.ready.imported_bytes

    @property
    def first_ms(self) -> float | None:
        """The process's first inference; None before `timer`, or after `outputs`."""
        return self._first_ms

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits, (B, F), of (B, H, W, C) pixels."""
        return cast(NDArray[Any], self._ask("outputs", pixels))

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Every tensor of the graph, copied from one process to the other."""
        return cast(Mapping[str, NDArray[Any]], self._ask("tensors", pixels))

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """A function that runs one inference on (1, H, W, C).

        Its own time includes the way to the process and back; `timer` has none of it.
        """
        timer = self.timer(pixels)

        def once() -> None:
            timer.block(0)

        return once

    def timer(self, pixels: NDArray[np.uint8]) -> ProcessTimer:
        """Prepare inferences of one image, which are timed where they run.

        Args:
            pixels: (1, H, W, C). A later timer replaces this one.
        """
        first = self._ask("begin", pixels)
        if first is not None:
            self._first_ms = first / NS_PER_MS
        return ProcessTimer(self._ask)

    def throughput(self, pixels: NDArray[np.uint8], seconds: float = 1.0) -> float:
        """Images per second of `outputs`, the fastest of several passes.

        Args:
            pixels: (B, H, W, C), in memory of the process before the clock starts.
            seconds: How long to repeat; two passes at least.
        """
        fastest = cast(int, self._ask("throughput", pixels, seconds))
        return len(pixels) * 1e9 / fastest

    def spin(self) -> int:
        """Nanoseconds of a fixed loop on the process's cores."""
        return cast(int, self._ask("spin"))

    def usage(self) -> Usage:
        """Memory and processor time so far."""
        return cast(Usage, self._ask("usage"))

    def profile(self, pixels: NDArray[np.uint8], runs: int = 50) -> Profile:
        """Time per operator, by the runtime's own profiler.

        Args:
            pixels: (1, H, W, C).
            runs: Inferences to average over.
        """
        return cast(Profile, self._ask("profile", pixels, runs))

    def close(self) -> None:
        """End the process; it may be called twice."""
        self._end()

    def _ask(self, *request: Any) -> Any:
        """Send a request and wait for its answer.

        Raises:
            MobileqError: what the process says.
            RuntimeProcessError: it died.
        """
        if not self._end.alive:
            raise RuntimeProcessError(
                f"{self._spec.title}: its process has ended; wanted one that runs "
                f"(make a new ProcessRunner)"
            )
        try:
            self._connection.send(request)
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        except BaseException:
            # The answer to this request would be taken for the next one's.
            self._process.kill()
            self.close()
            raise
        if answer[0] == "done":
            return answer[1]
        _, kind, message = answer
        raise _error_of(kind, message, self._spec)

    def _death(self) -> RuntimeProcessError:
        """Why the process is gone; it is waited for."""
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").strip().splitlines()
        self.close()
        said = f"; last said {lines[-1].strip()[:200]!r}" if lines else ""
        return RuntimeProcessError(
            f"{self._spec.title}: its process {ending(code)}{said}; wanted one that "
            f"goes on (another --kernels or --threads, or a machine with more memory)"
        )


class ProcessTimer:
    """A `mobileq.bench.timing.Timer` of another process.

    Args:
        ask: Sends a request and returns its answer.
    """

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask

    def block(self, repetitions: int) -> list[int]:
        """Nanoseconds of each of several inferences in a row, after an untimed one."""
        return cast(list[int], self._ask("block", repetitions))


def _end(
    process: subprocess.Popen[bytes], connection: Connection, printed: IO[bytes]
) -> None:
    """Close the connection, which ends the process, and wait for it."""
    connection.close()
    try:
        process.wait(_PATIENCE)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    finally:
        printed.close()


def _error_of(kind: str, message: str, spec: RunnerSpec) -> MobileqError:
    """An error of the other process, as one of this."""
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, MobileqError):
        return known(message)
    line = " ".join(message.split()) or "no message"
    return RuntimeProcessError(
        f"{spec.title}: {kind}: {line}; wanted a network that the runtime can run "
        f"(export it again, or leave this runtime out)"
    )
