"""The benchmark tools: what they can do, and how they are told.

TFLite's `benchmark_model` and LiteRT's `benchmark_litert_model` share most of their
flags. Which of them a binary has, its own --help says, and it is given no others: they
stop at flags that they do not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mobileq_android.errors import PhoneError, one_line
from mobileq_android.process import Done

WHERE = (
    "TFLite's is android_aarch64_benchmark_model of "
    "https://ai.google.dev/edge/litert/models/measurement; give its path with "
    "--benchmark-binary or MOBILEQ_BENCHMARK_MODEL"
)
"""No package ships the binary."""

VARIABLE = "MOBILEQ_BENCHMARK_MODEL"

DELEGATES = ("xnnpack", "builtin", "gpu", "nnapi")
"""What computes: XNNPACK and TFLite's own kernels on the CPU, GPU, Android's NNAPI."""


THREADED = ("xnnpack", "builtin")
"""Those that compute on the CPU, with a number of threads."""

_USUAL = {"android": ("xnnpack", "gpu", "nnapi"), "linux": ("xnnpack",)}


def usual_delegates(kind: str) -> tuple[str, ...]:
    """Delegates that are tried if none is named.

    Args:
        kind: Of the device, `android` or `linux`.
    """
    return _USUAL[kind]


@dataclass(frozen=True)
class Setting:
    """How a file is run.

    Attributes:
        delegate: One of `DELEGATES`.
        threads: Of one inference.
        cores: The cores that it is kept on; any if there are none.
    """

    delegate: str
    threads: int
    cores: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Such as `xnnpack, 2 threads, cores 4 5 6 7`."""
        plural = "" if self.threads == 1 else "s"
        cores = f", cores {' '.join(map(str, self.cores))}" if self.cores else ""
        return f"{self.delegate}, {self.threads} thread{plural}{cores}"


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Attributes:
        runs: Timed inferences, at least.
        seconds: Time spent in them, at least.
    """

    runs: int = 50
    seconds: float = 1.0


@dataclass(frozen=True)
class Tool:
    """A benchmark binary on a device.

    Attributes:
        path: On the device.
        name: `benchmark_model`, or `benchmark_litert_model`.
        flags: Those that it has.
        sha256: Of the binary, which has no version number.
    """

    path: str
    name: str
    flags: frozenset[str]
    sha256: str

    @property
    def exports(self) -> bool:
        """Whether it takes inputs from files and writes outputs to one."""
        return {"input_layer_value_files", "output_filepath"} <= self.flags

    def __str__(self) -> str:
        """With the hash, for reports."""
        return f"{self.name} (SHA-256 {self.sha256[:12]}...)"

    def why_not(self, setting: Setting) -> str | None:
        """Why it cannot run with a setting; None if it can."""
        needed = {"gpu": "use_gpu", "nnapi": "use_nnapi", "builtin": "use_xnnpack"}
        flag = needed.get(setting.delegate)
        if flag is None or flag in self.flags:
            return None
        return (
            f"{self.name} has no --{flag}; wanted one that has, for {setting.delegate}"
        )

    def timing(self, model: str, setting: Setting, budget: Budget) -> list[str]:
        """Command that times a file.

        Args:
            model: Its path on the device.
            setting: How it is run.
            budget: How long.
        """
        values = {
            "graph": model,
            **_computes(setting),
            "num_runs": str(budget.runs),
            "min_secs": f"{budget.seconds:g}",
            "report_peak_memory_footprint": "true",
        }
        return self._command(values)

    def export(
        self, model: str, setting: Setting, source: InputFile, outputs: str
    ) -> list[str]:
        """Command that runs one input and writes what comes out.

        Args:
            model: Path of the file on the device.
            setting: How it is run.
            source: The input.
            outputs: Path for the raw outputs.
        """
        shape = ",".join(map(str, source.shape))
        # A colon ends the name, unless there are two of them.
        name = source.tensor.replace(":", "::")
        values = {
            "graph": model,
            **_computes(setting),
            "num_runs": "1",
            "min_secs": "0",
            "warmup_runs": "0",
            "warmup_min_secs": "0",
            "input_layer": source.tensor,
            "input_layer_shape": shape,
            "input_layer_value_files": f"{name}:{source.path}",
            "output_filepath": outputs,
        }
        return self._command(values)

    def _command(self, values: dict[str, str]) -> list[str]:
        """A command line with the flags that the tool has."""
        known = {key: value for key, value in values.items() if key in self.flags}
        return [self.path, *(f"--{key}={value}" for key, value in known.items())]


@dataclass(frozen=True)
class InputFile:
    """An input on the device.

    Attributes:
        path: Raw bytes of one image.
        tensor: Name of the input.
        shape: With the batch, (1, H, W, C).
    """

    path: str
    tensor: str
    shape: tuple[int, ...]


def recognise(path: str, sha256: str, told: Done, name: str) -> Tool:
    """Which tool a binary is, from its --help.

    Args:
        path: On the device.
        sha256: Of the binary.
        told: How `--help` ended.
        name: Of its file here, for the message.

    Raises:
        PhoneError: it does not run there, or is another program.
    """
    text = told.text
    flags = frozenset(re.findall(r"--([a-z0-9_]+)\b", text))
    if told.code is None or not {"graph", "num_runs", "num_threads"} <= flags:
        said = one_line(text[-300:]) or f"exit code {told.code}"
        raise PhoneError(
            f"{name}: is no benchmark tool that runs there: --help says {said!r}; "
            f"wanted benchmark_model or benchmark_litert_model ({WHERE})"
        )
    litert = "use_profiler" in flags or "benchmark_litert" in text
    kind = "benchmark_litert_model" if litert else "benchmark_model"
    return Tool(path, kind, flags, sha256)


def settings(delegates: Sequence[str], threads: Sequence[int]) -> tuple[Setting, ...]:
    """All combinations; a GPU and NNAPI are no matter of threads.

    Raises:
        PhoneError: an unknown delegate, or no thread.
    """
    for one in delegates:
        if one not in DELEGATES:
            raise PhoneError(
                f"--delegate is {one_line(one)!r}; wanted {' or '.join(DELEGATES)}"
            )
    if not threads or min(threads) < 1:
        raise PhoneError(f"--threads is {threads}; wanted whole numbers from 1")
    found = []
    for delegate in dict.fromkeys(delegates):
        many = threads if delegate in THREADED else (1,)
        found += [Setting(delegate, count) for count in dict.fromkeys(many)]
    return tuple(found)


def _computes(setting: Setting) -> dict[str, str]:
    """Flags that say what computes.

    Delegates take their parts in the order of the flags, so XNNPACK is not named beside
    another one: by default it takes what that one leaves.
    """
    named = {
        "xnnpack": {"use_xnnpack": "true"},
        "builtin": {"use_xnnpack": "false"},
        "gpu": {"use_gpu": "true"},
        "nnapi": {"use_nnapi": "true"},
    }
    return {"num_threads": str(setting.threads), **named[setting.delegate]}
