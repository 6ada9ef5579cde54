"""What the smallest rotation of a group does to channels, against escnn itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from escnn.gspaces import GSpace2D, flipRot2dOnR2, rot2dOnR2, trivialOnR2
from escnn.nn import FieldType, GeometricTensor
from hypothesis import given
from hypothesis import strategies as st

from mobileq.collapse.fields import FieldReader
from mobileq.graph.fields import FieldBlocks
from mobileq.models.build import gspace_of
from mobileq.models.spec import GroupName

GROUPS = ("C2", "C3", "C4", "C6", "C8", "C12", "D2", "D3", "D4", "D6")
SPACES = {name: gspace_of(GroupName.parse(name)) for name in GROUPS}
READERS = {name: FieldReader(space) for name, space in SPACES.items()}


def drawn(gspace: GSpace2D, kinds: list[bool]) -> FieldType:
    """Regular fields where it says True, trivial ones elsewhere."""
    pick = {True: gspace.regular_repr, False: gspace.trivial_repr}
    return FieldType(gspace, [pick[kind] for kind in kinds])


def read(gspace: GSpace2D, field_type: FieldType) -> FieldBlocks:
    """Fields as the collapse reads them."""
    return FieldReader(gspace).read(field_type)


@given(
    name=st.sampled_from(GROUPS),
    kinds=st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_the_step_is_what_escnn_does_to_the_fibres(
    name: str, kinds: list[bool]
) -> None:
    """Channels go where `transform_fibers` puts them for the turn by 360/N degrees."""
    gspace = SPACES[name]
    field_type = drawn(gspace, kinds)
    fields = READERS[name].read(field_type)
    assert fields.step is not None
    turn = 2 * np.pi / GroupName.parse(name).rotations
    (element,) = [
        e
        for e in gspace.fibergroup.elements
        if np.allclose(
            gspace.basespace_action(e),
            [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]],
        )
    ]
    values = torch.randn(2, field_type.size, 1, 1)
    wanted = GeometricTensor(values, field_type).transform_fibers(element).tensor
    # A permutation matrix in float32 whose zeros may be 1e-16.
    assert torch.allclose(values[:, torch.tensor(fields.step)], wanted, atol=1e-6)
    assert fields.step_degrees == pytest.approx(np.degrees(turn))


@given(
    name=st.sampled_from([n for n in GROUPS if "3" not in n]),
    kinds=st.lists(st.booleans(), min_size=1, max_size=3),
)
def test_steps_add_up_to_the_exact_turn(name: str, kinds: list[bool]) -> None:
    """N / 4 steps are the quarter turn of the exact subgroup, and N of them nothing."""
    gspace = SPACES[name]
    fields = READERS[name].read(drawn(gspace, kinds))
    assert fields.step is not None
    exact = fields.generators[0]
    order = np.arange(fields.channels)
    rotations = GroupName.parse(name).rotations
    taken = order
    for done in range(1, rotations + 1):
        taken = taken[fields.step]
        if 4 * done == exact.turns * rotations:
            np.testing.assert_array_equal(taken, exact.source)
    np.testing.assert_array_equal(taken, order)


@pytest.mark.parametrize("gspace", [trivialOnR2(), rot2dOnR2(1), flipRot2dOnR2(1)])
def test_a_group_without_rotations_has_no_step(gspace: GSpace2D) -> None:
    """The identity and mirror images alone turn nothing."""
    fields = read(gspace, drawn(gspace, [True, False]))
    assert fields.step is None
    assert fields.step_degrees == 360
