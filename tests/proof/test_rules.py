"""The rules of the proof against computation: what is proven holds, and is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobileq.proof import Motion, Program, prove
from mobileq.proof.motions import CHECKED, QUARTER_TURN, group_name
from mobileq.proof.program import (
    Axis,
    Concat,
    Convolve,
    MaxWindow,
    Opaque,
    Pad,
    PerPixel,
    Pointwise,
    Regroup,
    Source,
    Windows,
)
from support.programs import (
    GROUPS,
    MOTIONS,
    STILL,
    compose,
    mutated,
    run,
)
from support.symmetric_programs import Symmetric, symmetric_program

seeds = st.integers(0, 2**32 - 1)


def _require_true(program: Program, *, images: int = 3) -> tuple[Motion, ...]:
    """Demand that what is proven is a group, and can be seen on random images."""
    proven = prove(program).proven
    rng = np.random.default_rng(0)
    shape = program.operators[0].shape
    for image in rng.integers(0, 50, (images, *shape)):
        still = run(program, image)
        for motion in proven:
            moved = run(program, np.ascontiguousarray(motion(image)))
            assert np.array_equal(moved, motion(still)), str(motion)
    group = {STILL, *proven, *(motion.inverse for motion in proven)}
    assert {compose(first, second) for first in group for second in group} == group
    return proven


@settings(max_examples=60)
@given(seed=seeds, group=st.sampled_from(sorted(GROUPS)))
def test_what_is_symmetric_is_proven(seed: int, group: str) -> None:
    """Networks that are summed over a group: all of it, and it can be seen."""
    program = symmetric_program(seed, group)
    proven = _require_true(program)
    assert set(GROUPS[group]) & set(CHECKED) <= set(proven), prove(program).breaks


@settings(max_examples=150)
@given(seed=seeds, group=st.sampled_from(sorted(GROUPS)))
def test_what_is_proven_of_a_changed_network_holds(seed: int, group: str) -> None:
    """One number is another; the proof breaks, or the number does not matter."""
    program = mutated(symmetric_program(seed, group), seed)
    _require_true(program, images=4)


@settings(max_examples=60)
@given(seed=seeds)
def test_a_changed_corner_breaks_its_layer(seed: int) -> None:
    """A change in a corner of one filter is found in the layer itself."""
    made = Symmetric(seed, "C4", 6)
    axis = Axis(6, 4, 3)
    made.convolve(2, windows=Windows(axis, axis))
    made.maximum_of_all()
    layer = made.operators[1]
    assert isinstance(layer, Convolve)
    weight = layer.weight.copy()
    weight[3, 0, 0, 0] += 1
    changed = replace(layer, weight=weight)
    program = made.program()
    operators = (program.operators[0], changed, *program.operators[2:])
    proof = prove(replace(program, operators=operators))
    assert QUARTER_TURN in prove(program).proven
    assert QUARTER_TURN not in proof.proven
    assert proof.breaks[QUARTER_TURN].operator == layer.name


@settings(max_examples=150)
@given(seed=seeds)
def test_tiny_random_layers(seed: int) -> None:
    """Few small numbers are symmetric now and then; never more is proven than holds."""
    rng = np.random.default_rng(seed)
    channels, out = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    size = tuple(int(n) for n in rng.integers(2, 5, 2) + rng.integers(0, 2))
    if rng.random() < 0.7:
        size = (size[0], size[0])
    groups = channels if rng.random() < 0.4 else 1
    out *= groups
    axes = []
    for extent in size:
        kernel, stride = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        dilation, before = int(rng.integers(1, 3)), int(rng.integers(0, 2))
        if axes and rng.random() < 0.7:
            kernel, stride = axes[0].kernel, axes[0].stride
            dilation, before = axes[0].dilation, axes[0].before
        span = (kernel - 1) * dilation + 1
        count = max(1, (extent + 2 * before - span) // stride + 1)
        axes.append(Axis(extent, count, kernel, stride, dilation, before))
    windows = Windows(axes[0], axes[1])
    kernel = (axes[0].kernel, axes[1].kernel)
    weight = rng.integers(0, 2, (out, channels // groups, *kernel))
    numbers = {"bias": rng.integers(0, 2, out)}
    shape = (axes[0].count, axes[1].count)
    layers = (
        Source("x", "input", (), (channels, *size)),
        Convolve("y", "conv", ("x",), (out, *shape), weight, groups, windows, numbers),
        Regroup("z", "max", ("y",), (1, *shape), np.arange(out)[None], False),
    )
    _require_true(Program("test", layers, "y" if rng.random() < 0.3 else "z"))


@settings(max_examples=100)
@given(seed=seeds)
def test_tiny_random_others(seed: int) -> None:
    """Maxima over windows and elements, borders and masks, on tiny grids."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 4, 2))
    if rng.random() < 0.6:
        width = height
    x = Source("x", "input", (), (2, height, width))
    kernel = int(rng.integers(1, 3))
    axes = [
        Axis(n, n + 1, kernel, before=int(rng.integers(0, 3))) for n in (height, width)
    ]
    windows, larger = Windows(axes[0], axes[1]), (2, height + 1, width + 1)
    constants = {
        "mask": rng.integers(0, 2, (1, height, width)),
        "bound": rng.integers(0, 2, (2, 1, 1)),
    }
    elements = rng.integers(0, 2 * height * width, (2, int(rng.integers(1, 9))))
    points = Windows(*(replace(axis, kernel=1) for axis in axes))
    for operator in (
        MaxWindow("y", "max", ("x",), larger, windows),
        Pad("y", "pad", ("x",), larger, points),
        Pointwise("y", "add", ("x", "x"), x.shape, constants),
        Regroup("y", "all", ("x",), (2, 1, 1), elements, True),
        Regroup("y", "some", ("x",), x.shape, rng.integers(0, 2, (2, 2)), False),
        Concat("y", "concat", ("x", "x"), (4, height, width)),
        PerPixel("y", "softmax", ("x",), x.shape),
    ):
        _require_true(Program("test", (x, operator), "y"))


@given(seed=seeds)
def test_a_function_of_a_pixel_passes_where_channels_stay(seed: int) -> None:
    """Behind the orbit pool, on a grid that turns; not on channels of an orbit."""
    made = Symmetric(seed, "C4", 5)
    made.convolve(2)
    for pooled in (False, True):
        if pooled:
            made.orbit_max()
        before, program = made.last, made.program()
        softmax = PerPixel("softmax", "SOFTMAX", (before.name,), before.shape)
        operators = (*program.operators, softmax)
        program = replace(program, operators=operators, output=softmax.name)
        proof = prove(program)
        if pooled:
            assert QUARTER_TURN in proof.proven
        elif QUARTER_TURN in proof.breaks:
            # Unless all channels of an orbit happen to be equal.
            reason = "it reads channels that take each other's places"
            assert proof.breaks[QUARTER_TURN].reason == reason
        _require_true(program)


@given(seed=seeds)
def test_an_opaque_operator_passes_only_where_nothing_changes(seed: int) -> None:
    """Behind the orbit pool; not behind the grid's alone, nor before both."""
    made = Symmetric(seed, "C4", 5)
    for where in ("grid", "channels", "pooled"):
        if where == "channels":
            made.flatten()
        if where == "pooled":
            made.orbit_max()
        before, program = made.last, made.program()
        odd = Opaque("odd", "ODD", (before.name,), (3, 1, 1), "it is odd")
        program = replace(program, operators=(*program.operators, odd), output=odd.name)
        proof = prove(program)
        assert (QUARTER_TURN in proof.proven) == (where == "pooled"), where
        if where != "pooled":
            assert proof.breaks[QUARTER_TURN].reason == "it is odd"
            assert proof.breaks[QUARTER_TURN].operator == "odd"
        unknown = replace(odd, repeatable=False)
        program = replace(program, operators=(*program.operators[:-1], unknown))
        assert prove(program).proven == ()


def test_outputs_that_are_exchanged_are_named() -> None:
    """A network that is only equivariant has no invariant answer."""
    made = Symmetric(0, "C4", 5)
    made.flatten()
    proof = prove(made.program())
    assert proof.proven == ()
    broken = proof.breaks[QUARTER_TURN]
    assert "of the image turned by 90 degrees is output" in broken.reason
    assert "a maximum over the orbit" in broken.reason


@pytest.mark.parametrize("group", GROUPS)
def test_the_largest_sum_counts(group: str) -> None:
    """Accumulators that could overflow prove nothing: wrapping is not everywhere."""
    made = Symmetric(1, group, 5)
    made.convolve(1)
    made.maximum_of_all()
    program, layer = made.program(), made.operators[1]
    assert isinstance(layer, Convolve)
    for factor, fits in ((1, True), (2**31, False)):
        changed = replace(layer, weight=layer.weight * factor)
        operators = (program.operators[0], changed, *program.operators[2:])
        proof = prove(replace(program, operators=operators))
        assert bool(proof.proven) == (fits and group != "C1")
        assert (proof.largest_sum < 2**31) == fits
        if not fits:
            assert "wanted less than 2^31" in proof.breaks[QUARTER_TURN].reason


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (Axis(5, 5, 1), "the window is 3x1"),
        (Axis(5, 5, 3, dilation=2, before=2), "dilation is 1x2"),
    ],
)
def test_windows_of_one_centre_but_another_shape(columns: Axis, words: str) -> None:
    """Windows that are not square are mirrored onto themselves, but not turned."""
    x = Source("x", "input", (), (1, 5, 5))
    windows = Windows(Axis(5, 5, 3, before=1), columns)
    program = Program("test", (x, MaxWindow("y", "MAX", ("x",), x.shape, windows)), "y")
    proven = _require_true(program)
    assert group_name(proven) == "D2"
    assert words in prove(program).breaks[QUARTER_TURN].reason
    image = np.zeros((1, 5, 5), np.int64)
    image[0, 2, 2] = 1
    moved = run(program, QUARTER_TURN(image))
    assert not np.array_equal(moved, QUARTER_TURN(run(program, image)))


def test_a_maximum_does_not_count() -> None:
    """Members that are listed twice, in one order or another, change no maximum."""
    made = Symmetric(5, "C2", 5)
    made.convolve(1)
    layer = made.last
    members = np.array([[0, 0, 1], [1, 0, 1]])
    shape = (2, *layer.shape[1:])
    pool = Regroup("pool", "max", (layer.name,), shape, members, False)
    program = Program("test", (*made.operators, pool), "pool")
    assert group_name(_require_true(program)) == "C2"


def test_the_two_zeros_are_different_numbers() -> None:
    """Bits are compared, so a negative zero breaks a proof, and is named."""
    values = np.zeros((1, 3, 3))
    values[0, 0, 2] = -0.0
    x = Source("x", "input", (), (1, 3, 3))
    y = Pointwise("y", "MIN", ("x",), x.shape, {"bound": values})
    broken = prove(Program("test", (x, y), "y")).breaks[QUARTER_TURN]
    assert broken.witness is not None
    assert broken.witness.parameter == "bound[row 0, column 2]"
    assert str(broken.witness.found) == "-0.0"


def test_large_grids_take_no_memory() -> None:
    """Windows are compared along each axis, not at each of 10^10 points."""
    axis = Axis(100_000, 100_000, 3, before=1)
    x = Source("x", "input", (), (1, 100_000, 100_000))
    y = MaxWindow("y", "MAX", ("x",), x.shape, Windows(axis, axis))
    assert prove(Program("test", (x, y), "y")).proven == CHECKED


@pytest.mark.parametrize("motion", MOTIONS, ids=str)
def test_motions(motion: Motion) -> None:
    """The inverse undoes it, and the matrix says where each point comes from."""
    assert compose(motion, motion.inverse) == STILL
    size = 5
    moved = motion(np.arange(size * size).reshape(size, size))
    for point in np.ndindex(size, size):
        centred = 2 * np.array(point) - (size - 1)
        row, column = (motion.matrix @ centred + size - 1) // 2
        assert moved[point] == row * size + column
    assert (motion(np.zeros((2, 3))).shape == (3, 2)) == motion.exchanges_axes
    known = {*CHECKED, STILL}
    assert motion in known or motion.inverse in known


def test_words_for_motions_differ() -> None:
    """Messages tell all eight apart."""
    assert len(set(map(str, MOTIONS))) == len(MOTIONS)


@pytest.mark.parametrize("name", GROUPS)
def test_names_of_groups(name: str) -> None:
    """A group is named after its motions."""
    assert group_name([m for m in GROUPS[name] if m in CHECKED]) == name
    closed = {compose(a, b) for a in GROUPS[name] for b in GROUPS[name]}
    assert closed == set(GROUPS[name])
