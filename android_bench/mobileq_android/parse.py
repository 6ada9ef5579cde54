"""What the benchmark tools print, as figures.

Three tools are understood: TFLite's `benchmark_model` ("Inference timings in us"),
LiteRT's `benchmark_litert_model` and the `litert-benchmark` of its Python package (both
"BENCHMARK RESULTS", in ms). Lines may carry `INFO: ` or a logcat prefix, and numbers
may be written as 2.7e+06.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mobileq_android.errors import ToolError, one_line

_NUMBER = r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_PREFIX = re.compile(
    r"^(?:\d\d-\d\d \d\d:\d\d:\d\d\.\d+\s+[VDIWEF]/[^:]*?\(\s*\d+\):\s?)?"
    r"(?:(?:VERBOSE|INFO|WARNING|ERROR):\s?)?(?:\[[^\]\s]*:\d+\]\s?)?"
)
_COUNT = re.compile(r"^count=(\d+)\b(.*)$")
_PAIR = re.compile(rf"\b([a-z]+\d*)={_NUMBER}")
_US_PER_MS = 1000.0
_MIB = 2**20


@dataclass(frozen=True)
class Timing:
    """Times of one file with one setting; None where the tool does not say.

    Attributes:
        runs: Timed inferences.
        mean_ms: Their mean.
        median_ms: Half of them took less.
        p90_ms: Nine in ten took less.
        p99_ms: 99 in 100 took less.
        p5_ms: One in twenty took less.
        p95_ms: 19 in 20 took less.
        min_ms: The fastest.
        max_ms: The slowest.
        std_ms: Standard deviation.
        load_ms: From the file to an interpreter that is ready.
        first_ms: The first inference.
        warmup_runs: Inferences before the timed ones.
        peak_bytes: Most resident memory of the tool.
        model_bytes: How much of it came after the tool's start.
    """

    runs: int
    mean_ms: float
    median_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    warmup_runs: int | None = None
    peak_bytes: int | None = None
    model_bytes: int | None = None


def parse(text: str) -> Timing:
    """Read a tool's output.

    Raises:
        ToolError: there are no figures in it, or impossible ones.
    """
    lines = [_PREFIX.sub("", line).strip() for line in text.splitlines()]
    whole = "\n".join(lines)
    if "BENCHMARK RESULTS" in whole:
        timing = _litert(whole, lines)
    elif "Inference timings in us:" in whole:
        timing = _tflite(whole, lines)
    else:
        raise ToolError(f"printed no figures{last_words(text)}")
    times = [
        value
        for name, value in vars(timing).items()
        if name.endswith("_ms") and value is not None
    ]
    if timing.runs < 1 or not all(math.isfinite(t) and t >= 0 for t in times):
        raise ToolError(f"printed impossible figures{last_words(text)}")
    return timing


def last_words(text: str) -> str:
    """The last telling line of an output, for a message; empty if there is none."""
    lines = [one_line(_PREFIX.sub("", line)) for line in text.splitlines()]
    said = [line for line in lines if line]
    telling = [line for line in said if re.search(r"(?i)fail|error|cannot|abort", line)]
    # The tools end with a line that says that they have failed, and not why.
    why = [line for line in telling if line != "Benchmarking failed."]
    chosen = (why or telling or said)[-1:]
    return f"; said {chosen[0]!r}" if chosen else " and nothing else"


def _tflite(whole: str, lines: list[str]) -> Timing:
    """Output of TFLite's benchmark_model.

    Raises:
        ToolError: the figures of the timed runs are missing.
    """
    summary = dict(
        re.findall(
            rf"(Init|First inference|Warmup \(avg\)|Inference \(avg\)): {_NUMBER}",
            whole.partition("Inference timings in us:")[2].partition("\n")[0],
        )
    )
    rounds = _rounds(whole)
    mean = summary.get("Inference (avg)")
    if not rounds or mean is None:
        raise ToolError(f"printed only a part of its figures{last_words(whole)}")
    runs, times = rounds[-1]
    peak, delta = _memory(whole)
    return Timing(
        runs=runs,
        mean_ms=float(mean) / _US_PER_MS,
        load_ms=_ms(summary.get("Init")),
        first_ms=_ms(summary.get("First inference")),
        warmup_runs=rounds[0][0] if len(rounds) > 1 else 0,
        peak_bytes=peak,
        model_bytes=delta,
        **times,
    )


def _litert(whole: str, lines: list[str]) -> Timing:
    """Output of benchmark_litert_model, and of litert-benchmark.

    Raises:
        ToolError: the figures of the timed runs are missing.
    """
    results = whole.rpartition("BENCHMARK RESULTS")[2]
    found = dict(
        re.findall(
            rf"^((?:Model initialization|Warmup|Inference)(?: \(\w+\))?):\s+{_NUMBER}",
            results,
            re.M,
        )
    )
    runs = re.search(r"Inference \(avg\):.*\((\d+) runs\)", results)
    warm = re.search(r"Warmup \(avg\):.*\((\d+) runs\)", results)
    if "Inference (avg)" not in found or runs is None:
        raise ToolError(f"printed only a part of its figures{last_words(whole)}")
    # The lines with count= have microseconds, the summary hundredths of milliseconds.
    rounds = _rounds(whole)
    exact = rounds[-1][1] if rounds and rounds[-1][0] == int(runs[1]) else {}
    named = {
        "median_ms": "median",
        "p5_ms": "p5",
        "p95_ms": "p95",
        "min_ms": "min",
        "max_ms": "max",
        "std_ms": "std",
    }
    times = {
        key: exact.get(key, _float(found.get(f"Inference ({name})")))
        for key, name in named.items()
    }
    mean = _mean_of_last_round(whole) if exact else None
    overall = re.search(rf"Overall footprint:\s+{_NUMBER} MB", results)
    peak = re.search(rf"Peak memory usage:?\s+{_NUMBER} MB", results)
    return Timing(
        runs=int(runs[1]),
        mean_ms=float(found["Inference (avg)"]) if mean is None else mean,
        load_ms=_float(found.get("Model initialization")),
        first_ms=_float(found.get("Warmup (first)")),
        warmup_runs=int(warm[1]) if warm else None,
        peak_bytes=round(float(peak[1]) * _MIB) if peak else None,
        model_bytes=round(float(overall[1]) * _MIB) if overall else None,
        **times,
    )


def _rounds(whole: str) -> list[tuple[int, dict[str, float]]]:
    """Number of runs and times of each `count=` line before any profile."""
    found = []
    for line in whole.partition("Profiling Info")[0].splitlines():
        match = _COUNT.match(line)
        if match is None:
            continue
        pairs = {key: float(value) for key, value in _PAIR.findall(match[2])}
        times = {
            f"{name}_ms": pairs[key] / _US_PER_MS
            for key, name in (
                ("median", "median"),
                ("p5", "p5"),
                ("p95", "p95"),
                ("min", "min"),
                ("max", "max"),
                ("std", "std"),
            )
            if key in pairs
        }
        found.append((int(match[1]), times))
    return found


def _mean_of_last_round(whole: str) -> float | None:
    """The mean that the last `count=` line has, in ms."""
    means = re.findall(rf"^count=\d+\b.*\bavg={_NUMBER}", whole, re.M)
    return float(means[-1]) / _US_PER_MS if means else None


def _memory(whole: str) -> tuple[int | None, int | None]:
    """Peak memory, and what came after the start, in bytes."""
    peak = re.search(rf"Overall peak memory footprint \(MB\)[^:]*: {_NUMBER}", whole)
    delta = re.search(
        rf"(?:Memory footprint delta|Peak memory footprint)[^:]*: "
        rf"init={_NUMBER} overall={_NUMBER}",
        whole,
    )
    return (
        round(float(peak[1]) * _MIB) if peak else None,
        round(float(delta[2]) * _MIB) if delta else None,
    )


def _ms(microseconds: str | None) -> float | None:
    """Milliseconds."""
    return None if microseconds is None else float(microseconds) / _US_PER_MS


def _float(text: str | None) -> float | None:
    """A number, if it is there."""
    return None if text is None else float(text)
