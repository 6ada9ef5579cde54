"""The graph: nodes in topological order, immutable; an edit returns a new graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from mobileq.errors import GraphError
from mobileq.graph.fields import FieldBlocks, direct_sum, shared, trivial_fields
from mobileq.graph.nodes import (
    Add,
    Concat,
    Conv,
    Flatten,
    Input,
    Linear,
    Mul,
    Node,
    OrbitMax,
    Shape,
)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network with one input and one output.

    Attributes:
        nodes: In topological order, the input first.
        output: Name of the output tensor.
    """

    nodes: tuple[Node, ...]
    output: str
    _by_name: Mapping[str, Node] = field(init=False, repr=False)
    _fields: dict[str, FieldBlocks] = field(
        init=False, repr=False, default_factory=dict
    )
    shapes: Mapping[str, Shape] = field(init=False, repr=False)
    """Shape of every tensor by name: (C, H, W), or (F,) if flat."""

    def __post_init__(self) -> None:
        """Check names, order and shapes.

        Raises:
            GraphError: naming the first node that does not fit.
        """
        by_name: dict[str, Node] = {}
        shapes: dict[str, Shape] = {}
        for index, node in enumerate(self.nodes):
            kind = type(node).__name__
            if node.name in by_name:
                raise GraphError(f"{kind} {node.name!r}: the name is taken twice")
            if isinstance(node, Input) != (index == 0):
                raise GraphError(
                    f"{kind} {node.name!r} is node {index}; wanted one Input, the first"
                )
            missing = [name for name in node.inputs if name not in by_name]
            arity = max(1, len(node.inputs)) if node.arity is None else node.arity
            if missing or len(node.inputs) != arity:
                raise GraphError(
                    f"{kind} {node.name!r} reads {node.inputs}; wanted {arity} "
                    f"tensors that come before it"
                )
            by_name[node.name] = node
            shapes[node.name] = node.output_shape(*(shapes[n] for n in node.inputs))
        if self.output not in by_name:
            raise GraphError(f"output is {self.output!r}; wanted the name of a node")
        object.__setattr__(self, "_by_name", MappingProxyType(by_name))
        object.__setattr__(self, "shapes", MappingProxyType(shapes))

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def input(self) -> Input:
        """The input node."""
        first = self.nodes[0]
        assert isinstance(first, Input)
        return first

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Nodes that read a tensor, in order."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def only_consumer(self, name: str) -> Node | None:
        """The one node that reads a tensor, unless it is the output or read twice."""
        readers = self.consumers(name)
        return readers[0] if len(readers) == 1 and name != self.output else None

    def fields(self, name: str) -> FieldBlocks:
        """Fields of a tensor's channels (of its features, if flat)."""
        node = self[name]
        if isinstance(node, Input | Conv):
            return node.fields
        if name not in self._fields:
            self._fields[name] = self._found_fields(node)
        return self._fields[name]

    def _found_fields(self, node: Node) -> FieldBlocks:
        """Fields of a tensor, from those of what it is made of."""
        name, above = node.name, self.fields(node.inputs[0])
        if isinstance(node, Concat):
            return direct_sum([self.fields(source) for source in node.inputs])
        if isinstance(node, Add | Mul):
            return shared(above, self.fields(node.inputs[1]))
        if isinstance(node, OrbitMax):
            return above.invariant(self.shapes[name][0])
        if isinstance(node, Linear):
            return after_linear(above, self.shapes[name][0])
        if isinstance(node, Flatten) and self.shapes[name] != (above.channels,):
            raise GraphError(
                f"Flatten {node.name!r}: found {self.shapes[node.inputs[0]]}; wanted "
                f"(C, 1, 1) (pool over the grid first)"
            )
        return above

    def replaced(self, changes: Mapping[str, Node]) -> Graph:
        """The same graph with some nodes exchanged; a new name is passed on."""
        renamed = {old: node.name for old, node in changes.items()}
        nodes = (changes.get(node.name, node) for node in self.nodes)
        return self._rewired(nodes, renamed)

    def without(self, names: Iterable[str]) -> Graph:
        """The graph without some one-input nodes; their readers read what they read."""
        renamed: dict[str, str] = {}
        dropped = set(names)
        for node in self.nodes:
            if node.name in dropped:
                source = node.inputs[0]
                renamed[node.name] = renamed.get(source, source)
        kept = (node for node in self.nodes if node.name not in dropped)
        return self._rewired(kept, renamed)

    def _rewired(self, nodes: Iterable[Node], renamed: Mapping[str, str]) -> Graph:
        """Apply new tensor names to the inputs of `nodes`."""
        rewired = tuple(
            replace(node, inputs=tuple(renamed.get(n, n) for n in node.inputs))
            if any(n in renamed for n in node.inputs)
            else node
            for node in nodes
        )
        return Graph(rewired, renamed.get(self.output, self.output))

    @property
    def multiply_adds(self) -> int:
        """Multiplications of all convolutions and linear layers for one image."""
        total = 0
        for node in self.nodes:
            if isinstance(node, Conv):
                shape = self.shapes[node.name]
                total += node.weight.size * shape[1] * shape[2]
            elif isinstance(node, Linear):
                total += node.weight.size
        return total


def after_linear(above: FieldBlocks, features: int) -> FieldBlocks:
    """Fields of the features of a plain linear layer, or of a 1x1 convolution.

    Of channels that the group permutes it keeps nothing: neither the exact subgroup
    nor the smallest rotation.
    """
    order = np.arange(above.channels)
    if any((g.source != order).any() for g in above.generators):
        return trivial_fields(features)
    fields = above.invariant(features)
    if above.step is None or (above.step != order).any():
        return replace(fields, step=None)
    return fields
