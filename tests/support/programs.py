"""Run programs of the proof, and change single numbers of them.

`run` knows nothing of symmetry: it loops over windows and channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    Program,
    Regroup,
    Sample,
    Source,
    Windows,
)

Array = NDArray[np.int64]

MOTIONS = tuple(Motion(flip, turns) for flip in (False, True) for turns in range(4))
STILL = MOTIONS[0]

GROUPS: dict[str, tuple[Motion, ...]] = {
    "C1": (STILL,),
    "C2": (STILL, Motion(False, 2)),
    "C4": MOTIONS[:4],
    "D1": (STILL, Motion(True, 3)),
    "D2": tuple(m for m in MOTIONS if m.turns % 2 == 0),
    "D4": MOTIONS,
}
"""Subgroups by the name that a certificate gives them."""

BORDER, LOWEST, MODULUS = 5, -(10**9), 97


def compose(first: Motion, second: Motion) -> Motion:
    """The motion that does `second`, then `first`."""
    grid = np.arange(9).reshape(3, 3)
    wanted = first(second(grid))
    return next(m for m in MOTIONS if np.array_equal(m(grid), wanted))


def run(program: Program, image: Array) -> Array:
    """Compute the output of a program for an image (C, H, W)."""
    tensors: dict[str, Array] = {}
    for operator in program.operators:
        inputs = [tensors[name] for name in operator.inputs]
        made = image if isinstance(operator, Source) else compute(operator, inputs)
        assert made.shape == operator.shape, operator.name
        tensors[operator.name] = made
    return tensors[program.output]


def compute(operator: Operator, inputs: Sequence[Array]) -> Array:
    """Some function of the kind that an operator stands for."""
    match operator:
        case Convolve():
            return _convolve(operator, inputs[0])
        case Pointwise():
            total = np.zeros(operator.shape, np.int64)
            for number, values in enumerate((*inputs, *operator.constants.values())):
                total = (total * 3 + values * (number + 2) + values * total) % MODULUS
            return total
        case MaxWindow():
            return np.max(_windows(inputs[0], operator.windows, LOWEST), axis=(3, 4))
        case Pad():
            windows = _windows(inputs[0], operator.windows, BORDER)
            return windows[..., 0, 0]
        case Regroup():
            flat = inputs[0].reshape(-1, 1, 1) if operator.flat else inputs[0]
            return np.asarray(flat[operator.members].max(axis=1))
        case Concat():
            return np.concatenate(inputs)
        case Sample():
            return inputs[0][:, operator.rows][:, :, operator.columns]
        case PerPixel():
            every = inputs[0].astype(np.int64)
            mixed = [np.roll(every, n, axis=0).cumsum(0) for n in range(len(every))]
            return np.array([(m * m).sum(0) % MODULUS for m in mixed])
        case Opaque():
            every = np.concatenate([values.ravel() for values in inputs])
            rolled = [np.roll(every, n).cumsum() for n in range(operator.shape[0])]
            return np.array([r @ r % MODULUS for r in rolled]).reshape(operator.shape)
    raise AssertionError(operator)


def _convolve(operator: Convolve, values: Array) -> Array:
    """Sums, bias, scale, and a function of the result in place of rounding."""
    weight, windows = operator.weight, _windows(values, operator.windows, 0)
    each = len(weight) // operator.groups
    total = np.zeros(operator.shape, np.int64)
    for out, filters in enumerate(weight):
        first = out // each * weight.shape[1]
        read = windows[first : first + weight.shape[1]]
        total[out] = np.einsum("chwyx,cyx->hw", read, filters)
    for number, values in enumerate(operator.per_channel.values()):
        total = total * (number + 2) + values[:, None, None]
    return total**2 % MODULUS


def _windows(values: Array, windows: Windows, fill: int) -> Array:
    """(C, H', W', kh, kw): the points of each window, `fill` beyond the grid."""
    result = values
    for position, axis in enumerate((windows.rows, windows.columns)):
        starts = np.arange(axis.count) * axis.stride - axis.before
        points = starts[:, None] + np.arange(axis.kernel) * axis.dilation
        outside = (points < 0) | (points >= axis.size)
        taken = np.take(result, np.where(outside, 0, points), axis=1 + position)
        # Axes so far: C, then this one as (count, kernel), then the rest.
        shape = [1] * taken.ndim
        shape[1 + position : 3 + position] = outside.shape
        taken = np.where(outside.reshape(shape), fill, taken)
        result = np.moveaxis(taken, 2 + position, -1)
    return result


def mutated(program: Program, seed: int) -> Program:
    """One number of one operator changed, wherever it is."""
    rng = np.random.default_rng(seed)
    while True:
        place = int(rng.integers(len(program.operators)))
        changed = _mutated(program.operators[place], rng)
        if changed is not None:
            operators = list(program.operators)
            operators[place] = changed
            return replace(program, operators=tuple(operators))


def _mutated(operator: Operator, rng: np.random.Generator) -> Operator | None:
    """A copy with one number changed; None if it has none."""

    def nudged(values: NDArray[Any]) -> NDArray[Any]:
        copy = values.copy()
        copy.flat[int(rng.integers(copy.size))] += 1
        return copy

    match operator:
        case Convolve() if rng.random() < 0.5:
            return replace(operator, weight=nudged(operator.weight))
        case Convolve():
            key = ("bias", "scale")[int(rng.integers(2))]
            numbers = dict(operator.per_channel)
            numbers[key] = nudged(numbers[key])
            return replace(operator, per_channel=numbers)
        case Pointwise():
            key = ("mask", "bounds")[int(rng.integers(2))]
            constants = dict(operator.constants)
            constants[key] = nudged(constants[key])
            return replace(operator, constants=constants)
        case MaxWindow() | Pad():
            rows = operator.windows.rows
            shifted = replace(rows, before=rows.before + 1)
            windows = replace(operator.windows, rows=shifted)
            return replace(operator, windows=windows)
        case Regroup():
            members = operator.members.copy()
            first, second = rng.integers(members.size, size=2)
            flat = members.reshape(-1)
            flat[[first, second]] = flat[[second, first]]
            return replace(operator, members=members)
    return None
