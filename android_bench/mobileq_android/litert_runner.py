"""What is run on a device that has Python and LiteRT: a file, and nothing else.

    python3 -I litert_runner.py REQUEST

REQUEST is a JSON file:

    packages   directory to import numpy and ai_edge_litert from; null: as usual
    model      the .tflite file
    kernels    xnnpack, builtin or reference
    threads    of one inference
    inputs     file of raw inputs, one image after the other; null without
    outputs    file for the raw outputs, in the same order
    facts      JSON file for what ran, written last
    runs       timed inferences, at least; 0: none
    seconds    time spent in them, at least

There is no mobileq over there: this file is a script, and needs the standard library,
numpy and ai_edge_litert (`pip install ai-edge-litert`). Outputs come first, and times
after them; the first inference is timed on its own, and a second of inferences warms
up. Emulators run it with runs=0: their times mean nothing.
"""

from __future__ import annotations

import ctypes
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

AT_HWCAP, AT_HWCAP2 = 16, 26
FEATURES = {
    "neon": (AT_HWCAP, 1),
    "fp16": (AT_HWCAP, 10),
    "dotprod": (AT_HWCAP, 20),
    "sve": (AT_HWCAP, 22),
    "i8mm": (AT_HWCAP2, 13),
    "bf16": (AT_HWCAP2, 14),
}
"""Word and bit of each extension that kernels are chosen by (Linux, asm/hwcap.h)."""

WARMUP_SECONDS = 1.0
MOST_SECONDS = 60.0


def features() -> list[str]:
    """Extensions that the kernel says an arm64 processor has."""
    if platform.machine() != "aarch64":
        return []
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return [
        name for name, (word, bit) in FEATURES.items() if getauxval(word) >> bit & 1
    ]


def peak_bytes() -> int:
    """Most resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def load(request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """An interpreter that is ready, and what loading took."""
    if request["packages"]:
        sys.path.insert(0, request["packages"])
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolvers = {
        "xnnpack": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }
    imported = peak_bytes()
    data = Path(request["model"]).read_bytes()
    begun = time.perf_counter_ns()
    interpreter = Interpreter(
        model_content=data,
        num_threads=int(request["threads"]),
        experimental_op_resolver_type=resolvers[request["kernels"]],
    )
    interpreter.allocate_tensors()
    return interpreter, {
        "machine": platform.machine(),
        "features": features(),
        "litert": getattr(ai_edge_litert, "__version__", "unknown"),
        "load_ns": time.perf_counter_ns() - begun,
        "imported_bytes": imported,
    }


def run_all(interpreter: Any, inputs: Path, outputs: Path) -> None:
    """Write the outputs of all inputs, as raw bytes."""
    import numpy as np

    source, made = (
        interpreter.get_input_details()[0],
        interpreter.get_output_details()[0],
    )
    one = int(np.prod(source["shape"])) * np.dtype(source["dtype"]).itemsize
    with inputs.open("rb") as images, outputs.open("wb") as file:
        while data := images.read(one):
            image = np.frombuffer(data, source["dtype"]).reshape(source["shape"])
            interpreter.set_tensor(source["index"], image)
            interpreter.invoke()
            file.write(interpreter.get_tensor(made["index"]).tobytes())


def times(interpreter: Any, runs: int, seconds: float) -> list[int]:
    """Nanoseconds of single inferences, after a warm-up."""
    end = time.perf_counter_ns() + int(WARMUP_SECONDS * 1e9)
    while time.perf_counter_ns() < end:
        interpreter.invoke()
    found: list[int] = []
    spent = 0
    while (len(found) < runs or spent < seconds * 1e9) and spent < MOST_SECONDS * 1e9:
        begun = time.perf_counter_ns()
        interpreter.invoke()
        found.append(time.perf_counter_ns() - begun)
        spent += found[-1]
    return found


def main(request: dict[str, Any]) -> None:
    """Do what a request says."""
    interpreter, facts = load(request)
    if request["inputs"]:
        run_all(interpreter, Path(request["inputs"]), Path(request["outputs"]))
    if request["runs"]:
        begun = time.perf_counter_ns()
        interpreter.invoke()
        facts["first_ns"] = time.perf_counter_ns() - begun
        facts["times_ns"] = times(interpreter, request["runs"], request["seconds"])
    facts["peak_bytes"] = peak_bytes()
    Path(request["facts"]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
