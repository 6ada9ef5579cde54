"""Model specs: what is legal, and what a file with an illegal one is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.errors import CheckpointError, InputError
from mobileq.models.spec import CONVENTIONAL, GroupName, ModelSpec

SPECS = st.builds(
    ModelSpec,
    group=st.sampled_from(["C1", "C4", "C12", "D1", "D6", CONVENTIONAL]),
    width=st.floats(0.01, 8),
    input_size=st.integers(9, 2047),
    reduced_strides=st.integers(0, 5),
    num_classes=st.integers(1, 10_000),
    in_channels=st.integers(1, 64),
)


@given(spec=SPECS)
def test_round_trip(spec: ModelSpec) -> None:
    """A spec comes back from its plain values."""
    assert ModelSpec.from_dict(spec.to_dict(), source="file") == spec


@given(spec=SPECS)
def test_twin_keeps_everything_but_the_group(spec: ModelSpec) -> None:
    """The twin has the same channels, filters and strides."""
    twin = spec.twin()
    assert not twin.equivariant
    assert {**spec.to_dict(), "group": CONVENTIONAL} == twin.to_dict()


@pytest.mark.parametrize(
    ("text", "order", "exact"),
    [("C1", 1, 1), ("C4", 4, 4), ("C6", 6, 2), ("C12", 12, 4), ("D4", 8, 4)],
)
def test_group_names(text: str, order: int, exact: int) -> None:
    """Order of the group and of its rotations that are exact on pixels."""
    group = GroupName.parse(text)
    assert (group.order, group.exact_rotations) == (order, exact)


@pytest.mark.parametrize("text", ["", "C", "C0", "c4", "C100", "E4", "C4 ", "D-1"])
def test_unknown_groups_are_refused(text: str) -> None:
    """The message shows what was given and what is known."""
    with pytest.raises(InputError, match=r"^group is .*; wanted C<N> or D<N>"):
        GroupName.parse(text)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("width", 0.0, "width is 0.0; wanted 0.01 to 8"),
        ("width", float("nan"), "width is nan; wanted 0.01 to 8"),
        ("input_size", 7, "input_size is 7; wanted 9 to 2047"),
        ("reduced_strides", 6, "reduced_strides is 6; wanted 0 to 5"),
        ("num_classes", 0, "num_classes is 0"),
        ("in_channels", 65, "in_channels is 65"),
        ("channel_multiple", 8, "wanted a multiple of 12, the order of C12"),
        ("group", "Q8", "group is 'Q8'"),
    ],
)
def test_illegal_values_are_refused(key: str, value: Any, message: str) -> None:
    """In the program as InputError, from a file as CheckpointError that names it."""
    with pytest.raises(InputError, match=message):
        ModelSpec(**{key: value})
    with pytest.raises(CheckpointError, match=f"^some.pt: .*{message}"):
        ModelSpec.from_dict({key: value}, source="some.pt")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 3}, "unknown key 'depth' in the model spec; wanted one of group"),
        ({"width": "1.0"}, "width in the model spec is '1.0'; wanted float"),
        ({"input_size": 95.0}, "input_size in the model spec is 95.0; wanted int"),
        ({"num_classes": True}, "num_classes in the model spec is True; wanted int"),
        ({"group": 4}, "group in the model spec is 4; wanted str"),
    ],
)
def test_files_with_other_keys_or_types(values: dict[str, Any], message: str) -> None:
    """Unknown keys and wrong types name the file, the key and the value."""
    with pytest.raises(CheckpointError, match=f"^some.pt: {message}"):
        ModelSpec.from_dict(values, source="some.pt")
