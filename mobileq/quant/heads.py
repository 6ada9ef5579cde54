"""Integer heads: scores of integer logits, as TFLite's kernels compute them.

A score is an int8 of scale 1/256 and zero point -128, whatever the logits' scale is:
TFLite demands it. So the best score is 255/256.

    softmax    a table of 256 exponentials in float32; a sum in the order of the
               classes; a division; rounding (optimized_ops.h, Softmax)
    sigmoid    a table of 256 results (activations.cc, LUTPopulate)

Checked against LiteRT's optimized kernels, which is what phones run: no bit differs.
The reference softmax is of fixed point instead and lies one step away for some of a
hundred thousand values, those next to a half.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.contract import Head
from mobileq.errors import GraphError
from mobileq.quant.affine import QMAX, QMIN, Affine

SCORES = Affine(1 / 256, -128)
"""Quantization of the scores."""

HALF = np.float32(0.5)
LARGEST_EXPONENT = 80.0
"""exp of it fits float32; sigmoid is 0 to the last bit of a score long before."""


def integer_scores(
    head: Head, logits: NDArray[np.int8], affine: Affine
) -> NDArray[np.int8]:
    """Scores of integer logits.

    Args:
        head: Softmax or sigmoid.
        logits: (B, F) int8.
        affine: What they stand for.

    Returns:
        (B, F) int8 with the quantization `SCORES`.

    Raises:
        GraphError: there is no head.
    """
    if head is Head.NONE:
        raise GraphError("a network without a head has no scores; wanted one")
    if head is Head.SOFTMAX:
        return _softmax(logits, np.float32(affine.scale))
    steps = np.arange(QMIN, QMAX + 1) - affine.zero_point
    real = np.float32(affine.scale) * steps.astype(np.float32)
    inverse = np.array(
        [math.exp(min(-float(value), LARGEST_EXPONENT)) for value in real], np.float32
    )
    table = _quantized(np.float32(256) / (np.float32(1) + inverse))
    found: NDArray[np.int8] = table[logits.astype(np.int64) - QMIN]
    return found


def _softmax(logits: NDArray[np.int8], scale: np.float32) -> NDArray[np.int8]:
    """Exponentials of differences to the largest logit, and their shares."""
    exponents = -scale * np.arange(QMAX - QMIN + 1, dtype=np.float32)
    # numpy's own exponential of float32 is less exact than that of C.
    table = np.array([math.exp(float(value)) for value in exponents], np.float32)
    wide = logits.astype(np.int64)
    powers = table[wide.max(axis=1, keepdims=True) - wide]
    # A running sum adds one by one as the kernel does; `sum` would not.
    total = np.cumsum(powers, axis=1, dtype=np.float32)[:, -1:]
    inverse = np.float32(1) / (total * np.float32(SCORES.scale))
    shares: NDArray[np.float32] = powers * inverse
    return _quantized(shares)


def _quantized(steps: NDArray[np.float32]) -> NDArray[np.int8]:
    """Round real steps, halves up, and shift to the zero point."""
    rounded = np.floor(steps + HALF).astype(np.int64) + SCORES.zero_point
    return np.asarray(np.clip(rounded, QMIN, QMAX), np.int8)


def real_scores(head: Head, logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Scores of real logits, (B, F), in float32; the sums are made in float64."""
    wide = logits.astype(np.float64)
    if head is Head.SOFTMAX:
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
    if head is Head.SIGMOID:
        limited = np.clip(wide, -LARGEST_EXPONENT, LARGEST_EXPONENT)
        return np.asarray(1 / (1 + np.exp(-limited)), np.float32)
    return np.asarray(logits, np.float32)


def logits_of(head: Head, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Logits that have these scores, (B, F); of a softmax's, up to a common summand.

    Scores of 0 and 1 are taken as half a step of an integer score away from there.
    """
    least = SCORES.scale / 2
    wide = scores.astype(np.float64)
    if head is Head.SOFTMAX:
        return np.asarray(np.log(np.maximum(wide, least)))
    if head is Head.SIGMOID:
        limited = np.clip(wide, least, 1 - least)
        return np.asarray(np.log(limited / (1 - limited)))
    return wide
