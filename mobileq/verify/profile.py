"""Time per operator, as a runtime's own profiler has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeTime:
    """Time of one operator.

    Attributes:
        name: Of the tensor that it makes, or of the operator.
        kind: Such as CONV_2D.
        mean_ms: In one inference.
    """

    name: str
    kind: str
    mean_ms: float


@dataclass(frozen=True)
class Profile:
    """Operators of one runner.

    Attributes:
        nodes: In the order of their execution; none where there is no profiler.
        note: What a reader must know; why there are no nodes, if so.
    """

    nodes: tuple[NodeTime, ...] = ()
    note: str = ""
