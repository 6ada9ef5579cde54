"""What `collapse` returns; a module of its own, since reading it takes no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mobileq.contract import Head
from mobileq.graph.graph import Graph

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class CollapsedModel:
    """A network without escnn.

    Attributes:
        module: Plain torch modules, (B, C, H, W) to logits; None where the graph was
            read from a collapsed checkpoint.
        graph: The same as a Graph, BatchNorm not yet folded. Its output are logits.
        head: What the network itself makes of them; a softmax is no node.
    """

    module: nn.Module | None
    graph: Graph
    head: Head = Head.NONE
