"""From a traced torch program to a Graph.

Calls inside a leaf module become one node, by the table `LOWER`; what a network's own
`forward` does between modules (residual sums, a flatten) goes by the table `FUNCTIONS`.
Nodes are named after the module's path in the network. Zeros that are padded around a
tensor make no node: every convolution or pool that reads them adds them to its own.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from mobileq.collapse.called import CALLED
from mobileq.collapse.constants import Constants
from mobileq.collapse.functions import COPIES, FUNCTIONS, SQUEEZES
from mobileq.collapse.modules import LOWER, PADDED, PASS_THROUGH
from mobileq.collapse.padding import (
    PADS,
    Value,
    added,
    require_unpadded,
    sides_of,
)
from mobileq.collapse.plain import Collapsed
from mobileq.collapse.refused import cannot_lower
from mobileq.collapse.site import Lowered, Site
from mobileq.contract import Head
from mobileq.errors import GraphError, UnsupportedError
from mobileq.graph.fields import FieldBlocks
from mobileq.graph.graph import Graph
from mobileq.graph.nodes import (
    Flatten,
    Input,
    Node,
    Pad,
    Relu,
    Relu6,
    Shape,
)

_LOWERED = {**FUNCTIONS, **CALLED}
"""How every operation between modules is lowered."""


SOFTMAX = (torch.ops.aten.softmax.int, torch.ops.aten._softmax.default)


class Lowering:
    """Walks through a traced program and collects nodes.

    Args:
        model: The traced module, whose paths name the nodes.
        fields: Fields of each leaf module's output, by path.
        image: The input node.
        constants: What does not depend on the image.
    """

    def __init__(
        self,
        model: nn.Module,
        fields: dict[str, FieldBlocks],
        image: Input,
        constants: Constants,
    ) -> None:
        # A module may be known by several paths; the trace names any of them.
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.fields = fields
        self.constants = constants
        self.nodes: list[Node] = [image]
        self.shapes: dict[str, Shape] = {image.name: image.shape}
        self.values: dict[fx.Node, Value] = {}
        self.head = Head.NONE
        self._current: tuple[tuple[str, ...], Value] = ((), Value(""))

    def call(self, call: fx.Node) -> None:
        """Lower one call.

        Raises:
            UnsupportedError: it is in neither table.
        """
        leaf = self._leaf(call)
        values = [self.values[a] for a in call.all_input_nodes if a in self.values]
        if not values:
            # What cannot be done with a constant shows where it is used.
            self.constants.compute(call)
            return
        if leaf is None:
            self._function(call, values)
            return
        path, this_call = leaf
        last_call, result = self._current
        if this_call == last_call:
            # Another step of the module call that already has its node.
            self.values[call] = result
            return
        module = self.modules[path]
        if isinstance(module, PASS_THROUGH):
            self.values[call] = values[0]
        else:
            name, fields = self._shown(path), self.fields.get(path)
            if type(module) not in PADDED:
                require_unpadded(name, values)
            site = self._site(name, values, fields, call)
            self._append(call, LOWER[type(module)](module, site))
        self._current = (this_call, self.values[call])

    def _function(self, call: fx.Node, values: Sequence[Value]) -> None:
        """Lower a call between modules."""
        if call.target is operator.getitem and call.args[1] != 0:
            if not call.users:
                return
            raise UnsupportedError(
                f"model: result {call.args[1]} of an operation "
                f"is used; wanted its first result alone (the values)"
            )
        if call.target in COPIES:
            self.values[call] = values[0]
            return
        stack = list((call.meta.get("nn_module_stack") or {}).values())
        where = self._shown(stack[-1][0]) if stack else ""
        operation = str(call.target).split(".")[1].strip("_")
        name = f"{where}.{operation}" if where else operation
        if call.target in PADS:
            self._pad(call, name, values)
            return
        if call.target in SOFTMAX:
            self._softmax(call, name)
            self.values[call] = values[0]
            return
        if call.target in SQUEEZES and len(_shape_of(call)) == 2:
            # (C, 1) is on the way from (C, 1, 1) to (C,).
            self.values[call] = values[0]
            return
        if call.target not in _LOWERED:
            known = sorted({str(target) for target in (*_LOWERED, *PADS)})
            raise cannot_lower(where, str(call.target), operation, known)
        if call.target not in CALLED:
            require_unpadded(name, values)
        site = self._site(name, values, None, call)
        self._append(call, _LOWERED[call.target](call, site))
        self._reshape_as(call)

    def _softmax(self, call: fx.Node, name: str) -> None:
        """Note that the network ends in a softmax, which is no node.

        Raises:
            UnsupportedError: it does not end there, or it is not over the channels.
        """
        axis: Any = call.args[1]
        ends = all(user.op == "output" for user in call.users)
        if not ends or axis % (len(_shape_of(call)) + 1) != 1:
            raise UnsupportedError(
                f"{name}: a softmax over axis {axis}"
                f"{'' if ends else ' amid the network'}; wanted one over axis 1 (the "
                f"classes) at its end"
            )
        self.head = Head.SOFTMAX

    def _pad(self, call: fx.Node, name: str, values: Sequence[Value]) -> None:
        """Note zeros, or add a node for copied pixels."""
        sides, mode = sides_of(call, name)
        if mode is None:
            sides = added(values[0].padding, sides)
            self.values[call] = replace(values[0], padding=sides)
            return
        require_unpadded(name, values)
        site = self._site(name, values, None, call)
        self._append(call, Pad(site.name, site.inputs, sides, mode))

    def _shown(self, path: str) -> str:
        """A module's path without what collapsing has put into it."""
        above, found, below = path.rpartition(".inner")
        if found and isinstance(self.modules.get(above), Collapsed):
            return above + below
        return path

    def _reshape_as(self, call: fx.Node) -> None:
        """Flatten the last node's tensor if the call's result is flat and it is not.

        Raises:
            UnsupportedError: the call's result has another shape for another reason.
        """
        wanted = tuple(int(n) for n in _shape_of(call))
        last = self.nodes[-1]
        found = self.shapes[last.name]
        if found == (*wanted, 1, 1):
            self._append(call, Flatten(f"{last.name}.flat", (last.name,)))
            found = self.shapes[self.values[call].tensor]
        if found != wanted:
            raise UnsupportedError(
                f"{last.name}: {call.target} gives {wanted}; wanted {found} (only the "
                f"flattening of whole feature maps can be deployed)"
            )

    def _site(
        self,
        name: str,
        values: Sequence[Value],
        fields: FieldBlocks | None,
        call: fx.Node,
    ) -> Site:
        """A site with a name that is not taken yet."""
        unique, number = name, 1
        while unique in self.shapes:
            unique, number = f"{name}_{number}", number + 1
        inputs = tuple(value.tensor for value in values)
        source = next(node for node in self.nodes if node.name == inputs[0])
        return Site(
            unique,
            inputs,
            self.shapes[inputs[0]],
            fields,
            values[0].padding,
            rectified=isinstance(source, Relu | Relu6),
            made=_shape_of(call),
            constants=self.constants.of(call),
            tensors={
                a.name: self.values[a].tensor
                for a in call.all_input_nodes
                if a in self.values
            },
        )

    def _append(self, call: fx.Node, lowered: Lowered) -> None:
        """Add a node, or several, as the result of a call."""
        for node in lowered if isinstance(lowered, tuple) else (lowered,):
            shape = node.output_shape(*(self.shapes[name] for name in node.inputs))
            self.nodes.append(node)
            self.shapes[node.name] = shape
            self.values[call] = Value(node.name)

    def _leaf(self, call: fx.Node) -> tuple[str, tuple[str, ...]] | None:
        """The outermost module around a call that is lowered as a whole.

        Returns:
            Its path, and what tells this call of it from any other.
        """
        keys: list[str] = []
        for key, (path, _) in (call.meta.get("nn_module_stack") or {}).items():
            keys.append(key)
            module = self.modules.get(path)
            if type(module) in LOWER or isinstance(module, PASS_THROUGH):
                return str(path), tuple(keys)
        return None


def _shape_of(call: fx.Node) -> Shape:
    """Shape of a result, or of the first of several, without the batch axis."""
    made = call.meta["val"]
    first = made[0] if isinstance(made, tuple | list) else made
    return tuple(first.shape[1:])


def lower(
    program: torch.export.ExportedProgram,
    model: nn.Module,
    fields: dict[str, FieldBlocks],
    image: Input,
) -> tuple[Graph, Head]:
    """Lower a traced program with one image as its only user input.

    Args:
        program: What `torch.export.export` made of `model`.
        model: Plain modules.
        fields: Fields of each leaf module's output, by path.
        image: The input node.

    Returns:
        The graph, whose output are logits, and the network's own softmax if it ends in
        one.

    Raises:
        UnsupportedError: a call has no counterpart.
        GraphError: the program has several inputs or outputs.
    """
    constants = Constants(program)
    lowering = Lowering(model, fields, image, constants)
    (user_input,) = program.graph_signature.user_inputs
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name == user_input:
            lowering.values[node] = Value(image.name)
        elif node.op == "placeholder":
            constants.read(node)
        elif node.op == "call_function":
            lowering.call(node)
        elif node.op == "output":
            found = [lowering.values.get(a) for a in node.all_input_nodes]
            results = [value for value in found if value is not None]
            if len(results) != 1:
                raise GraphError(f"model: {len(results)} outputs; wanted one")
            require_unpadded("the model's output", results)
            graph = Graph(tuple(lowering.nodes), results[0].tensor)
            return _named(graph), lowering.head
    raise GraphError("model: the traced program has no output")


def _named(graph: Graph) -> Graph:
    """Give the output tensor the name `logits`."""
    last = graph[graph.output]
    if "logits" in graph:
        return graph
    return graph.replaced({last.name: replace(last, name="logits")})
