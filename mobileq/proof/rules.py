"""What an operator's channels are made of, before and after a motion.

Write g for the action of a motion M on a tensor: (g x)[c] = M x[s(c)] with a map s of
channels. An operator f commutes with the group if f(g x) = g f(x). For each of its
output channels o, f(g x)[o] = M f'(x), where f' is the same computation with every
weight filter turned back and every input channel i replaced by s(i). So it commutes if
that computation is the one of some output channel, which is then s(o).

`parts` therefore describes each output channel by numbers that determine its values,
and what the numbers become under the motion. Whoever finds the second among the
first, for all channels, has proven the operator and knows its action.

Channels that have equal values for every image are one class: the input's action is a
map of classes, and filters are summed over a class. A channel and its copy may be
exchanged freely, so no choice is ever made, and nothing is missed by a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.proof.motions import Motion
from mobileq.proof.program import (
    Concat,
    Convolve,
    MaxWindow,
    Opaque,
    Operator,
    Pad,
    PerPixel,
    Pointwise,
    Regroup,
    Sample,
    Shape,
    Source,
)
from mobileq.proof.sampling import (
    Asymmetric,
    check_grid,
    check_sample,
    check_windows,
)


@dataclass(frozen=True, eq=False)
class Channels:
    """What is known of a tensor.

    Attributes:
        shape: (C, H, W).
        labels: (C,) class of each channel, numbered from 0.
        sources: By motion, (K,) class that each class takes its values from.
    """

    shape: Shape
    labels: NDArray[np.int64]
    sources: Mapping[Motion, NDArray[np.int64]]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max(initial=-1)) + 1


@dataclass(frozen=True, eq=False)
class Part:
    """Numbers that describe each output channel.

    Attributes:
        name: What they are, in words.
        values: (O, ...), or (1, ...) if all channels have the same.
        moved: The same shape: what the motion makes of them.
        axes: Names of the axes behind the first one.
        links: Whether they say which channels are read, not what is done to them.
    """

    name: str
    values: NDArray[Any]
    moved: NDArray[Any]
    axes: tuple[str, ...] = ()
    links: bool = False


def parts(
    operator: Operator, inputs: Sequence[Channels], motion: Motion
) -> tuple[Part, ...]:
    """Describe the output channels of an operator.

    Args:
        operator: Any but a `Source`.
        inputs: Its input tensors.
        motion: One that passed all of them.

    Raises:
        Asymmetric: the motion cannot pass, whatever the channels are.
    """
    match operator:
        case Opaque():
            return (_opaque(operator, inputs, motion),)
        case Convolve():
            return _convolve(operator, inputs[0], motion)
        case Pointwise():
            return (
                *_read(inputs, motion),
                *_constants(operator.constants, motion),
            )
        case MaxWindow() | Pad():
            check_windows(operator.windows, motion)
            return _read(inputs, motion)
        case Sample():
            check_sample(operator, *inputs[0].shape[1:], motion)
            return _read(inputs, motion)
        case PerPixel():
            return (_per_pixel(inputs[0], motion),)
        case Regroup():
            return (_regroup(operator, inputs[0], motion),)
        case Concat():
            return (_concat(operator, inputs, motion),)
    raise TypeError(f"{type(operator).__name__} has no rule")


def _opaque(operator: Opaque, inputs: Sequence[Channels], motion: Motion) -> Part:
    """A class for each channel, if nothing that is read ever changes."""
    if not operator.repeatable:
        raise Asymmetric(operator.reason)
    for above in inputs:
        same = np.array_equal(above.sources[motion], np.arange(above.classes))
        if above.shape[1:] != (1, 1) or not same:
            raise Asymmetric(operator.reason)
    every = np.arange(operator.shape[0])
    return Part("channel", every, every)


def _per_pixel(above: Channels, motion: Motion) -> Part:
    """A class for each channel, if none of those that are read takes another's place.

    Raises:
        Asymmetric: one does.
    """
    moved = above.sources[motion]
    if not np.array_equal(moved, np.arange(above.classes)):
        raise Asymmetric("it reads channels that take each other's places")
    check_grid(*above.shape[1:], motion)
    every = np.arange(len(above.labels))
    return Part("channel", every, every)


def source_channels(source: Source, motions: Sequence[Motion]) -> Channels:
    """The pixels: each colour is a class of its own, and every motion keeps it."""
    every = np.arange(source.shape[0])
    return Channels(source.shape, every, dict.fromkeys(motions, every))


def _convolve(operator: Convolve, above: Channels, motion: Motion) -> tuple[Part, ...]:
    """Filters, and the numbers of each channel."""
    check_windows(operator.windows, motion)
    weight, out = operator.weight, len(operator.weight)
    if motion.exchanges_axes and weight.shape[2] != weight.shape[3]:
        raise Asymmetric(f"the kernel is {weight.shape[2]}x{weight.shape[3]}")
    source = above.sources[motion]
    found = [Part(n, v, v) for n, v in operator.per_channel.items()]
    if weight.shape[1] == 1:
        # One input channel per filter: a sum over classes would be almost all zeros.
        read = above.labels[np.arange(out) // (out // operator.groups)]
        found.append(Part("input channel", read, source[read], links=True))
        turned = motion.inverse(weight[:, 0])
        found.append(Part("weight", weight[:, 0], turned, ("row", "column")))
    else:
        filters = _over_classes(_ungrouped(operator), above)
        moved = np.empty_like(filters)
        moved[:, source] = motion.inverse(filters)
        axes = ("input channel", "row", "column")
        found.append(Part("weight", filters, moved, axes))
    return tuple(found)


def _ungrouped(operator: Convolve) -> NDArray[np.int64]:
    """(O, I, kh, kw) filters with zeros for the channels that are not read."""
    if operator.groups == 1:
        return operator.weight
    out, each = operator.weight.shape[:2]
    group = np.arange(out) // (out // operator.groups)
    channels = group[:, None] * each + np.arange(each)
    dense = np.zeros((out, each * operator.groups, *operator.weight.shape[2:]), int)
    dense[np.arange(out)[:, None], channels] = operator.weight
    return dense


def _over_classes(filters: NDArray[np.int64], above: Channels) -> NDArray[np.int64]:
    """(O, K, kh, kw): filters summed over the input channels of each class."""
    if above.classes == len(above.labels):
        # Every channel is a class; they are numbered in order.
        return filters
    summed = np.zeros((filters.shape[0], above.classes, *filters.shape[2:]), int)
    # Indexed on its first axis, which is where numpy adds repeated indices.
    np.add.at(summed.swapaxes(0, 1), above.labels, filters.swapaxes(0, 1))
    return summed


def _read(inputs: Sequence[Channels], motion: Motion) -> tuple[Part, ...]:
    """Which class each output channel reads of each input."""
    found = []
    for number, above in enumerate(inputs):
        name = "input channel" if len(inputs) == 1 else f"channel of input {number}"
        moved = above.sources[motion][above.labels]
        found.append(Part(name, above.labels, moved, links=True))
    return tuple(found)


def _constants(
    constants: Mapping[str, NDArray[Any]], motion: Motion
) -> tuple[Part, ...]:
    """Constants that are spread over the grid are turned back."""
    found = []
    for name, values in constants.items():
        grid = values
        if values.shape[1:] != (1, 1):
            if motion.exchanges_axes and values.shape[1] != values.shape[2]:
                raise Asymmetric(f"{name} is {values.shape[1]}x{values.shape[2]}")
            grid = motion.inverse(values)
        found.append(Part(name, values, grid, ("row", "column")))
    return tuple(found)


def _regroup(operator: Regroup, above: Channels, motion: Motion) -> Part:
    """Sets of classes; if flat, of classes and places."""
    _, height, width = above.shape
    if not operator.flat:
        read = above.labels[operator.members]
        moved = above.sources[motion][read]
        return Part("maximum of channels", _as_sets(read), _as_sets(moved), ("member",))
    check_grid(height, width, motion)
    places = np.arange(height * width).reshape(height, width)
    channel, place = np.divmod(operator.members, height * width)
    labels = above.labels[channel]
    read = labels * places.size + place
    turned = motion(places).ravel()[place]
    moved = above.sources[motion][labels] * places.size + turned
    return Part("element", _as_sets(read), _as_sets(moved), ("member",))


def _as_sets(members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows sorted, repetitions replaced by -1: the maximum knows neither."""
    ordered = np.sort(members, axis=1)
    repeated = np.diff(ordered, axis=1, prepend=-1) == 0
    return np.sort(np.where(repeated, -1, ordered), axis=1)


def _concat(operator: Concat, inputs: Sequence[Channels], motion: Motion) -> Part:
    """Tensor and class of each output channel."""
    first = {name: operator.inputs.index(name) for name in operator.inputs}
    rows, moved = [], []
    for name, above in zip(operator.inputs, inputs, strict=True):
        tensor = np.full(len(above.labels), first[name])
        rows.append(np.stack([tensor, above.labels], axis=1))
        turned = above.sources[motion][above.labels]
        moved.append(np.stack([tensor, turned], axis=1))
    axes = ("tensor and channel",)
    return Part("source", np.concatenate(rows), np.concatenate(moved), axes)
