"""Random graphs that make life hard for the passes, with statistics that fit them.

Every kind of node and of reader; BatchNorms whose scales lie five orders of magnitude
apart, some negative; channels that are dead, or constant, or alone in their tensor.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from mobileq.collapse.collapse import collapse
from mobileq.graph.fields import trivial_fields
from mobileq.graph.graph import Graph
from mobileq.graph.interpret import outputs, run
from mobileq.graph.nodes import (
    Add,
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    Padding,
    Relu,
    Relu6,
    SpatialMean,
)
from mobileq.passes.pipeline import PREPARE, run_pipeline
from mobileq.passes.scaling import ScaleClasses
from mobileq.quant.spec import QuantSpec
from support.handmade import disc, normalized, random_conv, random_pixels
from support.networks import GROUPS, random_network

RELUS = (None, Relu, Relu, Relu6)


def prepared(graph: Graph) -> Graph:
    """The graph with BatchNorm folded, orbits snapped, activations fused."""
    return run_pipeline(graph, PREPARE)[-1].graph


def escnn_graph(seed: int, *, groups: Sequence[str] = GROUPS) -> Graph:
    """A prepared graph of a random network, which may be equivariant."""
    network, shape = random_network(seed, groups=groups)
    return prepared(collapse(network, shape).graph)


def hostile_graph(seed: int, *, blocks: int = 4) -> Graph:
    """A prepared graph of hostile blocks, then mean, Flatten and Linear.

    Blocks with a nearly constant BatchNorm after another can multiply rounding errors
    by 10^18. Nobody has such a network: what float32 already destroys is drawn again.
    """
    for attempt in itertools.count():
        graph = prepared(hostile_collapsed(seed + 10**7 * attempt, blocks=blocks))
        images = images_of(graph)
        exact = outputs(graph, images, dtype=torch.float64)
        rounded = outputs(graph, images, dtype=torch.float32)
        if np.abs(rounded - exact).max() < 1e-3 * np.abs(exact).max():
            return graph
    raise AssertionError("unreachable")


def hostile_collapsed(seed: int, *, blocks: int = 4) -> Graph:
    """The same, with its BatchNorms and activations as nodes of their own."""
    builder = _Builder(seed)
    for _ in range(blocks):
        builder.block()
    return builder.finish()


def images_of(graph: Graph, count: int = 4, seed: int = 0) -> NDArray[np.float32]:
    """(count, C, H, W) normalized noise of the graph's input size."""
    return normalized(graph, random_pixels(graph, count, seed))


def logits_moved(
    changed: Graph, graph: Graph, *, dtype: torch.dtype = torch.float64
) -> float:
    """Largest difference of the logits, relative to the largest logit."""
    images = images_of(graph)
    wanted = outputs(graph, images, dtype=dtype)
    found = outputs(changed, images, dtype=dtype)
    assert np.isfinite(found).all()
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def random_factors(
    classes: ScaleClasses, seed: int, *, decades: float = 1.0
) -> NDArray[np.float64]:
    """(classes,) factors from 10^-decades to 10^decades, 1 where fixed."""
    rng = np.random.default_rng(seed)
    factors = 10.0 ** rng.uniform(-decades, decades, classes.count)
    return np.where(classes.free, factors, 1.0)


def require_finite(graph: Graph, spec: QuantSpec | None = None) -> None:
    """No NaN, no infinity, no scale of zero, in a graph or its integers."""
    for node in graph.nodes:
        if isinstance(node, Conv | Linear):
            assert np.isfinite(node.weight).all(), node.name
            assert np.isfinite(node.bias).all(), node.name
    if spec is not None:
        for name, affine in spec.activations.items():
            assert np.isfinite(affine.scale), name
            assert affine.scale > 0, name
        for name, layer in spec.layers.items():
            assert np.isfinite(layer.weight_scale).all(), name
            assert (layer.weight_scale > 0).all(), name


class _Builder:
    """Adds nodes one by one and knows what they compute on a few images."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        size = int(self.rng.integers(7, 11))
        channels = int(self.rng.integers(1, 4))
        shape = (channels, size, size)
        image = Input("image", (), shape, trivial_fields(channels))
        self.graph = Graph((image,), "image")
        self.images = images_of(self.graph, 8, seed)

    def flip(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    @property
    def last(self) -> str:
        """Name of the last tensor."""
        return self.graph.output

    def shape(self, name: str) -> tuple[int, ...]:
        """(C, H, W) of a tensor."""
        return self.graph.shapes[name]

    def add(self, node: Node) -> str:
        """Append a node; returns its name."""
        self.graph = Graph((*self.graph.nodes, node), node.name)
        return node.name

    def name(self) -> str:
        """A new name."""
        return f"node{len(self.graph.nodes)}"

    def unit(
        self,
        source: str,
        out: int,
        *,
        kernel: int = 1,
        groups: int = 1,
        relu: type[Node] | None = Relu,
        norm: bool = True,
    ) -> str:
        """A convolution, mostly its BatchNorm, perhaps an activation."""
        padding = kernel // 2 if self.flip(0.7) or self.shape(source)[1] < 6 else 0
        if relu is None:
            padding = kernel // 2  # what is added to another tensor keeps its grid
        weight_shape = (out, self.shape(source)[0] // groups, kernel, kernel)
        conv = random_conv(
            self.rng,
            self.name(),
            source,
            weight_shape,
            padding=Padding.even(padding),
            groups=groups,
        )
        factors = 10.0 ** self.rng.uniform(-1, 1, (out, 1, 1, 1))
        factors[1:][self.rng.random(out - 1) < 0.05] = 0.0
        name = self.add(replace(conv, weight=conv.weight * factors))
        if norm:
            name = self.norm(name)
        return name if relu is None else self.add(relu(self.name(), (name,)))

    def norm(self, source: str) -> str:
        """BatchNorm with the statistics of the images and hostile scales."""
        values = run(self.graph, self.images, dtype=torch.float64)[source]
        count = values.shape[1]
        decades = 2.5 if self.flip(0.5) else 0.3
        gamma = 10.0 ** self.rng.uniform(-decades, decades, count)
        gamma *= self.rng.choice([1, 1, 1, -1], count)
        beta = gamma * self.rng.normal(0, 2, count)
        kind = self.rng.random(count)
        kind[0] = 1.0  # what leads nowhere at all would test nothing
        gamma[kind < 0.15] = 0.0
        # Some of those without deviation are constant, the others dead.
        beta[kind < 0.08] = 0.0
        return self.add(
            BatchNorm(
                self.name(),
                (source,),
                gamma,
                beta,
                values.mean((0, 2, 3)),
                values.var((0, 2, 3)),
                1e-5,
            )
        )

    def block(self) -> None:
        """One block of a random kind."""
        kinds = (
            self.dense,
            self.inverted_residual,
            self.inverted_residual,
            self.two_joins,
            self.read_twice,
            self.grouped,
            self.select,
        )
        kinds[int(self.rng.integers(len(kinds)))]()

    def width(self) -> int:
        """Number of channels, sometimes one."""
        return int(self.rng.choice([1, 2, 4, 6]))

    def relu(self) -> type[Node]:
        """An activation."""
        return Relu if self.flip(0.6) else Relu6

    def dense(self) -> None:
        """A 3x3 convolution, sometimes without BatchNorm."""
        norm = self.flip(0.8)
        self.unit(self.last, self.width(), kernel=3, relu=self.relu(), norm=norm)

    def grouped(self) -> None:
        """A pointwise layer to four channels, then two groups."""
        wide = self.unit(self.last, 4, relu=self.relu())
        self.unit(wide, 4, kernel=3, groups=2, relu=self.relu())

    def branch(self, source: str, out: int) -> str:
        """Pointwise, depthwise, pointwise without activation."""
        hidden = self.width()
        kernel = 3 if self.flip(0.7) else 1
        wide = self.unit(source, hidden, relu=self.relu())
        activation = self.relu()
        deep = self.unit(wide, hidden, kernel=kernel, groups=hidden, relu=None)
        return self.unit(self.add(activation(self.name(), (deep,))), out, relu=None)

    def inverted_residual(self) -> None:
        """A join, rectified or not, maybe of two linear tensors."""
        source = self.last
        if self.flip(0.5):
            source = self.unit(source, self.width(), relu=None)
        self.join(source, self.branch(source, self.shape(source)[0]))

    def join(self, left: str, right: str) -> None:
        """A sum and perhaps an activation."""
        self.add(Add(self.name(), (left, right)))
        kind = RELUS[int(self.rng.integers(len(RELUS)))]
        if kind is not None and self.flip(0.6):
            self.add(kind(self.name(), (self.last,)))

    def two_joins(self) -> None:
        """x + f(x) + g(x + f(x)): one class of channels with many readers."""
        source = self.unit(self.last, self.width(), relu=None)
        for _ in range(2):
            branch = self.branch(source, self.shape(source)[0])
            source = self.add(Add(self.name(), (source, branch)))

    def read_twice(self) -> None:
        """A linear tensor that is read as it is and rectified, by two layers."""
        source = self.unit(self.last, self.width(), relu=None)
        out = self.width()
        rectified = self.add(self.relu()(self.name(), (source,)))
        left = self.unit(source, out, relu=None)
        self.join(left, self.unit(rectified, out, relu=None))

    def select(self) -> None:
        """A mask or a pool, or a maximum over pairs of channels of equal meaning."""
        channels, height, _ = self.shape(self.last)
        name, above = self.name(), (self.last,)
        match int(self.rng.integers(4)):
            case 0:
                self.add(Mask(name, above, disc(height)))
            case 1 if height >= 5:
                padding = Padding.even(int(self.rng.integers(2)))
                self.add(MaxPool(name, above, (3, 3), 1, padding))
            case 2 if height >= 5:
                padding = Padding.even(int(self.rng.integers(2)))
                self.add(AveragePool(name, above, (2, 2), 2, padding))
            case _ if channels % 2 == 0:
                self.add(OrbitMax(name, above, 2))

    def finish(self) -> Graph:
        """Mean over the grid and two logits."""
        self.unit(self.last, 5, relu=self.relu())
        channels, height, _ = self.shape(self.last)
        mask = np.ones((height, height), np.uint8)
        self.add(SpatialMean("mean", (self.last,), mask))
        self.add(Flatten("flat", ("mean",)))
        weight = self.rng.normal(size=(2, channels))
        self.add(Linear("logits", ("flat",), weight, self.rng.normal(size=2)))
        return self.graph
