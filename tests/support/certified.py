"""A small symmetric network in integers, in both formats, for tests of its proof.

It has one of everything that matters: a mask, a strided layer with an explicit border,
a residual sum, caps per channel, a masked mean, a maximum over the orbit, two logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from mobileq.collapse.collapse import collapse
from mobileq.deploy.quantize import quantize
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import Add, Cap, Conv, Flatten, Linear, Mask, MaxPool, OrbitMax
from mobileq.models.build import ConventionalLayers, EquivariantLayers, LayerFamily
from mobileq.models.spec import CONVENTIONAL, GroupName
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.proof import Certificate, Program, certify_program
from mobileq.quant.spec import QuantSpec
from mobileq.recipe import load_recipe
from mobileq_onnx import qdq_writer
from mobileq_onnx.reader import read_program as read_onnx
from mobileq_tflite import int8_writer
from mobileq_tflite.reader import read_program as read_tflite
from support.exactness import with_relu6
from support.networks import (
    RandomNetwork,
    Residual,
    normalized,
    random_pixels,
    randomize_norms,
)

FORMATS = ("tflite", "onnx")
SIZE = 15
"""Of the image; with a border of 2, kernel 3 and stride 2 the grid behind has 9."""


@dataclass(frozen=True, eq=False)
class Certified:
    """A network in integers.

    Attributes:
        graph: With caps.
        spec: Its integers.
        files: INT8 file by format.
    """

    graph: Graph
    spec: QuantSpec
    files: dict[str, bytes]

    @property
    def names(self) -> dict[str, str]:
        """Node names by what the node does."""
        layers = ("stem", "expand", "depthwise", "project", "head", "mean")
        convs = [node.name for node in self.graph.nodes if isinstance(node, Conv)]
        found = dict(zip(layers, convs, strict=True))
        kinds = {Mask: "mask", Cap: "cap", Add: "add", MaxPool: "largest"}
        kinds |= {OrbitMax: "orbit", Flatten: "flat", Linear: "logits"}
        for node in self.graph.nodes:
            if type(node) in kinds:
                found.setdefault(kinds[type(node)], node.name)
        return found


def read(kind: str, data: bytes) -> Program:
    """Read a file of a format."""
    reader = read_tflite if kind == "tflite" else read_onnx
    return reader(data, f"a.{kind}")


def certify(kind: str, data: bytes) -> Certificate:
    """Certify a file of a format."""
    return certify_program(read(kind, data), data)


def files_of(graph: Graph, spec: QuantSpec) -> dict[str, bytes]:
    """INT8 file by format."""
    return {
        "tflite": int8_writer.write_int8(graph, spec),
        "onnx": qdq_writer.write_int8(graph, spec),
    }


@cache
def small(group: str, *, per_channel: bool = True) -> Certified:
    """The network of a group, untrained; `conventional` has the same layers."""
    recipe = load_recipe("dfq" if per_channel else "dfq-per-tensor")
    made = quantize(with_relu6(_prepared(group)), recipe)
    return Certified(made.graph, made.spec, files_of(made.graph, made.spec))


@cache
def _prepared(group: str) -> Graph:
    """BatchNorm folded and orbits snapped."""
    shape = (3, SIZE, SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = _network(group)
        randomize_norms(network, normalized(random_pixels(16, shape, 0)))
    return run_pipeline(collapse(network, shape).graph, PREPARE)[-1].graph


def _network(group: str) -> nn.Module:
    """Layers of either family."""
    layers: LayerFamily = ConventionalLayers()
    channels, order = 8, 8
    if group != CONVENTIONAL:
        layers = EquivariantLayers(GroupName.parse(group), 3)
        order = GroupName.parse(group).order
        channels = max(8, order)  # whole blocks

    def unit(conv: nn.Module, count: int, *, relu: bool = True) -> list[nn.Module]:
        return [conv, layers.norm(count), *([layers.relu(count)] if relu else [])]

    wide, grid = 2 * channels, (SIZE + 4 - 3) // 2 + 1
    branch = nn.Sequential(
        *unit(layers.pointwise(channels, wide), wide),
        *unit(layers.depthwise(wide, 1, 1), wide),
        *unit(layers.pointwise(wide, channels), channels, relu=False),
    )
    pool: nn.Module = nn.MaxPool2d(3, stride=1, padding=1)
    if isinstance(layers, EquivariantLayers):
        from escnn import nn as enn

        pool = enn.PointwiseMaxPool2D(layers.fields(channels), 3, stride=1, padding=1)
    body = [
        layers.mask(3, SIZE),
        *unit(layers.lifting(3, channels, 2, 2), channels),
        Residual(branch, nn.Identity()),
        pool,
        *unit(layers.pointwise(channels, wide), wide),
        layers.masked_mean(wide, grid),
        layers.orbit_pool(wide),
    ]
    features = layers.invariant_channels(wide)
    head = nn.Sequential(nn.Flatten(), nn.Linear(features, 2))
    return RandomNetwork(group, layers, body, head)
