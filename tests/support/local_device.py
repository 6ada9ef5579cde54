"""This machine as a device: its own shell, files and programs behind `Target`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mobileq_android.errors import DeviceGoneError, PhoneError
from mobileq_android.process import Done, Stop, run
from mobileq_android.shell import quoted
from support.scripts import HEADER

PYTHON = sys.executable

_TOOL = """{header}import os, sys, time
FLAGS = "graph num_threads num_runs min_secs warmup_runs warmup_min_secs input_layer \
input_layer_shape input_layer_value_files output_filepath use_xnnpack use_gpu".split()
if "--help" in sys.argv:
    print("usage: a benchmark_model of the tests <flags>")
    for flag in FLAGS:
        print(f"\\t--{{flag}}=...")
    sys.exit()
given = dict(one[2:].split("=", 1) for one in sys.argv[1:])
assert set(given) <= set(FLAGS), given
def figures(us=1500):
    usual = f"first={{us}} curr={{us}} min={{us}} max={{us}} avg={{us}} std=0"
    print(f"INFO: count=3 {{usual}}")
    print(f"INFO: count=50 {{usual}} p5={{us}} median={{us}} p95={{us}}")
    ends = f"First inference: {{us}}, Warmup (avg): {{us}}, Inference (avg): {{us}}"
    print(f"INFO: Inference timings in us: Init: 4000, {{ends}}")
def outputs():
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(given["graph"])
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    if given["input_layer"] != source["name"]:
        sys.exit("ERROR: no input of this name")
    path = given["input_layer_value_files"].rpartition(":")[2]
    shape = [int(n) for n in given["input_layer_shape"].split(",")]
    image = np.fromfile(path, source["dtype"]).reshape(shape)
    interpreter.set_tensor(source["index"], image)
    interpreter.invoke()
    made = interpreter.get_output_details()[0]["index"]
    interpreter.get_tensor(made).tofile(given["output_filepath"])
def usual():
    outputs() if "output_filepath" in given else figures()
{does}
"""


def make_tool(path: Path, does: str = "usual()") -> Path:
    """A program that takes benchmark_model's flags.

    Args:
        path: Where.
        does: Python code of what it does; `figures`, `outputs` and `usual` are known,
            and the flags are in `given`.
    """
    path.write_text(_TOOL.format(header=HEADER, does=does), encoding="utf-8")
    return path


def ended(pid: int, seconds: float = 30.0) -> bool:
    """Whether a process ends soon; one that nobody has waited for has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if status.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


class LocalDevice:
    """A `mobileq_android.target.Target` that is this machine.

    Args:
        place: Directory for the device's files.
        stop: When it is set, whatever runs is ended.
    """

    name = "local device"

    def __init__(self, place: Path, stop: Stop | None = None) -> None:
        self.folder = str(place / "mobileq")
        self._place, self._stop = place, stop or Stop()
        self.pushes: list[str] = []
        self.gone = False
        self.arrives: Callable[[bytes], bytes] = bytes

    def run(self, command: Sequence[str], *, timeout: float = 60.0) -> Done:
        """Run a command in this machine's shell, quoted."""
        self._check()
        return run(["sh", "-c", quoted(command)], stop=self._stop, timeout=timeout)

    def push(self, source: Path, path: str) -> None:
        """Copy a file; `arrives` is what becomes of it on the way."""
        self._check()
        self.pushes.append(path)
        try:
            Path(path).write_bytes(self.arrives(source.read_bytes()))
        except OSError as error:
            raise PhoneError(f"{self.name}: {error}") from error

    def pull(self, path: str) -> bytes:
        """Read a file."""
        self._check()
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise PhoneError(f"{self.name}: {error}") from error

    def unstopped(self) -> LocalDevice:
        """The same, whatever was stopped."""
        other = LocalDevice(self._place)
        other.gone = self.gone
        return other

    def files(self) -> list[str]:
        """Names of all files and directories in its folder."""
        folder = Path(self.folder)
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))

    def wipe(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _check(self) -> None:
        """Check that it is still there.

        Raises:
            DeviceGoneError: it is not.
        """
        if self.gone:
            raise DeviceGoneError(f"{self.name}: is gone; wanted a device")
