"""Latency as ratios: equivariant against conventional, INT8 against float.

usage: python benchmarks/speed_ratios.py [--groups C4 C12] [--widths 0.5 1.0]
           [--rounds 60] [--profile] [--json FILE]

Networks have random weights, since times do not depend on them; their BatchNorm has
seen synthetic tissue, so that no float becomes subnormal. A conventional network is the
twin of an equivariant one: the same channels, filters and strides. 95 x 95 pixels, one
thread, XNNPACK and ONNX Runtime's CPU kernels. The eight files of a pair of networks
are timed in turns; every figure is a ratio of times of the same rounds, with a
bootstrap interval. `--profile` adds ONNX Runtime's time by operator.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

# A script sees the folder that it lies in, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import machine
from benchmarks.harness.paired import Plan, interleaved, ratio
from benchmarks.harness.results import Goal, Grid, Result
from mobileq.collapse.collapse import collapse
from mobileq.deploy.files import deploy
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.recipe import load_recipe
from mobileq.verify.images import verification_images
from mobileq.verify.runner import PixelMap, Runner
from mobileq.verify.torch_runner import torch_threads
from mobileq_onnx.nodes import INPUT
from mobileq_onnx.runner import OnnxRunner
from mobileq_tflite.runner import TfliteRunner

MOST_EXTRA = 1.02
"""Equivariant : conventional."""
LEAST_GAIN = 2.5
"""Float : INT8, at the width below."""
GOAL_WIDTH = 1.0
FORMATS = ("TFLite", "ONNX")
PRECISIONS = ("float", "int8")


def files_of(spec: ModelSpec) -> Mapping[str, bytes]:
    """Float and INT8 files of a random network."""
    torch.manual_seed(0)
    model = build_model(spec).train()
    shape = (spec.in_channels, spec.input_size, spec.input_size)
    tissue = verification_images(shape, count=32, seed=1)
    images = torch.from_numpy(PixelMap().normalize(tissue))
    with torch.no_grad():
        # BatchNorm forgets its initial statistics by a tenth each time.
        for start in np.arange(20) % 4 * 8:
            model(images[start : start + 8])
    with torch_threads(1):
        return deploy(collapse(model.eval(), shape), recipe=load_recipe("dfq")).files


def runners_of(files: Mapping[str, bytes]) -> dict[tuple[str, str], Runner]:
    """One thread, by format and precision."""
    found: dict[tuple[str, str], Runner] = {}
    for precision in PRECISIONS:
        tflite = files[f"model.{precision}.tflite"]
        onnx = files[f"model.{precision}.onnx"]
        found["TFLite", precision] = TfliteRunner(tflite, kernels="xnnpack")
        found["ONNX", precision] = OnnxRunner(onnx)
    return found


def measure(group: str, width: float, options: argparse.Namespace) -> Result:
    """Ratios of one equivariant network and its twin."""
    spec = ModelSpec(group=group, width=width)
    print(f"{group} width {width:g}", file=sys.stderr)
    files = {"equivariant": files_of(spec), "conventional": files_of(spec.twin())}
    runners = {
        f"{network} {kind} {precision}": runner
        for network, made in files.items()
        for (kind, precision), runner in runners_of(made).items()
    }
    pixels = verification_images((3, spec.input_size, spec.input_size), count=1)
    times = interleaved(runners, pixels, Plan(options.rounds))
    grids = []
    if options.profile:
        grids = [
            profiled(f"{group} width {width:g}, {network}", made, pixels)
            for network, made in files.items()
        ]
    goals = goals_of(f"{group} width {width:g}", width, times)
    return Result("speed_ratios", goals, tuple(grids), (), machine.describe())


def goals_of(
    label: str, width: float, times: Mapping[str, NDArray[np.float64]]
) -> tuple[Goal, ...]:
    """Each ratio against its bound; a speed-up has one at width 1.0 only."""
    goals = []
    for kind in FORMATS:
        for precision in PRECISIONS:
            first, second = (
                times[f"{network} {kind} {precision}"]
                for network in ("equivariant", "conventional")
            )
            what = f"{label}, {kind} {precision}: time, equivariant : conventional"
            goals.append(Goal.of(what, ratio(first, second), MOST_EXTRA))
        for network in ("equivariant", "conventional"):
            slow, fast = (times[f"{network} {kind} {p}"] for p in PRECISIONS)
            what = f"{label}, {kind} {network}: time, float : INT8"
            goal = Goal.of(what, ratio(slow, fast), LEAST_GAIN, at_least=True)
            goals.append(goal if width >= GOAL_WIDTH else replace(goal, bound=None))
    return tuple(goals)


def profiled(title: str, files: Mapping[str, bytes], pixels: NDArray[np.uint8]) -> Grid:
    """ONNX Runtime's time by kind of operator, float and INT8."""
    found = {p: operator_times(files[f"model.{p}.onnx"], pixels, p) for p in PRECISIONS}
    rows = []
    for precision, kinds in found.items():
        total = sum(kinds.values())
        for kind, spent in sorted(kinds.items(), key=lambda item: -item[1]):
            rows.append((precision, kind, f"{100 * spent / total:.1f}"))
    header = ("precision", "operator", "share of time, %")
    return Grid(f"{title}: operators of ONNX Runtime", header, tuple(rows))


def operator_times(
    model: bytes, pixels: NDArray[np.uint8], precision: str, runs: int = 200
) -> dict[str, float]:
    """Microseconds of all runs by kind of operator.

    A depthwise convolution is a kind of its own, as its name in our files says.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    image: NDArray[np.generic]
    if precision == "int8":
        image = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    else:
        image = PixelMap().normalize(pixels)
    spent: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        for _ in range(runs):
            session.run(None, {INPUT: image})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kind = event["args"]["op_name"]
            if "depthwise" in event["name"]:
                kind = f"{kind}, depthwise"
            spent[kind] += event["dur"]
    return dict(spent)


def main() -> None:
    """Measure all pairs of networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", nargs="+", default=["C4", "C12"])
    parser.add_argument("--widths", nargs="+", type=float, default=[0.5, 1.0])
    parser.add_argument("--rounds", type=int, default=60, help="blocks of each file")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = [
        measure(group, width, options)
        for group in options.groups
        for width in options.widths
    ]
    result = Result(
        "speed_ratios",
        tuple(goal for found in results for goal in found.goals),
        tuple(grid for found in results for grid in found.grids),
        ("Random weights, 95 x 95 pixels, one thread; float files take float32.",),
        results[-1].machine,
    )
    if options.json is not None:
        result.write(options.json)
    print(result.markdown())


if __name__ == "__main__":
    main()
