"""FieldBlocks and Generators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobileq.errors import GraphError
from mobileq.graph.fields import FieldBlocks, Generator, trivial_fields

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(values=VALUES, seed=st.integers(0, 1000))
def test_tied_values_are_one_per_block(values: list[float], seed: int) -> None:
    """tied_mean is the mean of the block, in any channel order."""
    array = np.array(values)
    label = np.random.default_rng(seed).integers(0, 4, len(values))
    block = np.unique(label, return_inverse=True)[1]
    fields = FieldBlocks("C4", block)
    mean = fields.tied_mean(array)
    for number in range(fields.num_blocks):
        inside = array[block == number]
        # The same sum in another order.
        np.testing.assert_allclose(
            mean[block == number], inside.mean(), rtol=1e-9, atol=1e-9
        )


@given(values=VALUES)
def test_trivial_fields_tie_nothing(values: list[float]) -> None:
    """Where every channel is a block of its own, values stay as they are."""
    array = np.array(values)
    fields = trivial_fields(len(values))
    np.testing.assert_array_equal(fields.tied_mean(array), array)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_generator_moves_what_it_says(turns: int, mirrored: bool) -> None:
    """New channel i is old channel source[i], mirrored, then turned."""
    source = np.array([2, 0, 1])
    generator = Generator(turns, mirrored, source)
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    acted = generator.act(features)
    for new, old in enumerate(source):
        image: NDArray[np.float64] = features[:, old]
        if mirrored:
            image = np.flip(image, axis=2)
        wanted = np.stack([np.rot90(one, turns) for one in image])
        np.testing.assert_array_equal(acted[:, new], wanted)
    assert generator.motion == (turns, mirrored)


@pytest.mark.parametrize("source", [[0, 0, 1], [0, 1, 3], [-1, 0, 1]])
def test_a_generator_is_a_permutation(source: list[int]) -> None:
    """A channel that is taken twice, or does not exist, is refused."""
    with pytest.raises(GraphError, match="source is not a permutation"):
        Generator(1, False, np.array(source))


def test_generators_stay_inside_blocks() -> None:
    """A generator that mixes two orbits contradicts the blocks."""
    swap = Generator(2, False, np.array([2, 3, 0, 1]))
    with pytest.raises(GraphError, match=r"^fields of C2: a generator moves channels"):
        FieldBlocks("C2", np.array([0, 0, 1, 1]), (swap,))
    with pytest.raises(GraphError, match=r"^fields of C2: a generator moves channels"):
        FieldBlocks("C2", np.zeros(3, int), (swap,))


def test_sameness_is_of_content() -> None:
    """Blocks, motions and sources count; identity does not."""

    def make(turns: int, source: list[int]) -> FieldBlocks:
        generator = Generator(turns, False, np.array(source))
        return FieldBlocks("C2", np.zeros(2, int), (generator,))

    assert make(2, [1, 0]).same_as(make(2, [1, 0]))
    assert not make(2, [1, 0]).same_as(make(1, [1, 0]))
    assert not make(2, [1, 0]).same_as(make(2, [0, 1]))
    assert not make(2, [1, 0]).same_as(trivial_fields(2))


def test_invariant_fields_keep_the_motions() -> None:
    """Trivial fields of the same group, fixed by every generator."""
    fields = trivial_fields(4, group="D4", motions=((1, False), (0, True)))
    invariant = fields.invariant(2)
    assert invariant.motions == fields.motions
    assert (invariant.group, invariant.num_blocks) == ("D4", 2)


def test_the_step_is_frozen_and_stays_inside_blocks() -> None:
    """A permutation of the channels of each block, which nobody can change."""
    block = np.array([0, 0, 1, 1])
    fields = FieldBlocks("C2", block, step=np.array([1, 0, 3, 2]))
    assert fields.step is not None
    assert not fields.step.flags.writeable
    for step, wanted in (
        ([0, 0, 1, 2], "not a permutation"),
        ([0, 1, 2], "not a permutation"),
        ([2, 3, 0, 1], "between blocks"),
    ):
        with pytest.raises(GraphError, match=f"^fields of C2: the step .*{wanted}"):
            FieldBlocks("C2", block, step=np.array(step))
    with pytest.raises(GraphError, match=r"^fields of C1: a step; wanted none"):
        FieldBlocks("C1", block, step=np.array([1, 0, 3, 2]))


def test_the_step_counts_for_sameness() -> None:
    """Another step, or a known and an unknown one, are different fields."""

    def make(step: list[int] | None) -> FieldBlocks:
        return FieldBlocks("C3", np.zeros(3, int), step=step and np.array(step))

    assert make([1, 2, 0]).same_as(make([1, 2, 0]))
    assert make(None).same_as(make(None))
    assert not make([1, 2, 0]).same_as(make([2, 0, 1]))
    assert not make([1, 2, 0]).same_as(make(None))


@pytest.mark.parametrize(
    ("group", "degrees"), [("C1", 360), ("C12", 30), ("D4", 90), ("D1", 360)]
)
def test_trivial_fields_have_a_step_that_moves_nothing(
    group: str, degrees: int
) -> None:
    """Where the group turns the plane at all; `invariant` keeps it."""
    fields = trivial_fields(2, group=group)
    assert fields.step_degrees == degrees
    assert (fields.step is None) == (degrees == 360)
    assert fields.step is None or fields.step.tolist() == [0, 1]
    assert (fields.invariant(3).step is None) == (degrees == 360)
