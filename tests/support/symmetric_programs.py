"""Programs that are symmetric on purpose.

`Symmetric` draws random operators and sums their numbers over a group, so that the
result commutes with it whatever was drawn. Channels are listed in a random order.
"""

from __future__ import annotations

import itertools

import numpy as np

from mobileq.proof.motions import Motion
from mobileq.proof.program import (
    POINT,
    Axis,
    Concat,
    Convolve,
    MaxWindow,
    Opaque,
    Operator,
    Pad,
    Pointwise,
    Program,
    Regroup,
    Source,
    Windows,
)
from support.programs import GROUPS, STILL, Array, compose


class Symmetric:
    """Random operators that commute with a group, one after the other.

    Each tensor has a representation: for each motion, the (C,) channel that each of its
    channels takes its values from.

    Args:
        seed: Decides everything.
        group: Key of `GROUPS`.
        size: Height and width of the image.
    """

    def __init__(self, seed: int, group: str, size: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.group = GROUPS[group]
        image = Source("image", "input", (), (2, size, size))
        self.operators: list[Operator] = [image]
        trivial = np.arange(2)
        self.actions: dict[str, dict[Motion, Array]] = {
            "image": dict.fromkeys(self.group, trivial)
        }

    @property
    def last(self) -> Operator:
        """The newest operator."""
        return self.operators[-1]

    def program(self) -> Program:
        """All operators so far."""
        return Program("test", tuple(self.operators), self.last.name)

    def windows(self, *, largest: int = 3) -> Windows:
        """Windows that lie symmetrically on the newest grid."""
        size = self.last.shape[1]
        choices = [
            Axis(
                size,
                (size + 2 * before - span) // stride + 1,
                kernel,
                stride,
                d,
                before,
            )
            for kernel, stride, d, before in itertools.product(
                range(1, largest + 1), (1, 2), (1, 2), (0, 1, 2)
            )
            for span in [(kernel - 1) * d + 1]
            if before < span <= size + 2 * before
            and (size + 2 * before - span) % stride == 0
        ]
        axis = choices[int(self.rng.integers(len(choices)))]
        return Windows(axis, axis)

    def regular(self, blocks: int) -> dict[Motion, Array]:
        """Representation of blocks of one channel for each element, shuffled."""
        order = len(self.group)
        names = self.rng.permutation(blocks * order)
        found = {}
        for motion in self.group:
            source = np.empty(blocks * order, np.int64)
            for block, (place, element) in itertools.product(
                range(blocks), enumerate(self.group)
            ):
                moved = compose(motion.inverse, element)
                other = self.group.index(moved)
                source[names[block * order + place]] = names[block * order + other]
            found[motion] = source
        return found

    def tied(self, action: dict[Motion, Array], least: int, most: int) -> Array:
        """(C,) random numbers that are the same in each orbit."""
        channels = len(action[STILL])
        values = self.rng.integers(least, most, channels)
        return np.asarray(sum(values[source] for source in action.values()))

    def convolve(self, blocks: int, *, windows: Windows | None = None) -> None:
        """A dense layer to regular channels."""
        above = self.actions[self.last.name]
        action = self.regular(blocks)
        windows = windows or self.windows()
        into, out = self.last.shape[0], blocks * len(self.group)
        shape = (out, into, windows.rows.kernel, windows.rows.kernel)
        drawn = self.rng.integers(-3, 4, shape)
        weight = np.zeros(shape, np.int64)
        for motion, source in action.items():
            moved = np.empty(shape, np.int64)
            turned = motion.inverse(drawn)
            moved[np.ix_(source, above[motion])] = turned
            weight += moved
        self._layer(weight, 1, windows, action)

    def depthwise(self) -> None:
        """One filter for each channel."""
        action, windows = self.actions[self.last.name], self.windows()
        channels = self.last.shape[0]
        shape = (channels, 1, windows.rows.kernel, windows.rows.kernel)
        drawn = self.rng.integers(-3, 4, shape)
        weight = np.zeros(shape, np.int64)
        for motion, source in action.items():
            moved = np.empty(shape, np.int64)
            moved[source] = motion.inverse(drawn)
            weight += moved
        self._layer(weight, channels, windows, action)

    def _layer(
        self,
        weight: Array,
        groups: int,
        windows: Windows,
        action: dict[Motion, Array],
    ) -> None:
        """Append a layer with a bias and a scale for each channel."""
        numbers = {"bias": self.tied(action, -5, 6), "scale": self.tied(action, 1, 4)}
        shape = (len(weight), windows.rows.count, windows.columns.count)
        source = (self.last.name,)
        layer = Convolve(
            self._name(), "conv", source, shape, weight, groups, windows, numbers
        )
        self._append(layer, action)

    def pointwise(self, *others: str) -> None:
        """A function of tensors with one representation, a mask, and tied bounds."""
        action = self.actions[self.last.name]
        channels, height, width = self.last.shape
        drawn = self.rng.integers(0, 3, (1, height, width))
        mask = np.asarray(sum(motion(drawn) for motion in self.group))
        bounds = self.tied(action, 0, 9)[:, None, None]
        constants = {"mask": mask, "bounds": bounds}
        inputs = (self.last.name, *others)
        shape = (channels, height, width)
        made = Pointwise(self._name(), "pointwise", inputs, shape, constants)
        self._append(made, action)

    def max_window(self) -> None:
        """Maximum over windows."""
        windows = self.windows()
        shape = (self.last.shape[0], windows.rows.count, windows.columns.count)
        made = MaxWindow(self._name(), "max", (self.last.name,), shape, windows)
        self._append(made, self.actions[self.last.name])

    def pad(self) -> None:
        """A border of one or two."""
        channels, size, _ = self.last.shape
        before = int(self.rng.integers(1, 3))
        axis = Axis(size, size + 2 * before, 1, before=before)
        shape = (channels, axis.count, axis.count)
        windows = Windows(axis, axis)
        made = Pad(self._name(), "pad", (self.last.name,), shape, windows)
        self._append(made, self.actions[self.last.name])

    def concat(self, other: str) -> None:
        """The newest tensor and another one with the same grid."""
        first, second = self.last, other
        action = {
            m: np.concatenate([s, self.actions[second][m] + first.shape[0]])
            for m, s in self.actions[first.name].items()
        }
        shape = (len(action[STILL]), *first.shape[1:])
        made = Concat(self._name(), "concat", (first.name, second), shape)
        self._append(made, action)

    def orbit_max(self) -> None:
        """Maximum over each orbit of channels; nothing exchanges channels after it."""
        action = self.actions[self.last.name]
        rows = {
            tuple(sorted({int(s[c]) for s in action.values()})) for c in action[STILL]
        }
        most = max(map(len, rows))
        padded = [[*row, *row[:1] * (most - len(row))] for row in rows]
        members = np.array(self.rng.permuted(np.array(padded), axis=1))
        shape = (len(members), *self.last.shape[1:])
        made = Regroup(self._name(), "orbit", (self.last.name,), shape, members, False)
        self._append(made, dict.fromkeys(self.group, np.arange(len(members))))

    def maximum_of_all(self) -> None:
        """Maximum over orbits of elements, channels and places at once."""
        channels, height, width = self.last.shape
        action = self.actions[self.last.name]
        every = np.arange(channels * height * width).reshape(channels, height, width)
        moved = np.stack([m(every[s]).ravel() for m, s in action.items()], axis=1)
        members = np.unique(np.sort(moved, axis=1), axis=0)
        shape = (len(members), 1, 1)
        made = Regroup(self._name(), "all", (self.last.name,), shape, members, True)
        self._append(made, dict.fromkeys(self.group, np.arange(len(members))))

    def flatten(self) -> None:
        """All elements in another order."""
        channels, height, width = self.last.shape
        action = self.actions[self.last.name]
        order = self.rng.permutation(channels * height * width)
        place = np.argsort(order)
        every = np.arange(order.size).reshape(channels, height, width)
        turned = {m: place[m(every[s]).ravel()[order]] for m, s in action.items()}
        shape = (order.size, 1, 1)
        source, name = (self.last.name,), self._name()
        made = Regroup(name, "flatten", source, shape, order[:, None], True)
        self._append(made, turned)

    def opaque(self) -> None:
        """Something unknown."""
        made = Opaque(self._name(), "odd", (self.last.name,), (3, 1, 1), "it is odd")
        self._append(made, dict.fromkeys(self.group, np.arange(3)))

    def _name(self) -> str:
        """A new name."""
        return f"t{len(self.operators)}"

    def _append(self, operator: Operator, action: dict[Motion, Array]) -> None:
        """Append an operator with the representation of its result."""
        self.operators.append(operator)
        self.actions[operator.name] = action


def symmetric_program(seed: int, group: str) -> Program:
    """A random network of a group that ends with invariant numbers."""
    rng = np.random.default_rng(seed)
    made = Symmetric(seed, group, int(rng.integers(5, 8)))
    steps = [made.pad, made.max_window, made.pointwise, made.depthwise]
    if rng.random() < 0.5:
        made.pointwise()
    made.convolve(1)
    for _ in range(int(rng.integers(1, 4))):
        if made.last.shape[1] < 3:
            break
        steps[int(rng.integers(len(steps)))]()
    before = made.last.name
    made.pointwise()
    match int(rng.integers(3)):
        case 0:
            made.concat(before)
        case 1:
            made.pointwise(before)
    made.convolve(1, windows=made.windows(largest=1))
    match int(rng.integers(3)):
        case 0:
            made.orbit_max()
            made.maximum_of_all()
        case 1:
            made.flatten()
            made.convolve(1, windows=POINT)
            made.orbit_max()
        case _:
            made.maximum_of_all()
    if rng.random() < 0.5:
        made.opaque()
    return made.program()
