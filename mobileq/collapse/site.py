"""Where a module or an operation is called, and what its lowering gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mobileq.graph.base import NO_PADDING
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.nodes import Node, Padding, Shape

Lowered = Node | tuple[Node, ...]
"""A node, or several in order; the last one is the result and has the name."""


@dataclass(frozen=True)
class Site:
    """Where a module is called.

    Attributes:
        name: Name for the node.
        inputs: Tensors that it reads.
        shape: Shape of the first of them, without the batch axis.
        fields: Fields of the module's output, None where unknown.
        padding: Zeros around that tensor, besides the module's own padding.
        rectified: Whether that tensor comes out of a ReLU, so that nothing in it is
            below 0.
        made: Shape of the first result of the call, without the batch axis.
        constants: Those among its arguments, by the trace's names.
        tensors: Names of tensors by the trace's names.
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    fields: FieldBlocks | None
    padding: Padding = NO_PADDING
    rectified: bool = False
    made: Shape = ()
    constants: Mapping[str, torch.Tensor] = field(default_factory=dict)
    tensors: Mapping[str, str] = field(default_factory=dict)


def array(tensor: torch.Tensor) -> NDArray[np.float64]:
    """float64 copy of a parameter or buffer."""
    return tensor.detach().cpu().double().numpy()
