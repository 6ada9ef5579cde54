"""How long all passes and the quantization take at width 1.0, on one core.

usage: python benchmarks/passes_time.py

Networks with random weights, C_12 and conventional, one stride reduced: their passes do
the same work as those of trained ones. Prints processor seconds of one thread, after a
first run that is not counted, for each shipped recipe that needs no images.
"""

from __future__ import annotations

import time

import torch

from mobileq.collapse.collapse import collapse
from mobileq.deploy.quantize import quantize
from mobileq.graph.graph import Graph
from mobileq.models.build import build_model
from mobileq.models.spec import CONVENTIONAL, ModelSpec
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.recipe import Recipe, load_recipe

RECIPES = ("naive", "dfq", "dfq-per-tensor")
REPEATS = 3


def seconds(graph: Graph, recipe: Recipe) -> float:
    """Processor time from the collapsed graph to all integers, the best of some."""
    found = []
    for _ in range(REPEATS + 1):
        start = time.process_time()
        quantize(run_pipeline(graph, PREPARE)[-1].graph, recipe)
        found.append(time.process_time() - start)
    return min(found[1:])


def main() -> None:
    """Measure both networks with every recipe."""
    torch.set_num_threads(1)
    for group in ("C12", CONVENTIONAL):
        spec = ModelSpec(group=group, width=1.0, channel_multiple=12, reduced_strides=1)
        size = spec.input_size
        graph = collapse(build_model(spec).eval(), (3, size, size)).graph
        macs = graph.multiply_adds / 1e6
        for name in RECIPES:
            taken = seconds(graph, load_recipe(name))
            print(f"{group}, {macs:.0f} million multiply-adds, {name}: {taken:.2f} s")


if __name__ == "__main__":
    main()
