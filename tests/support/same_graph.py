"""Whether two graphs hold the same bits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mobileq.graph.graph import Graph


def require_same(found: Any, wanted: Any, where: str = "graph") -> None:
    """Fail unless two nodes, or parts of nodes, are equal to the bit."""
    assert type(found) is type(wanted), where
    if isinstance(wanted, np.ndarray):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), where
        assert found.tobytes() == wanted.tobytes(), where
        assert not found.flags.writeable, where
    elif dataclasses.is_dataclass(wanted):
        for field in dataclasses.fields(wanted):
            if field.init:
                pair = (getattr(found, field.name), getattr(wanted, field.name))
                require_same(*pair, f"{where}.{field.name}")
    elif isinstance(wanted, tuple):
        assert len(found) == len(wanted), where
        for index, pair in enumerate(zip(found, wanted, strict=True)):
            require_same(*pair, f"{where}.{index}")
    else:
        assert found == wanted, where


def require_same_graph(found: Graph, wanted: Graph) -> None:
    """Fail unless two graphs are equal to the bit."""
    require_same((found.nodes, found.output), (wanted.nodes, wanted.output))
