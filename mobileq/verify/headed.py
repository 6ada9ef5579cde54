"""Runners of files with a head: scores of another's logits, and logits of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobileq.contract import Head
from mobileq.quant.affine import Affine
from mobileq.quant.heads import integer_scores, logits_of, real_scores
from mobileq.verify.runner import Runner


class _Wrapped:
    """A runner that differs from another one in its outputs alone.

    Args:
        runner: The other one.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def name(self) -> str:
        """The other's."""
        return self._runner.name

    @property
    def integer(self) -> bool:
        """Whether tensors are int8."""
        return self._runner.integer

    def tensors(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]]:
        """Every tensor, as the other has them."""
        return self._runner.tensors(pixels)

    def timed(self, pixels: NDArray[np.uint8]) -> Callable[[], None]:
        """As the other's."""
        return self._runner.timed(pixels)


class LogitsInside(_Wrapped):
    """Takes the logits from the inside of a file that returns scores.

    Args:
        runner: Of the file.
        output: Name of the graph's output, which the logits have in the file.
    """

    def __init__(self, runner: Runner, output: str) -> None:
        super().__init__(runner)
        self._output = output

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits, (B, F)."""
        return self._runner.tensors(pixels)[self._output]


class Headed(_Wrapped):
    """Scores of a runner's logits, computed here.

    Args:
        runner: Returns logits.
        head: Softmax or sigmoid.
        affine: What integer logits stand for; not needed for real ones.
        name: By default of what it computes; whose logits they are, the other side of a
            rung says.
    """

    def __init__(
        self, runner: Runner, head: Head, affine: Affine | None, *, name: str = ""
    ) -> None:
        super().__init__(runner)
        self._head = head
        self._affine = affine
        self._name = name or f"{head.value} of logits"

    @property
    def name(self) -> str:
        """What it computes."""
        return self._name

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Scores, (B, F): int8 of integer logits, else float32."""
        logits = self._runner.outputs(pixels)
        if self._affine is not None:
            return integer_scores(self._head, logits, self._affine)
        return real_scores(self._head, logits)


class Unheaded(_Wrapped):
    """Logits that have the scores which a file returns, as real numbers.

    What is measured on logits can so be measured on a file with a head; scores of 8
    bits are coarse, and the softmax's logits are found up to a common summand.

    Args:
        runner: Returns scores.
        head: Softmax or sigmoid.
        affine: What integer scores stand for; not needed for real ones.
    """

    def __init__(self, runner: Runner, head: Head, affine: Affine | None) -> None:
        super().__init__(runner)
        self._head = head
        self._affine = affine

    @property
    def integer(self) -> bool:
        """Never: its outputs are real."""
        return False

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Logits, (B, F) float64."""
        scores = self._runner.outputs(pixels)
        if self._affine is not None:
            scores = self._affine.dequantize(scores)
        return logits_of(self._head, scores)
