"""Starts the process behind a `mobileq.bench.process.ProcessRunner`."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from mobileq import errors

CHILD = "mobileq.runtimes.child"

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start(
    connection: Connection, cores: tuple[int, ...], threads: int, printed: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process that reads from a connection.

    Args:
        connection: Its end; this process may close it afterwards.
        cores: That it is kept on; none for any.
        threads: That libraries with a setting of their own may start.
        printed: A file that takes what it prints.

    Raises:
        UnsupportedError: the system cannot hand over a socket, as Windows cannot.
    """
    if os.name != "posix":
        raise errors.UnsupportedError(
            f"measuring needs processes that share a socket, which {platform.system()} "
            f"does not have; wanted Linux or macOS (on Windows: WSL)"
        )
    handle = connection.fileno()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_import_paths())}
    environment.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    return subprocess.Popen(
        # -P: without it, the current directory would be in front of all paths.
        [sys.executable, "-P", "-m", CHILD, str(handle), ",".join(map(str, cores))],
        pass_fds=[handle],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
    )


def ending(code: int) -> str:
    """How a process ended, in words.

    Args:
        code: Its exit code, or a signal's number below zero.
    """
    if code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    if -code == signal.SIGKILL:
        return f"was killed ({name}), as the system does when memory runs out"
    if -code in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        return f"was told to end ({name})"
    return f"crashed ({name})"


def _import_paths() -> list[str]:
    """What this process can import, that one can, however the path was set up.

    The current directory comes last. A network of one's own puts it in front here, when
    all packages are loaded; there, a file of the user's would stand in for one.
    """
    here = os.getcwd()
    paths = [path or here for path in sys.path]
    if Path(errors.__file__).parents[1] == Path(here):
        return paths
    return sorted(paths, key=lambda path: path == here)
