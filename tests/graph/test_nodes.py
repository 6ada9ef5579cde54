"""Every node's checks: the message names node, value found and value wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.errors import GraphError
from mobileq.graph.fields import trivial_fields
from mobileq.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Cap,
    Conv,
    Flatten,
    Input,
    Linear,
    Mask,
    MaxPool,
    Node,
    OrbitMax,
    Padding,
    SpatialMean,
)

ONES = np.ones(4)


def _conv(**changes: Any) -> Conv:
    """A small convolution with some arguments exchanged."""
    values: dict[str, Any] = {
        "weight": np.ones((4, 2, 3, 3)),
        "bias": np.zeros(4),
        "fields": trivial_fields(4),
        "stride": 1,
        "groups": 1,
    }
    return Conv("a", ("x",), **{**values, **changes})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _conv(weight=np.ones((4, 2))), r"Conv 'a': found weight \(4, 2\)"),
        (lambda: _conv(bias=np.zeros(3)), r"found bias \(3,\); wanted \(4,\)"),
        (lambda: _conv(fields=trivial_fields(5)), "found 5 fields; wanted 4"),
        (lambda: _conv(groups=3), "found 3 groups; wanted a divisor of 4"),
        (lambda: _conv(groups=0), "found 0 groups; wanted a divisor of 4"),
        (lambda: _conv(stride=0), "found stride 0; wanted 1 or more"),
        (
            lambda: BatchNorm("a", ("x",), ONES, ONES, ONES[:3], ONES, 1e-5),
            r"BatchNorm 'a': found mean \(3,\); wanted \(C,\) for all",
        ),
        (
            lambda: BatchNorm("a", ("x",), ONES, ONES, ONES, 0 * ONES, 0.0),
            r"found variance \+ eps = 0.0; wanted a positive one",
        ),
        (
            lambda: BatchNorm("a", ("x",), ONES, ONES, ONES, np.nan * ONES, 1e-5),
            r"found variance \+ eps = nan; wanted a positive one",
        ),
        (
            lambda: Linear("a", ("x",), ONES, ONES),
            r"Linear 'a': found weight \(4,\); wanted \(O, I\)",
        ),
        (
            lambda: Linear("a", ("x",), np.ones((2, 4)), ONES),
            r"found bias \(4,\); wanted \(2,\)",
        ),
        (
            lambda: Mask("a", ("x",), np.full((3, 3), 2)),
            "Mask 'a': found other values; wanted 0 and 1",
        ),
        (
            lambda: Cap("a", ("x",), np.ones((4, 1, 1))),
            r"Cap 'a': found high \(4, 1, 1\); wanted \(C,\)",
        ),
        *(
            (
                lambda bound=bound: Cap("a", ("x",), np.array([6.0, bound])),
                rf"Cap 'a': found high \[ ?{bound:g}\.?\]; wanted positive bounds",
            )
            for bound in (0.0, -1.0, np.nan, np.inf)
        ),
    ],
)
def test_impossible_nodes(make: Callable[[], Node], message: str) -> None:
    """A node that cannot exist is refused when it is made."""
    with pytest.raises(GraphError, match=message):
        make()


@pytest.mark.parametrize(
    ("node", "shapes", "message"),
    [
        (
            Input("a", (), (3, 5), trivial_fields(3)),
            [],
            r"Input 'a': found shape \(3, 5\); wanted \(C, H, W\)",
        ),
        (
            _conv(),
            [(3, 5, 5)],
            r"Conv 'a': found input \(3, 5, 5\); wanted \(2, H, W\)",
        ),
        (_conv(), [(2,)], r"found input \(2,\); wanted \(2, H, W\)"),
        (_conv(), [(2, 2, 5)], "found input .* wanted one as large as the kernel"),
        (
            BatchNorm("a", ("x",), ONES, ONES, ONES, ONES, 1e-5),
            [(3, 5, 5)],
            r"BatchNorm 'a': found input \(3, 5, 5\); wanted \(4, ...\)",
        ),
        (
            Linear("a", ("x",), np.ones((2, 4)), ONES[:2]),
            [(4, 1, 1)],
            r"Linear 'a': found input \(4, 1, 1\); wanted \(4,\)",
        ),
        (
            Add("a", ("x", "y")),
            [(3, 5, 5), (3, 1, 1)],
            r"Add 'a': found \(3, 5, 5\) \+ \(3, 1, 1\); wanted equal ones",
        ),
        (
            Mask("a", ("x",), np.ones((3, 3), np.uint8)),
            [(2, 5, 5)],
            r"Mask 'a': found input \(2, 5, 5\); wanted \(C, 3, 3\)",
        ),
        (
            SpatialMean("a", ("x",), np.zeros((5, 5), np.uint8)),
            [(2, 5, 5)],
            "SpatialMean 'a': found an empty mask; wanted at least one point",
        ),
        (MaxPool("a", ("x",), (3, 3), 1), [(4,)], r"found input \(4,\); wanted \(C,"),
        (
            AveragePool("a", ("x",), (7, 7), 1),
            [(4, 5, 5)],
            r"AveragePool 'a': found input .*; wanted one as large as the kernel",
        ),
        (
            Cap("a", ("x",), ONES),
            [(3, 5, 5)],
            r"Cap 'a': found input \(3, 5, 5\); wanted \(4, ...\)",
        ),
        (
            OrbitMax("a", ("x",), 4),
            [(6, 1, 1)],
            "OrbitMax 'a': found 6 channels; wanted a multiple of 4 channels",
        ),
    ],
)
def test_inputs_that_do_not_fit(
    node: Node, shapes: list[tuple[int, ...]], message: str
) -> None:
    """A tensor of the wrong shape is refused by the node that reads it."""
    with pytest.raises(GraphError, match=message):
        node.output_shape(*shapes)


@given(
    size=st.integers(3, 12),
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.integers(1, 3),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
)
def test_padding_counts_whole_steps(
    size: int, kernel: int, stride: int, before: int, after: int
) -> None:
    """The grid has as many points as windows that fit."""
    padding = Padding(before, after, 0, 0)
    rows, columns = padding.grid(size, size, (kernel, kernel), stride)
    padded = size + before + after
    assert rows == len(range(0, padded - kernel + 1, stride))
    assert columns == len(range(0, size - kernel + 1, stride))
    assert padding.symmetric == (before == after == 0)


def test_depthwise_is_one_filter_per_channel() -> None:
    """Groups alone do not make a convolution depthwise."""
    assert _conv(weight=np.ones((4, 1, 3, 3)), groups=4).depthwise
    assert not _conv(weight=np.ones((4, 2, 3, 3)), groups=2).depthwise
    assert not _conv(weight=np.ones((4, 2, 3, 3)), groups=4).depthwise
    assert _conv(weight=np.ones((4, 2, 3, 3)), groups=2).in_channels == 4


def test_flatten_counts_everything() -> None:
    """(C, H, W) becomes (C * H * W,)."""
    assert Flatten("a", ("x",)).output_shape((2, 3, 4)) == (24,)


def test_bounds_of_activations() -> None:
    """What each lets through."""
    assert Activation.RELU6.bounds == (0.0, 6.0)
    assert Activation.RELU.bounds == (0.0, np.inf)
    assert Activation.NONE.bounds == (-np.inf, np.inf)
