"""Accuracy of INT8 against the half width of activation ranges, in sigmas.

usage: python benchmarks/range_sweep.py --data DIR [NAME ...]

For each network: the exported TFLite files, XNNPACK, one thread, on the validation
split in DIR (PCam's HDF5 files). Without --data it says so and stops.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mobileq.checkpoint import load_checkpoint
from mobileq.collapse.collapse import collapse
from mobileq.data.pcam import open_pcam
from mobileq.data.scores import score
from mobileq.data.transforms import center_crop
from mobileq.passes.pipeline import run_pipeline
from mobileq.quant.derive import derive_spec
from mobileq.quant.ranges import statistical_ranges
from mobileq_tflite.float_writer import write_float
from mobileq_tflite.int8_writer import write_int8
from mobileq_tflite.runner import TfliteRunner

SIGMAS = (5.0, 6.0, 7.0, 8.0, 10.0)
NAMES = ("pcam-equivariant", "pcam-conventional")


def sweep(name: str, data: Path) -> None:
    """Print one line per half width."""
    checkpoint = load_checkpoint(name)
    size = checkpoint.spec.input_size
    collapsed = collapse(checkpoint.build(), (3, size, size))
    graph = run_pipeline(collapsed.graph)[-1].graph
    patches = open_pcam(data, "valid")
    pixels = center_crop(patches.read(np.arange(len(patches))), size)
    runner = TfliteRunner(write_float(graph), kernels="xnnpack")
    logits = runner.outputs(pixels)
    print(f"{name}, float: {score(logits, patches.labels)}")
    for sigmas in SIGMAS:
        spec = derive_spec(graph, statistical_ranges(graph, sigmas=sigmas))
        runner = TfliteRunner(write_int8(graph, spec), kernels="xnnpack")
        found = spec.activations[graph.output].dequantize(runner.outputs(pixels))
        agreed = (found.argmax(1) == logits.argmax(1)).mean()
        scores = score(found, patches.labels)
        print(f"  {sigmas:4g} sigma: agrees on {agreed:.2%}, {scores}", flush=True)


def main() -> None:
    """Sweep over the named networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if options.data is None:
        print("skipped: --data names no directory with PCam's HDF5 files")
        return
    for name in options.names:
        sweep(name, options.data)


if __name__ == "__main__":
    main()
