"""The equivariance error of every tensor, float and INT8, to find what breaks it.

Two questions, for every tensor f(x) of the network:

    exact     for the generators g of the exact subgroup (quarter turns, mirror images):
              is f(g x) = g f(x)? In INT8 to the last bit, in floats up to rounding.
    smallest  for the group's smallest rotation R, by 360/N degrees:
              | f(R x) - R f(x) | / | R f(x) |, over the grid points inside the disc.

R f(x) takes the channels in the order that the group says and turns the grid about its
centre. That interpolates between grid points, and the coarser the grid, the more is
lost by it. So no layer has an error of 0 there; INT8 is compared with float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.bench.layer_report import LayerErrors, TensorError
from mobileq.bench.turning import check_square, moved, turned, turned_features
from mobileq.graph.base import Node, Shape
from mobileq.graph.fields import FieldBlocks, Generator
from mobileq.graph.graph import Graph
from mobileq.models.masks import circular_mask
from mobileq.quant.affine import Affine
from mobileq.verify.runner import Runner

BATCH = 4
"""Images in memory together: all their tensors are, three times over."""

_TINY = 1e-30

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pair:
    """A network in floats and in integers.

    Attributes:
        graph: The deployable graph; its fields say what the group does.
        floats: Runs it in floats.
        integers: Runs its integers.
        activations: Scale and zero point of every integer tensor, by name.
    """

    graph: Graph
    floats: Runner
    integers: Runner
    activations: Mapping[str, Affine]


def layer_errors(
    pair: Pair,
    images: NDArray[np.uint8],
    *,
    network: str = "network",
    progress: Callable[[str], None] = lambda _: None,
) -> LayerErrors:
    """Measure every tensor that both representations have.

    Args:
        pair: Float and integer network.
        images: (N, S, S, C) pixels; what is outside the disc is greyed out first.
        network: What the network is called.
        progress: Told what is going on.

    Raises:
        InputError: the images are not square, or there are none.
    """
    check_square(images)
    seen: dict[str, _Seen] = {}
    for start in range(0, len(images), BATCH):
        progress(f"layers: image {start + 1} of {len(images)}")
        _see(pair, images[start : start + BATCH], seen)
    fields = pair.graph.input.fields
    return LayerErrors(
        network=network,
        group=fields.group,
        images=len(images),
        motions=fields.motions,
        degrees=_smallest(fields),
        tensors=tuple(
            seen[node.name].summed(node, pair.graph.shapes[node.name])
            for node in pair.graph.nodes
            if node.name in seen
        ),
    )


@dataclass
class _Seen:
    """What all images together did to one tensor, image by image.

    Attributes:
        signal: Sums of squares of the float tensor.
        noise: Of what the integers are off by.
        float_exact: Largest error under the generators, relative to the largest value.
        changed: Share of integers that the generators change.
        float_step: Errors under the smallest rotation.
        int8_step: Those of the integers.
    """

    signal: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    float_exact: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    float_step: list[float] = field(default_factory=list)
    int8_step: list[float] = field(default_factory=list)

    def summed(self, node: Node, shape: Shape) -> TensorError:
        """Figures over all images."""
        signal, noise = sum(self.signal), sum(self.noise)
        sqnr = 10 * np.log10(max(signal, _TINY) / noise) if noise else np.inf
        changed = self.changed
        return TensorError(
            name=node.name,
            kind=type(node).__name__,
            shape=shape,
            inputs=node.inputs,
            sqnr_db=float(sqnr),
            float_exact=max(self.float_exact) if self.float_exact else None,
            changed_values=float(np.mean(changed)) if changed else None,
            changed_images=sum(c > 0 for c in changed) if changed else None,
            float_step=float(np.median(self.float_step)) if self.float_step else None,
            int8_step=float(np.median(self.int8_step)) if self.int8_step else None,
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """Every tensor of some images, in both representations."""

    floats: Mapping[str, Array]
    integers: Mapping[str, Array]

    @classmethod
    def of(cls, pair: Pair, images: NDArray[np.uint8]) -> _Run:
        """Run both."""
        return cls(pair.floats.tensors(images), pair.integers.tensors(images))


def _see(pair: Pair, images: NDArray[np.uint8], seen: dict[str, _Seen]) -> None:
    """Add what a batch of images does to every tensor."""
    plain = turned(images, 0)
    before = _Run.of(pair, plain)
    names = [
        node.name
        for node in pair.graph.nodes
        if node.name in before.floats and node.name in before.integers
    ]
    for name in names:
        real = pair.activations[name].dequantize(before.integers[name])
        wanted = before.floats[name].astype(np.float64)
        one = seen.setdefault(name, _Seen())
        one.signal += _per_image(np.square(wanted), np.sum)
        one.noise += _per_image(np.square(real - wanted), np.sum)
    motions = pair.graph.input.fields.motions
    for index, motion in enumerate(motions):
        after = _Run.of(pair, moved(plain, motion))
        for name in names:
            fields = pair.graph.fields(name)
            if fields.motions == motions:
                _add_exact(seen[name], name, fields.generators[index], before, after)
    degrees = _smallest(pair.graph.input.fields)
    if degrees is not None:
        # Of the greyed image, as for features: what is outside the disc is gone.
        after = _Run.of(pair, turned(plain, degrees))
        for name in names:
            _add_step(seen[name], name, pair, before, after)


def _add_exact(
    one: _Seen, name: str, generator: Generator, before: _Run, after: _Run
) -> None:
    """Add the errors of one tensor under one generator."""
    found, wanted = (_maps(run.floats[name]) for run in (after, before))
    wanted = generator.act(wanted)
    largest = np.maximum(_per_image(np.abs(wanted), np.max), _TINY)
    off = np.asarray(_per_image(np.abs(found - wanted), np.max))
    one.float_exact += (off / largest).tolist()
    integers = generator.act(_maps(before.integers[name]))
    one.changed += _per_image(_maps(after.integers[name]) != integers, np.mean)


def _add_step(one: _Seen, name: str, pair: Pair, before: _Run, after: _Run) -> None:
    """Add the errors of one tensor under the smallest rotation, where it is known."""
    fields = pair.graph.fields(name)
    if fields.step is None:
        return
    step, degrees = fields.step, fields.step_degrees
    floats = (after.floats[name], before.floats[name])
    real = pair.activations[name].dequantize
    integers = (real(after.integers[name]), real(before.integers[name]))
    one.float_step += _step_errors(*floats, step, degrees)
    one.int8_step += _step_errors(*integers, step, degrees)


def _step_errors(
    found: Array, before: Array, step: NDArray[np.int64], degrees: float
) -> list[float]:
    """Relative error of each image's tensor under the smallest rotation."""
    found, before = _maps(found), _maps(before)
    inside = circular_mask(found.shape[-1]).astype(bool)
    wanted = turned_features(before[:, step], degrees)[..., inside]
    off = np.square(found[..., inside] - wanted)
    sizes = np.maximum(_per_image(np.square(wanted), np.sum), _TINY)
    errors = np.sqrt(np.asarray(_per_image(off, np.sum)) / sizes)
    return [float(error) for error in errors]


def _smallest(fields: FieldBlocks) -> float | None:
    """Degrees of the group's smallest rotation, if the grid must be resampled for it.

    None where there is no rotation, and where it is a quarter or half turn, which is
    measured exactly.
    """
    if fields.step is None or fields.step_degrees % 90 == 0:
        return None
    return fields.step_degrees


def _maps(tensor: Array) -> Array:
    """(B, C, H, W); flat features are a grid of one point."""
    return tensor.reshape(*tensor.shape, *[1] * (4 - tensor.ndim))


def _per_image(values: Array, reduce: Callable[..., Any]) -> list[float]:
    """One figure per image."""
    rows = values.reshape(len(values), -1)
    return [float(figure) for figure in reduce(rows, axis=1)]
