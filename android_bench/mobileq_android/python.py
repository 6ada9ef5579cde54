"""LiteRT for Python on a device, where there is one: a board, or Termux on a phone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev, quantiles
from typing import Any

from mobileq_android.errors import PhoneError, ToolError, one_line
from mobileq_android.parse import Timing
from mobileq_android.process import Done
from mobileq_android.target import Target
from mobileq_android.tools import Budget, Setting

_ASK = """
import sys
if len(sys.argv) > 1: sys.path.insert(0, sys.argv[1])
import numpy, ai_edge_litert.interpreter, ai_edge_litert
print('LiteRT', getattr(ai_edge_litert, '__version__', 'unknown'))
"""
_NS_PER_MS = 1e6


def version(target: Target, program: str, packages: str | None) -> str:
    """Version of LiteRT that a device's Python has.

    Args:
        target: The device.
        program: Python, as a name on the device's PATH or a path.
        packages: Directory to import from.

    Raises:
        PhoneError: it cannot be imported.
    """
    command = [program, "-I", "-c", _ASK, *([packages] if packages else [])]
    done = target.run(command, timeout=120.0)
    words = done.out.decode(errors="replace").split()
    if done.code != 0 or len(words) != 2 or words[0] != "LiteRT":
        said = done.text.splitlines()
        raise PhoneError(
            f"{target.name}: {one_line(program)} has no LiteRT: "
            f"{one_line(said[-1]) if said else 'no answer'!r}; wanted a Python with it "
            f"('pip install ai-edge-litert' there, --device-python for another one, "
            f"--device-packages for a directory with it)"
        )
    return one_line(words[1])


@dataclass(frozen=True)
class Runner:
    """Runs `litert_runner.py` on a device.

    Attributes:
        target: The device.
        folder: Directory there for what one run needs.
        command: Python and the script.
        name: For reports.
        packages: Directory to import from.
        budget: How long to time.
        push: Writes bytes to a file on the device.
        watched: Runs a command that can be ended; the second argument says what it is.
    """

    target: Target
    folder: str
    command: Sequence[str]
    name: str
    packages: str | None
    budget: Budget
    push: Callable[[bytes, str], None]
    watched: Callable[[Sequence[str], str], Done]

    def outputs(self, model: str, setting: Setting, given: str, made: str) -> None:
        """Write raw outputs of raw inputs; all four are paths on the device.

        Raises:
            ToolError: it fails.
        """
        self._run(model, setting, {"inputs": given, "outputs": made, "runs": 0})

    def time(self, model: str, setting: Setting) -> tuple[Timing, str]:
        """Time single inferences, and say what took them.

        Raises:
            ToolError: it fails.
        """
        values = {"inputs": None, "outputs": None, "runs": self.budget.runs}
        found = self._run(model, setting, values)
        try:
            return timing_of(found), self.name
        except (KeyError, TypeError, ValueError) as error:
            raise ToolError(
                f"{self.target.name}: LiteRT for Python returned no figures ({error}); "
                f"wanted times"
            ) from error

    def _run(
        self, model: str, setting: Setting, values: dict[str, Any]
    ) -> dict[str, Any]:
        """Run the script and read what it says.

        Raises:
            ToolError: it fails.
        """
        facts = f"{self.folder}/facts.json"
        request = {
            "packages": self.packages,
            "model": model,
            "kernels": setting.delegate,
            "threads": setting.threads,
            "facts": facts,
            "seconds": self.budget.seconds,
            **values,
        }
        path = f"{self.folder}/request.json"
        self.push(json.dumps(request).encode(), path)
        self.watched([*self.command, path], "LiteRT for Python")
        try:
            found = json.loads(self.target.pull(facts))
            if not isinstance(found, dict):
                raise ValueError("no object")
        except (ValueError, PhoneError) as error:
            raise ToolError(
                f"{self.target.name}: LiteRT for Python says nothing of its run "
                f"({one_line(str(error))}); wanted facts"
            ) from error
        return found


def timing_of(told: dict[str, Any]) -> Timing:
    """Figures from single times in nanoseconds; percentiles are interpolated.

    Raises:
        KeyError, TypeError, ValueError: they are not there.
    """
    times = [int(value) / _NS_PER_MS for value in told["times_ns"]]
    if not times or min(times) < 0:
        raise ValueError(f"{len(times)} times")
    cuts = quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    return Timing(
        runs=len(times),
        mean_ms=fmean(times),
        median_ms=cuts[49],
        p90_ms=cuts[89],
        p99_ms=cuts[98],
        p5_ms=cuts[4],
        p95_ms=cuts[94],
        min_ms=min(times),
        max_ms=max(times),
        std_ms=pstdev(times),
        load_ms=int(told["load_ns"]) / _NS_PER_MS,
        first_ms=int(told["first_ns"]) / _NS_PER_MS,
        peak_bytes=int(told["peak_bytes"]),
        model_bytes=max(0, int(told["peak_bytes"]) - int(told["imported_bytes"])),
    )
