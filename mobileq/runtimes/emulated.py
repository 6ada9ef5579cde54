"""Files on LiteRT's arm64 kernels, by an emulator: what they answer, never how fast.

The emulated process is given images as the file takes them and returns what the file
returns (`mobileq_android.litert_runner`); what both mean is read by the same code as on
this machine, so outputs can be compared bit for bit.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.launch import ending
from mobileq.errors import BundleError, RuntimeProcessError
from mobileq.verify.runner import PixelMap
from mobileq_android import litert_runner

if TYPE_CHECKING:
    from mobileq.runtimes.arm64_root import Arm64Root
    from mobileq_tflite.runner import Kernels

PATIENCE = 600.0
"""Seconds for all images of one call, by default; a second each is usual."""

MACHINE = "aarch64"
_MOST_SAID = 2**16
"""Bytes of what a process printed that are looked at."""


class EmulatedRunner:
    """Outputs of a TFLite file on an emulated arm64 processor.

    It answers as a `mobileq.verify.runner.Runner` does, except that it has no times:
    emulated ones mean nothing.

    Args:
        path: A TFLite file.
        cpu: Processor, as the emulator names it.
        kernels: `xnnpack`, `builtin` or `reference`.
        threads: Threads of one inference.
        root: The emulated system.
        pixels: How the pixels of a file are normalized that takes real numbers.
        patience: Seconds that one call of `outputs` may take.

    Raises:
        BundleError: no such file, or a damaged one.
        InputError: the emulator does not know the processor.
    """

    def __init__(
        self,
        path: Path,
        cpu: str,
        kernels: Kernels = "xnnpack",
        threads: int = 1,
        *,
        root: Arm64Root,
        pixels: PixelMap = PixelMap(),  # noqa: B008  (frozen)
        patience: float = PATIENCE,
    ) -> None:
        from mobileq_tflite.runner import TfliteRunner

        try:
            # Not resolved: the emulator opens it under this name, too.
            data = path.read_bytes()
            self._here = TfliteRunner(
                data, kernels=kernels, threads=threads, pixels=pixels
            )
        except OSError as error:
            raise BundleError(
                f"{path}: cannot be read ({error.strerror}); wanted a .tflite file"
            ) from error
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error
        self._data, self._path, self._cpu = data, path, cpu
        self._kernels, self._threads = kernels, threads
        self._root, self._patience = root, patience
        self._command = root.command(cpu)
        self._features: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as `tflite int8, xnnpack, 1 thread, emulated cortex-a76`."""
        return f"{self._here.name}, emulated {self._cpu}"

    @property
    def integer(self) -> bool:
        """Whether the file computes in int8."""
        return self._here.integer

    @property
    def features(self) -> tuple[str, ...]:
        """Extensions that the processor has, once something has run on it."""
        return self._features

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Outputs of (B, H, W, C) pixels, as `TfliteRunner.outputs` gives them.

        Raises:
            BundleError: the images are of another size.
            RuntimeProcessError: the emulated process crashed, took too long, or
                returned something else than outputs.
        """
        images = self._here.prepared(pixels)
        with tempfile.TemporaryDirectory(prefix="mobileq-arm64-") as folder:
            place = Path(folder)
            raw = b"".join(image.tobytes() for image in images)
            (place / "inputs").write_bytes(raw)
            # A copy of what was checked: the file itself may be replaced meanwhile.
            (place / "model.tflite").write_bytes(self._data)
            self._run(place)
            self._features = self._told(place / "facts.json")
            found = self._returned(place / "outputs", len(images))
        return self._here.read(found)

    def _run(self, place: Path) -> None:
        """Run the script in a directory that holds its inputs.

        Raises:
            RuntimeProcessError: it did not end well, or in time.
        """
        files = {"model": "model.tflite", "inputs": "inputs", "outputs": "outputs"}
        request = {
            "packages": str(self._root.packages),
            "kernels": self._kernels,
            "threads": self._threads,
            "facts": str(place / "facts.json"),
            **{key: str(place / name) for key, name in files.items()},
            # Emulated times mean nothing.
            "runs": 0,
        }
        told = place / "request.json"
        told.write_text(json.dumps(request), encoding="utf-8")
        command = [*self._command, litert_runner.__file__, str(told)]
        # Nothing of this machine's environment is meant for arm64 programs: not its
        # LD_PRELOAD, and not QEMU's own variables.
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(place)}
        with (place / "said").open("w+b") as said:
            try:
                done = subprocess.run(
                    command,
                    cwd=place,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    timeout=self._patience,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise self._failed(
                    f"was not done after {self._patience:g} s{_last_line(place)}"
                ) from error
            except OSError as error:
                raise self._failed(f"cannot be started ({error.strerror})") from error
        if done.returncode != 0:
            # QEMU passes a signal on to itself, or ends with 128 and its number.
            code = done.returncode
            code = 128 - code if 128 < code < 192 else code
            raise self._failed(f"{ending(code)}{_last_line(place)}")

    def _told(self, path: Path) -> tuple[str, ...]:
        """What the process says it ran on.

        Raises:
            RuntimeProcessError: not arm64, or nothing that can be read.
        """
        try:
            facts = json.loads(path.read_bytes())
            machine, features = facts["machine"], tuple(map(str, facts["features"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._failed(f"does not say what it ran on ({error})") from error
        if machine != MACHINE:
            raise self._failed(f"ran on {machine!r} instead of {MACHINE}")
        return features

    def _returned(self, path: Path, count: int) -> NDArray[Any]:
        """What the file returned for each image.

        Raises:
            RuntimeProcessError: no outputs, or of another size.
        """
        one, kind = self._here.made
        wanted = count * prod(one) * kind.itemsize
        try:
            size = path.stat().st_size
            # Before it is read: it can be larger than memory.
            raw = path.read_bytes() if size == wanted else b""
        except OSError as error:
            raise self._failed(f"returned no outputs ({error})") from error
        if len(raw) != wanted:
            raise self._failed(f"returned {size} bytes of outputs instead of {wanted}")
        return np.frombuffer(raw, kind).reshape(count * one[0], *one[1:]).copy()

    def _failed(self, how: str) -> RuntimeProcessError:
        """An error in one line."""
        line = " ".join(how.split())
        return RuntimeProcessError(
            f"{self._path} on {self._cpu}: the emulated process {line}; wanted outputs "
            f"(make the arm64 system anew with tools/arm64_root.sh, or leave this "
            f"processor out)"
        )


def _last_line(place: Path) -> str:
    """The last line that a process printed, for a message; empty if there is none."""
    with (place / "said").open("rb") as said:
        size = said.seek(0, 2)
        said.seek(max(0, size - _MOST_SAID))
        lines = said.read().decode(errors="replace").strip().splitlines()
    return f"; last said {lines[-1].strip()[:200]!r}" if lines else ""
