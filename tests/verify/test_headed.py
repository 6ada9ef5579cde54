"""Scores of logits and logits of scores, as runners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobileq.contract import Head
from mobileq.errors import GraphError
from mobileq.quant.affine import Affine
from mobileq.quant.heads import SCORES, integer_scores, logits_of, real_scores

HEADS = [Head.SOFTMAX, Head.SIGMOID]


@given(
    seed=st.integers(0, 2**20),
    classes=st.integers(2, 12),
    scale=st.floats(2**-8, 0.25, width=32),
    zero_point=st.integers(-128, 127),
    head=st.sampled_from(HEADS),
)
def test_integer_scores_are_rounded_real_ones(
    seed: int, classes: int, scale: float, zero_point: int, head: Head
) -> None:
    """They lie within half a step of the scores of the dequantized logits.

    Half a step, and 1e-3 of one for float32; scores above 255/256 saturate.
    """
    rng = np.random.default_rng(seed)
    logits = rng.integers(-128, 128, (20, classes)).astype(np.int8)
    affine = Affine(float(np.float32(scale)), zero_point)
    found = SCORES.dequantize(integer_scores(head, logits, affine))
    wanted = real_scores(head, affine.dequantize(logits))
    away = np.abs(found - np.minimum(wanted, 255 / 256))
    assert away.max() <= 0.501 * SCORES.scale


@given(
    seed=st.integers(0, 2**20),
    classes=st.integers(2, 6),
    head=st.sampled_from([Head.NONE, *HEADS]),
)
def test_logits_come_back_from_scores(seed: int, classes: int, head: Head) -> None:
    """A softmax forgets a common summand, and nothing else is lost.

    1e-4: float32 scores of logits up to 3, so that none is next to 0 or 1.
    """
    logits = np.random.default_rng(seed).uniform(-3, 3, (5, classes))
    found = logits_of(head, real_scores(head, logits))
    if head is Head.SOFTMAX:
        found, logits = (x - x.mean(axis=1, keepdims=True) for x in (found, logits))
    assert np.abs(found - logits).max() <= 1e-4


@pytest.mark.parametrize("head", HEADS)
def test_extreme_scores_have_finite_logits(head: Head) -> None:
    """0 and 1 are taken as half a step away from there; the order stays."""
    found = logits_of(head, np.array([[0.0, 1.0]]))
    assert np.isfinite(found).all()
    assert found[0, 0] < found[0, 1]
    far = real_scores(head, np.array([[-1e30, 1e30]]))
    assert np.array_equal(far, [[0, 1]]) or np.allclose(far, [[0, 1]], atol=1e-30)


def test_logits_without_a_head_have_no_scores() -> None:
    """Asking for them is a mistake of the caller."""
    with pytest.raises(GraphError, match="has no scores"):
        integer_scores(Head.NONE, np.zeros((1, 2), np.int8), SCORES)
